"""The networks against the recorded numbers of the published implementations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from patchwork_torch import Denoiser, NetworkConfig, full_positions, load, patch_positions
from patchwork_torch.checkpoint import CONFIG_KEY

CASES = Path(__file__).parents[2] / "tests/fixtures/parity"
DENOISERS = sorted(path for path in CASES.iterdir() if path.name.startswith("denoiser-"))


def test_the_cases_are_there() -> None:
    assert len(DENOISERS) >= 7


def open_case(folder: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    return json.loads((folder / "case.json").read_text()), load_file(folder / "tensors.safetensors")


def written(folder: Path, place: Path) -> Path:
    """The case's network as Patchwork writes one."""
    case, tensors = open_case(folder)
    network = {name.removeprefix("param/"): value for name, value in tensors.items() if name.startswith("param/")}
    path = place / "network.safetensors"
    save_file(network, path, metadata={CONFIG_KEY: json.dumps(case["network"])})
    return path


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    ours, theirs = ours.double(), theirs.double()
    return float((ours - theirs).norm() / theirs.norm().clamp(min=1e-30))


@pytest.mark.parametrize("folder", DENOISERS, ids=lambda folder: folder.name)
def test_a_case_agrees_both_ways(folder: Path, tmp_path: Path) -> None:
    case, tensors = open_case(folder)
    tolerance = case["tolerance"]["rel"]
    denoiser = load(written(folder, tmp_path))
    x = tensors["input/x"].requires_grad_()
    denoised = denoiser(
        x,
        tensors["input/sigma"],
        tensors.get("input/class_labels"),
        tensors.get("input/augment_labels"),
        tensors.get("input/x_pos"),
    )
    (denoised * tensors["input/probe"]).sum().backward()
    assert relative_error(denoised.detach(), tensors["output/denoised"]) <= tolerance
    gradients = {f"grad/{name}": value.grad for name, value in denoiser.named_parameters()}
    gradients["grad/input/x"] = x.grad
    expected = [name for name in tensors if name.startswith("grad/")]
    assert expected
    for name in expected:
        assert relative_error(gradients[name], tensors[name]) <= tolerance, name


@pytest.mark.parametrize("folder", DENOISERS, ids=lambda folder: folder.name)
def test_names_and_shapes_are_the_published_ones(folder: Path) -> None:
    case, tensors = open_case(folder)
    theirs = {
        name.removeprefix("param/"): tuple(value.shape) for name, value in tensors.items() if name.startswith("param/")
    }
    denoiser = Denoiser(NetworkConfig.from_json(json.dumps(case["network"])))
    assert {name: tuple(value.shape) for name, value in denoiser.state_dict().items()} == theirs


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"model.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="checkpoint import"):
        load(path)
    folder = DENOISERS[0]
    case, _ = open_case(folder)
    save_file({"model.weight": torch.zeros(1)}, path, metadata={CONFIG_KEY: json.dumps(case["network"])})
    with pytest.raises(ValueError, match="does not hold the network"):
        load(path)
    with pytest.raises(ValueError, match="unknown network settings: colour"):
        NetworkConfig.from_json(json.dumps({**case["network"], "colour": 1}))


def test_positions_are_those_of_the_paper() -> None:
    whole = full_positions(8, 6)
    assert whole.shape == (1, 2, 8, 6)
    assert whole[0, :, 0, 0].tolist() == [-1, -1] and whole[0, :, -1, -1].tolist() == [1, 1]
    corner = torch.tensor([2])
    patch = patch_positions(corner, corner, 3, 8, 6)
    torch.testing.assert_close(patch, whole[:, :, 2:5, 2:5])
    _, tensors = open_case(CASES / "patch-loss-16-of-32")
    rows, cols = tensors["input/row"], tensors["input/col"]
    size, whole_size = tensors["output/patches"].shape[-1], tensors["input/images"].shape[-1]
    positions = patch_positions(rows, cols, size, whole_size, whole_size)
    torch.testing.assert_close(positions, tensors["output/positions"])
