"""From seeds to the noise that an image starts from, and to that of a sampler's steps.

Image k is a function of seed k alone: a CPU generator of that seed gives its latent in float32, then the noise of its steps
in float64, in order.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class RecordedNoise:
    """Draws made beforehand, one a step, each shaped like the latents; None for a step that adds no noise."""

    def __init__(self, steps: Sequence[Tensor | None]) -> None:
        self.steps = list(steps)

    def __call__(self, step: int) -> Tensor:
        """The draw of a step, from 0."""
        draw = self.steps[step] if step < len(self.steps) else None
        if draw is None:
            raise ValueError(f"no noise was recorded for step {step}, which adds noise")
        return draw


def seeded_latents(seeds: Sequence[int], channels: int, height: int, width: int) -> Tensor:
    """Starting noise of images, each from its own seed: `[seeds, channels, height, width]`, float32, on the CPU."""
    return seeded_draws(seeds, channels, height, width, [])[0]


def seeded_draws(
    seeds: Sequence[int], channels: int, height: int, width: int, noisy_steps: Sequence[bool]
) -> tuple[Tensor, RecordedNoise]:
    """Starting noise as `seeded_latents`, and the noise of those steps that add any."""
    shape = (channels, height, width)
    # The draws of later steps follow on those of earlier ones, whether these add noise or not.
    drawn = max((step + 1 for step, is_noisy in enumerate(noisy_steps) if is_noisy), default=0)
    latents = torch.empty(len(seeds), *shape)
    steps = [torch.empty(len(seeds), *shape, dtype=torch.float64) if noisy_steps[step] else None for step in range(drawn)]
    for image, seed in enumerate(seeds):
        generator = torch.Generator().manual_seed(seed)
        latents[image] = torch.randn(shape, generator=generator)
        for step in steps:
            noise = torch.randn(shape, generator=generator, dtype=torch.float64)
            if step is not None:
                step[image] = noise
    return latents, RecordedNoise(steps)
