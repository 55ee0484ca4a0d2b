"""Reading `network.safetensors`."""

from __future__ import annotations

from pathlib import Path

import torch

from .config import NetworkConfig
from .denoiser import Denoiser

CONFIG_KEY = "patchwork.network"
"""The metadata entry that holds a network's settings."""


def load(path: str | Path, device: torch.device | str = "cpu") -> Denoiser:
    """Opens a network that Patchwork trained or imported, in evaluation mode.

    Raises:
        ValueError: where the file has no settings, or not the tensors that they ask for.
    """
    from safetensors import safe_open

    with safe_open(str(path), framework="pt", device=str(device)) as file:
        metadata = file.metadata() or {}
        if CONFIG_KEY not in metadata:
            raise ValueError(
                f"`{path}` has no network settings in its metadata; `patchwork checkpoint import` adds them"
            )
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    denoiser = Denoiser(NetworkConfig.from_json(metadata[CONFIG_KEY])).to(device)
    try:
        denoiser.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"`{path}` does not hold the network of its settings: {error}") from error
    return denoiser.eval()
