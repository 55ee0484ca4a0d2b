"""Pickles of PyTorch, read as data: nothing in them is looked up or run but what makes tensors.

`torch.load(weights_only=True)` refuses a whole file for one object of another kind, as full Stable Diffusion checkpoints
hold; here such an object becomes an empty one.
"""

from __future__ import annotations

import collections
import pickle
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from .error import PatchworkError, require_file

STORAGES = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    **{("torch", f"{name}Storage"): getattr(torch, f"{name}Storage") for name in STORAGES},
}


class Unread:
    """What stands in the place of an object that is not read."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def ignore(self, *_: Any, **__: Any) -> Unread:
        """Whatever a pickle does with it has no effect."""
        return self

    __call__ = __setstate__ = __setitem__ = append = extend = add = ignore


class Unpickler(pickle.Unpickler):
    """Finds the few names that tensors are made of."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """One of these, or the class of what is not read."""
        return ALLOWED.get((module_name, global_name), Unread)


def load(file: Any, **settings: Any) -> Any:
    """As `pickle.load`, for the headers of PyTorch's older format."""
    return Unpickler(file, **settings).load()


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of the state dictionary in a pickle of PyTorch, itself or under `state_dict`.

    Raises:
        PatchworkError: nothing there, no pickle of PyTorch, or no state dictionary in it.
    """
    require_file(path, "give the path of a file that exists")
    module = SimpleNamespace(__name__="pickle", Unpickler=Unpickler, load=load)
    try:
        is_zip = zipfile.is_zipfile(path)
        found = torch.load(path, map_location="cpu", pickle_module=module, weights_only=False, mmap=is_zip or None)
    except Exception as error:  # A damaged pickle may do anything that its few instructions can.
        lines = str(error).strip().splitlines()
        raise PatchworkError(
            f"`{path}` cannot be read as a file of `torch.save`: {lines[0] if lines else type(error).__name__}",
            "copy it again, or give the weights as safetensors",
        ) from error
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    items = found.items() if isinstance(found, dict) else ()
    tensors = {name: tensor.detach() for name, tensor in items if isinstance(name, str) and torch.is_tensor(tensor)}
    if not tensors:
        raise PatchworkError(f"`{path}` holds no state dictionary", "save it by `torch.save(module.state_dict(), path)`")
    return tensors
