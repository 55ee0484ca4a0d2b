"""The recorded cases that the Rust program is tested by too."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from patchwork_torch.checkpoint import CONFIG_KEY

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests/fixtures"
CASES = Path(os.environ.get("PARITY_DIR", FIXTURES / "parity"))


def of_kind(kind: str) -> list[Path]:
    """The folders of the cases of a kind; at least one."""
    found = sorted(path.parent for path in CASES.glob("*/case.json") if json.loads(path.read_text())["kind"] == kind)
    assert found, f"no case of the kind `{kind}` in {CASES}"
    return found


def open_case(folder: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    return json.loads((folder / "case.json").read_text()), load_file(folder / "tensors.safetensors")


def parameters(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix("param/"): value for name, value in tensors.items() if name.startswith("param/")}


def write_network(folder: Path, place: Path) -> Path:
    """The case's network as Patchwork writes one."""
    case, tensors = open_case(folder)
    path = place / "network.safetensors"
    save_file(parameters(tensors), path, metadata={CONFIG_KEY: json.dumps(case["network"])})
    return path


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    ours, theirs = ours.double(), theirs.double()
    assert ours.shape == theirs.shape
    return float((ours - theirs).norm() / theirs.norm().clamp(min=1e-30))
