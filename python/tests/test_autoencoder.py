"""The autoencoder against the recorded numbers of diffusers, and its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from cases import FIXTURES, of_kind, open_case, parameters, relative_error
from safetensors.torch import load_file, save_file

from patchwork_torch import Autoencoder, load, load_autoencoder

AUTOENCODERS = of_kind("kl_autoencoder")


@pytest.mark.parametrize("folder", AUTOENCODERS, ids=lambda folder: folder.name)
def test_a_case_agrees(folder: Path, tmp_path: Path) -> None:
    case, tensors = open_case(folder)
    save_file(parameters(tensors), tmp_path / "diffusion_pytorch_model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(case["config"]))
    autoencoder = load(tmp_path)
    assert isinstance(autoencoder, Autoencoder)
    with torch.no_grad():
        posterior = autoencoder.encode(tensors["input/images"])
        found = {"mean": posterior.mean, "logvar": posterior.log_variance, "decoded": autoencoder.decode(posterior.mean)}
        draw = posterior.sample(torch.ones_like(posterior.mean))
    for name, value in found.items():
        assert relative_error(value, tensors[f"output/{name}"]) <= case["tolerance"]["rel"], name
    torch.testing.assert_close(draw, posterior.mean + posterior.log_variance.exp().sqrt())


def test_every_kind_of_file_gives_the_same_autoencoder() -> None:
    folder = FIXTURES / "autoencoder"
    diffusers = load_autoencoder(folder / "diffusers")
    config = folder / "diffusers/config.json"
    expected = load_file(folder / "diffusers/diffusion_pytorch_model.safetensors")
    state = diffusers.state_dict()
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(state[name], value), name
    for file, tolerance in (("diffusers-2022", 0.0), ("full.ckpt", 0.0), ("compvis-float16.safetensors", 1e-3)):
        other = load_autoencoder(folder / file, config=config)
        for name, value in other.state_dict().items():
            assert value.dtype == torch.float32
            torch.testing.assert_close(value, state[name], rtol=tolerance, atol=tolerance, msg=f"{file}: {name}")


def test_shapes_tell_the_settings(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = load_autoencoder(FIXTURES / "autoencoder/diffusers").config.__class__(
        block_out_channels=(32, 64), layers_per_block=2, latent_channels=3, use_quant_conv=False
    )
    path = tmp_path / "weights.safetensors"
    save_file(Autoencoder(config).state_dict(), path)
    opened = load(path)
    assert isinstance(opened, Autoencoder) and opened.config == config
