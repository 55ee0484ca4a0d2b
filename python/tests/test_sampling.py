"""Samplers against recorded numbers, and against data whose flow from noise is known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cases import of_kind, open_case, relative_error, write_network

from patchwork_torch import PatchworkError, SamplerOptions, generate, load_network
from patchwork_torch.sampling import RecordedNoise, balanced_labels, sample, seeded_draws, seeded_latents, to_pixels


@pytest.mark.parametrize("folder", of_kind("sampler"), ids=lambda folder: folder.name)
def test_a_case_agrees(folder: Path, tmp_path: Path) -> None:
    case, tensors = open_case(folder)
    denoiser = load_network(write_network(folder, tmp_path))
    options = SamplerOptions(
        steps=case["num_steps"],
        sigma_min=case["sigma_min"],
        sigma_max=case["sigma_max"],
        rho=case["rho"],
        s_churn=case["S_churn"],
        s_min=case["S_min"],
        s_max=math.inf if case["S_max"] is None else case["S_max"],
        s_noise=case["S_noise"],
        guidance=case["guidance"],
    )
    labels, positions = tensors.get("input/class_labels"), tensors.get("input/positions")

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        level = torch.tensor(sigma)
        denoised = denoiser(x, level, labels, positions=positions).double()
        if labels is None or not options.is_guided(sigma):
            return denoised
        without = denoiser(x, level, positions=positions).double()
        return without + (denoised - without) * options.guidance

    noise = RecordedNoise([tensors[f"input/noise/{step}"] for step in range(sum("noise/" in name for name in tensors))])
    images = sample(denoise, tensors["input/latents"], options, noise)
    assert images.dtype == torch.float64
    assert relative_error(images, tensors["output/images"]) <= case["tolerance"]["rel"]


def test_latents_are_the_recorded_draws() -> None:
    (folder,) = of_kind("seeded_latents")
    case, tensors = open_case(folder)
    latents = seeded_latents(case["seeds"], *case["shape"])
    for latent, seed in zip(latents, case["seeds"], strict=True):
        assert torch.equal(latent, tensors[f"output/{seed}"])
    # Neither the other seeds nor the steps whose noise is kept matter.
    draws, noise = seeded_draws([7, 1], *case["shape"], [False, True, False])
    assert torch.equal(draws[1], latents[1])
    both, all_noise = seeded_draws([1], *case["shape"], [True, True])
    assert torch.equal(noise(1)[1], all_noise(1)[0]) and not torch.equal(all_noise(0), all_noise(1))
    with pytest.raises(ValueError, match="step 2"):
        noise(2)


def error(options: SamplerOptions) -> float:
    """Of Gaussian data N(0.3, 0.5²), of which denoiser and flow are known."""
    variance, mean = 0.25, 0.3
    latents = seeded_latents([1, 2], 1, 8, 8)
    images = sample(lambda x, sigma: (x - mean) * (variance / (variance + sigma**2)) + mean, latents, options)
    flow = math.sqrt((variance + 0.002**2) / (variance + 80.0**2)) * variance / (variance + 0.002**2)
    exact = (latents.double() * 80 - mean) * flow + mean
    return float((images - exact).norm() / exact.norm())


@pytest.mark.parametrize(("solver", "order", "slack"), [("heun", 2, 0.25), ("euler", 1, 0.15), ("dpm-solver-2m", 2, 0.35)])
def test_solvers_converge_at_their_order(solver: str, order: int, slack: float) -> None:
    coarse, fine = (error(SamplerOptions(solver=solver, steps=steps)) for steps in (128, 512))
    assert abs(math.log(coarse / fine, 4) - order) < slack


def test_images_depend_on_their_seeds_alone(tmp_path: Path) -> None:
    folder = next(folder for folder in of_kind("sampler") if folder.name == "sampler-heun-churn")
    denoiser = load_network(write_network(folder, tmp_path))
    options = SamplerOptions(steps=4, s_churn=10, s_min=0.05, s_max=50)
    whole = generate(denoiser, [5, 6, 7], options)
    assert whole.dtype == torch.uint8 and whole.shape == (3, 3, 16, 16)
    split = generate(denoiser, [7, 5, 6], options, batch_size=2)[[1, 2, 0]]
    assert (whole.int() - split.int()).abs().max() <= 1
    assert not torch.equal(generate(denoiser, [5, 6, 7], replace(options, s_churn=0)), whole)
    assert generate(denoiser, [5], region=(8, 0, 8)).shape == (1, 3, 8, 8)


def test_pixels_are_clipped_and_truncated() -> None:
    assert to_pixels(torch.tensor([-2.0, -1.0, 0.0, 0.999, 1.0, 3.0])).tolist() == [0, 0, 128, 255, 255, 255]


def test_what_a_network_does_not_go_with_is_refused(tmp_path: Path) -> None:
    denoiser = load_network(write_network(of_kind("sampler")[0], tmp_path))
    with pytest.raises(PatchworkError, match=r"no classes(.|\n)*leave `labels` out"):
        generate(denoiser, [1], labels=balanced_labels([1], 3))
    with pytest.raises(PatchworkError, match=r"`region` is \(8, 8, 12\)"):
        generate(denoiser, [1], region=(8, 8, 12))
    with pytest.raises(PatchworkError, match="at least one seed"):
        generate(denoiser, [])
    with pytest.raises(PatchworkError, match="a seed is not"):
        generate(denoiser, [-1])
    with pytest.raises(PatchworkError, match="`solver` is `ddim`"):
        SamplerOptions(solver="ddim")
    with pytest.raises(PatchworkError, match="`s_churn` is `1`"):
        SamplerOptions(solver="dpm-solver-2m", s_churn=1)
    with torch.no_grad():
        next(denoiser.parameters()).fill_(math.nan)
    with pytest.raises(PatchworkError, match="the image of seed 3 has values that are not finite"):
        generate(denoiser, [3, 4], SamplerOptions(steps=2))
