"""Networks in files: `network.safetensors` and a training's checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .autoencoder import Autoencoder, load_autoencoder
from .autoencoder.file import PICKLES, is_autoencoder_folder
from .config import NetworkConfig
from .denoiser import Denoiser
from .error import PatchworkError
from .weights import load_weights, read_header, read_safetensors

CONFIG_KEY = "patchwork.network"
"""The metadata entry that holds a network's settings."""
NETWORK_FILE = "network.safetensors"
PUBLISHED_PREFIX = "model."
WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes of data-parallel training and of compiled modules."""
TRAINED, AVERAGE = "network/", "ema/"
"""Prefixes of the names in a training's checkpoint: the weights under training, and their average."""
HINT = (
    f"give the `{NETWORK_FILE}` of a train stage or what `patchwork checkpoint import` writes; for an autoencoder, a "
    "diffusers folder"
)


def load(path: str | Path, device: torch.device | str = "cpu") -> Denoiser | Autoencoder:
    """Opens a network that Patchwork trained or imported, or a KL autoencoder, in evaluation mode.

    `load_network` and `load_autoencoder` open one of the two, and have its type.

    Args:
        path: what either of them opens; a file whose metadata has no settings of ours is taken for an autoencoder.
        device: where the weights go.

    Raises:
        PatchworkError: nothing there, damaged, or neither of the two.
    """
    path = Path(path)
    if path.is_dir():
        is_autoencoder = is_autoencoder_folder(path)
    elif path.suffix in PICKLES or not path.is_file():
        is_autoencoder = path.suffix in PICKLES
    else:
        names, metadata = read_header(path)
        is_autoencoder = CONFIG_KEY not in metadata and any("encoder.conv_in" in name for name in names)
    return load_autoencoder(path, device) if is_autoencoder else load_network(path, device)


def load_network(path: str | Path, device: torch.device | str = "cpu", entry: str | None = None) -> Denoiser:
    """Opens a network that Patchwork trained or imported, in evaluation mode.

    Args:
        path: a `network.safetensors`, the folder of a train stage's artifact, or a training's checkpoint.
        device: where the weights go.
        entry: of a training's checkpoint, `network` for the weights under training; the average (`ema`) if left out.

    Raises:
        PatchworkError: nothing there, no safetensors file, without settings of a network, of settings that this version
            does not know, or not with the tensors that they ask for.
    """
    path = Path(path)
    if path.is_dir():
        path = path / NETWORK_FILE
        if not path.is_file():
            raise PatchworkError(f"`{path.parent}` has no `{NETWORK_FILE}`", HINT)
    _, metadata = read_header(path)
    if CONFIG_KEY not in metadata:
        raise PatchworkError(f"`{path}` has no network settings in its metadata", HINT)
    try:
        config = NetworkConfig.from_json(metadata[CONFIG_KEY])
    except PatchworkError as error:
        raise PatchworkError(f"`{path}`: {error.problem}", error.hint) from error
    try:
        with torch.device("meta"):
            denoiser = Denoiser(config)
    except ValueError as error:
        raise PatchworkError(f"`{path}`: no network has its settings: {error}", HINT) from error
    load_weights(denoiser, published(of_entry(read_safetensors(path), entry, path)), path, device)
    return denoiser.eval()


def of_entry(tensors: dict[str, Tensor], entry: str | None, path: Path) -> dict[str, Tensor]:
    """The tensors of one set of weights, of a file that may have several."""
    is_of_training = any(name.startswith(TRAINED) for name in tensors) and any(name.startswith(AVERAGE) for name in tensors)
    if not is_of_training and entry is None:
        return tensors
    prefix = AVERAGE if entry is None else f"{entry}/"
    if not is_of_training or not any(name.startswith(prefix) for name in tensors):
        entries = sorted({name.split("/")[0] for name in tensors if "/" in name})
        known = f"it has {', '.join(f'`{each}`' for each in entries)}" if entries else "it has one network"
        raise PatchworkError(f"`{path}` has no entry `{prefix[:-1]}`", f"{known}: name one of them, or leave `entry` out")
    # What is not trained lies with the weights under training alone.
    chosen = {name.removeprefix(TRAINED): tensor for name, tensor in tensors.items() if name.startswith(TRAINED)}
    return chosen | {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def published(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under their published names, which begin with `model.`."""
    for prefix in WRAPPERS:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    if any(name.startswith(PUBLISHED_PREFIX) for name in tensors):
        return tensors
    return {PUBLISHED_PREFIX + name: tensor for name, tensor in tensors.items()}
