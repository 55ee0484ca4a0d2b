"""Tensors out of files into modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .error import PatchworkError, require_file

NO_FILE = "give the path of a file that exists"


def read_header(path: Path) -> tuple[list[str], dict[str, str]]:
    """The names of a safetensors file's tensors, and its metadata.

    Raises:
        PatchworkError: nothing there, or no safetensors file.
    """
    with opened(path) as file:
        return list(file.keys()), dict(file.metadata() or {})


def read_safetensors(path: Path, choose: Callable[[str], bool] = lambda _: True) -> dict[str, Tensor]:
    """Those tensors of a safetensors file whose names are chosen, on the CPU.

    Raises:
        PatchworkError: nothing there, or no safetensors file.
    """
    with opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys() if choose(name)}


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A safetensors file."""
    require_file(path, NO_FILE)
    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise PatchworkError(
            f"`{path}` is not a safetensors file, or is damaged: {error}",
            "copy it again, or convert it by `patchwork checkpoint import`",
        ) from error


def load_weights(module: nn.Module, tensors: dict[str, Tensor], path: Path, device: torch.device | str) -> None:
    """Puts tensors into a module on the meta device and brings it to a device, in float32.

    Raises:
        PatchworkError: unless names and shapes are exactly the module's.
    """
    wanted = module.state_dict()
    missing = sorted(wanted.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - wanted.keys())
    shapes = [
        f"`{name}` is {list(tensors[name].shape)}, not {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    problems = [
        *(f"`{name}` is missing" for name in missing),
        *(f"`{name}` is unexpected" for name in unexpected),
        *shapes,
        *(f"`{name}` has elements of {tensor.dtype}" for name, tensor in tensors.items() if not tensor.is_floating_point()),
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise PatchworkError(
            f"`{path}` does not hold the network of its settings: {', '.join(problems[:5])}{more}",
            "take weights and settings from the same network; `patchwork checkpoint inspect FILE` lists what a file holds",
        )
    floats = {name: tensor.to(torch.float32) for name, tensor in tensors.items()}
    module.load_state_dict(floats, assign=True)
    module.to(device)
