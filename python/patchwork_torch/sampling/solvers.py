"""Heun's method, Euler's and DPM-Solver++(2M) on EDM's noise levels; states in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from .options import SamplerOptions

Denoise = Callable[[Tensor, float], Tensor]
"""From noisy images `[n, c, h, w]` in float64 and their noise level to denoised ones in float64."""
Noise = Callable[[int], Tensor]
"""The standard normal draw of a step, from 0, shaped like the images."""


def noise_levels(options: SamplerOptions) -> list[float]:
    """The noise levels from large to small, and a final zero (EDM, equation 5)."""
    start, end = options.sigma_max ** (1 / options.rho), options.sigma_min ** (1 / options.rho)
    places = (step / (options.steps - 1) for step in range(options.steps))
    return [(start + place * (end - start)) ** options.rho for place in places] + [0.0]


@torch.no_grad()
def sample(denoise: Denoise, latents: Tensor, options: SamplerOptions, noise: Noise | None = None) -> Tensor:
    """Samples one batch.

    Args:
        denoise: what estimates clean images.
        latents: `[n, c, h, w]`, standard normal.
        options: the solver and its settings; guidance is `denoise`'s to apply.
        noise: the draws of the steps, for a sampler that adds noise.

    Returns:
        Images `[n, c, h, w]` in float64, in the data's units, on the device of the latents.
    """
    if options.solver == "dpm-solver-2m":
        return dpm_solver(denoise, latents, options)
    return edm(denoise, latents, options, noise)


def edm(denoise: Denoise, latents: Tensor, options: SamplerOptions, noise: Noise | None) -> Tensor:
    """EDM's Algorithm 2; with `euler` without the second evaluation of a step."""
    levels = noise_levels(options)
    x = latents.to(torch.float64) * levels[0]
    for step, (now, after) in enumerate(pairwise(levels)):
        gamma = options.gamma(now)
        raised = now
        if gamma > 0:
            if noise is None:
                raise ValueError("`s_churn` is above 0, and no `noise` is given")
            raised = now + gamma * now
            x = x + noise(step).to(x) * (math.sqrt(raised**2 - now**2) * options.s_noise)
        slope = (x - denoise(x, raised)) / raised
        following = x + slope * (after - raised)
        if after > 0 and options.solver == "heun":
            slope_after = (following - denoise(following, after)) / after
            following = x + (slope + slope_after) * ((after - raised) / 2)
        x = following
    return x


def dpm_solver(denoise: Denoise, latents: Tensor, options: SamplerOptions) -> Tensor:
    """DPM-Solver++(2M) (Lu et al., arXiv 2211.01095, Algorithm 2), where α = 1 and λ = -ln σ."""
    levels = noise_levels(options)
    x = latents.to(torch.float64) * levels[0]
    previous: tuple[Tensor, float] | None = None
    for now, after in pairwise(levels):
        denoised = denoise(x, now)
        if after == 0:
            return denoised
        h = math.log(now / after)
        direction = denoised
        if previous is not None:
            before, h_before = previous
            half_ratio = h / (2 * h_before)
            direction = denoised * (1 + half_ratio) - before * half_ratio
        x = x * (after / now) - direction * math.expm1(-h)
        previous = (denoised, h)
    return x
