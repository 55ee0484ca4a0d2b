"""Autoencoders in files: diffusers folders, single files of weights, full Stable Diffusion checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from ..error import PatchworkError, require_file
from ..pickles import read_pickle
from ..weights import load_weights, read_header, read_safetensors
from .config import AutoencoderConfig
from .model import Autoencoder
from .names import renaming

CONFIG_FILE = "config.json"
WEIGHTS_FILES = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.fp16.bin",
)
"""The weights' files of diffusers folders, best first."""
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
HINT = (
    f"give a diffusers folder (`{CONFIG_FILE}` beside `{WEIGHTS_FILES[0]}`), the folder of an autoencoder stage, or a file "
    "of weights; `patchwork weights get sd-vae-ft-ema` fetches one"
)


def load_autoencoder(path: str | Path, device: torch.device | str = "cpu", config: str | Path | None = None) -> Autoencoder:
    """Opens a KL autoencoder in evaluation mode, in float32.

    Args:
        path: a diffusers folder (of the autoencoder, or of a whole pipeline with a folder `vae`), or a file of weights:
            safetensors or a pickle of PyTorch, with the parameter names of diffusers today, of diffusers in 2022 or of
            CompVis, alone or inside of a full Stable Diffusion checkpoint. A pickle is read without running what is in it.
        device: where the weights go.
        config: a `config.json`; without it the one beside the weights is used, and for a single file the shapes give
            all but the groups (32) and the scaling factor (Stable Diffusion's).

    Raises:
        PatchworkError: nothing there, damaged, settings that are not implemented, or weights of another network.
    """
    weights, own_config = locate(Path(path))
    tensors = current_tensors(weights)
    config_path = Path(config) if config is not None else own_config
    settings = read_config(config_path) if config_path else config_of_shapes(tensors, weights)
    with torch.device("meta"):
        autoencoder = Autoencoder(settings)
    load_weights(autoencoder, tensors, weights, device)
    return autoencoder.eval()


def is_autoencoder_folder(path: Path) -> bool:
    """Whether a folder is one that `load_autoencoder` opens."""
    return any(found_in(folder) for folder in (path, path / "vae"))


def locate(path: Path) -> tuple[Path, Path | None]:
    """The file of weights that a path means, and the settings beside it."""
    if path.is_dir():
        for folder in (path, path / "vae"):
            if weights := found_in(folder):
                return weights, folder / CONFIG_FILE
        names = ", ".join(f"`{name}`" for name in WEIGHTS_FILES)
        raise PatchworkError(f"neither `{path}` nor its folder `vae` has `{CONFIG_FILE}` and one of {names}", HINT)
    require_file(path, HINT)
    beside = path.with_name(CONFIG_FILE)
    return path, beside if path.name in WEIGHTS_FILES and beside.is_file() else None


def found_in(folder: Path) -> Path | None:
    """The weights of a diffusers folder."""
    if not (folder / CONFIG_FILE).is_file():
        return None
    return next((folder / name for name in WEIGHTS_FILES if (folder / name).is_file()), None)


def current_tensors(path: Path) -> dict[str, Tensor]:
    """The autoencoder's tensors of a file under today's names, attention as linear layers."""
    if path.suffix in PICKLES:
        found = read_pickle(path)
        rename = renaming(found)
    else:
        rename = renaming(read_header(path)[0])
        # Of a full checkpoint the rest is not brought into memory.
        found = read_safetensors(path, lambda name: rename(name) is not None)
    tensors: dict[str, Tensor] = {}
    for name, tensor in found.items():
        current = rename(name)
        if current is None:
            continue
        if current in tensors:
            raise PatchworkError(f"`{path}` has two tensors for `{current}`", HINT)
        if ".attentions." in current and tensor.ndim == 4:
            tensor = tensor.flatten(1)
        tensors[current] = tensor
    return tensors


def read_config(path: Path) -> AutoencoderConfig:
    """The settings in a `config.json`."""
    require_file(path, "name the `config.json` that belongs to the weights")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PatchworkError(f"`{path}` is not JSON: {error}", "fetch it again") from error
    try:
        return AutoencoderConfig.from_json(settings)
    except PatchworkError as error:
        raise PatchworkError(f"`{path}`: {error.problem}", error.hint) from error


def config_of_shapes(tensors: dict[str, Tensor], path: Path) -> AutoencoderConfig:
    """The settings of weights under today's names; what shapes leave open is Stable Diffusion's."""

    def size(name: str, dimension: int) -> int | None:
        tensor = tensors.get(name)
        return tensor.shape[dimension] if tensor is not None and tensor.ndim > dimension else None

    def required(name: str, dimension: int) -> int:
        found = size(name, dimension)
        if found is None:
            raise PatchworkError(f"`{path}` is not an autoencoder: it has no tensor `{name}` under any known name", HINT)
        return found

    def block(level: int, block: int) -> int | None:
        return size(f"encoder.down_blocks.{level}.resnets.{block}.conv1.weight", 0)

    levels = next(level for level in range(len(tensors) + 1) if block(level, 0) is None)
    layers = next(layer for layer in range(len(tensors) + 1) if block(0, layer) is None)
    try:
        return AutoencoderConfig(
            in_channels=required("encoder.conv_in.weight", 1),
            out_channels=required("decoder.conv_out.weight", 0),
            latent_channels=required("encoder.conv_out.weight", 0) // 2,
            block_out_channels=tuple(block(level, 0) or 0 for level in range(levels)),
            layers_per_block=layers,
            use_quant_conv="quant_conv.weight" in tensors,
            use_post_quant_conv="post_quant_conv.weight" in tensors,
            mid_block_add_attention="encoder.mid_block.attentions.0.to_q.weight" in tensors,
        )
    except PatchworkError as error:
        if not tensors or levels == 0 or str(path) in error.problem:
            raise
        raise PatchworkError(
            f"`{path}`: its shapes fit no settings ({error.problem})", "name a `config.json` by `config=`"
        ) from error
