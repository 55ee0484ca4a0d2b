"""The networks against the recorded numbers of the published implementations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from cases import CASES, of_kind, open_case, parameters, relative_error, write_network
from safetensors.torch import save_file

from patchwork_torch import Denoiser, NetworkConfig, PatchworkError, full_positions, load, load_network, patch_positions
from patchwork_torch.checkpoint import CONFIG_KEY

DENOISERS = of_kind("denoiser")


@pytest.mark.parametrize("folder", DENOISERS, ids=lambda folder: folder.name)
def test_a_case_agrees_both_ways(folder: Path, tmp_path: Path) -> None:
    case, tensors = open_case(folder)
    tolerance = case["tolerance"]["rel"]
    denoiser = load_network(write_network(folder, tmp_path))
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
    theirs = {name: tuple(value.shape) for name, value in parameters(tensors).items()}
    denoiser = Denoiser(NetworkConfig.from_json(json.dumps(case["network"])))
    assert {name: tuple(value.shape) for name, value in denoiser.state_dict().items()} == theirs


def test_a_checkpoint_of_a_training_gives_its_average(tmp_path: Path) -> None:
    case, tensors = open_case(DENOISERS[0])
    weights = parameters(tensors)
    path = tmp_path / "checkpoint.safetensors"
    fixed = {name for name in weights if name.endswith("resample_filter")}
    assert fixed
    average = {f"ema/{name}": value * 2 for name, value in weights.items() if name not in fixed}
    trained = {f"network/{name}": value for name, value in weights.items()}
    save_file({**trained, **average, "adam/step": torch.zeros(1)}, path, metadata={CONFIG_KEY: json.dumps(case["network"])})
    of_average, of_training = load(path), load_network(path, entry="network")
    assert isinstance(of_average, Denoiser)
    for name, value in weights.items():
        torch.testing.assert_close(of_average.state_dict()[name], value if name in fixed else value * 2)
        torch.testing.assert_close(of_training.state_dict()[name], value)
    with pytest.raises(PatchworkError, match=r"has no entry `ema.1`(.|\n)*`adam`, `ema`, `network`"):
        load_network(path, entry="ema.1")


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
