"""Latents of an autoencoder in place of pixels: sets of `patchwork.latents/1`, mapped."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..error import PatchworkError
from ..latents import PIXEL_RANGES, LatentConfig
from .mapped import LATENTS, Mapped
from .seed import GOLDEN, MASK, Seed
from .stream import Request

EDM2_MEAN, EDM2_DEVIATION = (5.81, 3.25, 0.12, -2.15), (4.17, 4.62, 3.71, 3.28)
"""Of Stable Diffusion's latents of ImageNet's images in [0, 1] (EDM2, arXiv 2312.02696)."""


@dataclass(frozen=True)
class Scaling:
    """An affine map of each channel, `(z - shift) scale`."""

    shift: tuple[float, ...]
    scale: tuple[float, ...]


class LatentSet(Mapped):
    """A set of latents, mapped.

    Raises:
        PatchworkError: no set of latents, or one whose shards are not those of its index.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder, LATENTS)
        self.factor = self.integer("factor")
        self.pixel_range = self.entry("pixel_range")
        if self.pixel_range not in PIXEL_RANGES:
            raise self.damaged(f"its metadata has `pixel_range` = `{self.pixel_range}`")
        self.encoder = None if self.entry("encoder") == "external" else self.entry("encoder")
        (self.scaling_factor,) = self._numbers("scaling_factor", 1)
        (self.shift_factor,) = self._numbers("shift_factor", 1)
        self.latent_mean = self._numbers("latent_mean", self.channels)
        self.latent_std = self._numbers("latent_std", self.channels)
        self.values = self.channels * self.height * self.width
        self.map(2 * self.values * 2)

    def __reduce__(self) -> tuple[Any, ...]:
        return LatentSet, (self.folder,)

    def _numbers(self, key: str, count: int) -> tuple[float, ...]:
        found = self.json(key)
        numbers: list[Any] = found if isinstance(found, list) else [found]
        if len(numbers) != count or not all(isinstance(value, (int, float)) and math.isfinite(value) for value in numbers):
            raise self.damaged(f"its metadata has `{key}` = `{self.entry(key)}`")
        return tuple(float(value) for value in numbers)

    def moments(self, index: int) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
        """An image's raw mean and log-variance, `[channels, height, width]` each, as they lie in the mapped file."""
        mean, log_variance = np.frombuffer(self.record(index), "<f2").reshape(2, self.channels, self.height, self.width)
        return mean, log_variance

    def scaling(self, kind: str, sigma_data: float = 0.5) -> Scaling:
        """The constants of `sd`, `per-channel` or `edm2`; `sigma_data` is the standard deviation after the last two.

        Raises:
            PatchworkError: for another kind, EDM2's constants where they do not belong to the set, a constant channel.
        """

        def standardised(mean: tuple[float, ...], deviation: tuple[float, ...]) -> Scaling:
            return Scaling(mean, tuple(sigma_data / value for value in deviation))

        if kind == "sd":
            return Scaling((self.shift_factor,) * self.channels, (self.scaling_factor,) * self.channels)
        if kind == "per-channel":
            if min(self.latent_std) <= 0:
                raise PatchworkError(f"`{self.index}`: all latents of a channel are equal", "use the scaling `sd`")
            return standardised(self.latent_mean, self.latent_std)
        if kind == "edm2":
            if self.pixel_range != "0..1" or self.channels != len(EDM2_MEAN):
                problem = "EDM2's constants belong to 4 channels of images in 0..1"
                raise PatchworkError(f"`{self.index}`: {problem}", "use the scaling `per-channel`")
            return standardised(EDM2_MEAN, EDM2_DEVIATION)
        raise PatchworkError(f"the scaling `{kind}` is not known", "use `sd`, `per-channel` or `edm2`")

    def config(self, kind: str, sigma_data: float = 0.5) -> LatentConfig:
        """What a network that is trained on this set with this scaling has to carry (`NetworkConfig.latents`)."""
        scaling = self.scaling(kind, sigma_data)
        return LatentConfig(self.factor, self.pixel_range, kind, scaling.shift, scaling.scale, self.encoder)

    def gather(
        self, requests: list[Request], patch_size: tuple[int, int], scaling: Scaling, noise: Seed | None = None
    ) -> NDArray[np.float32]:
        """Scaled patches `[requests, channels, h, w]`, float32: draws from each image's distribution, a function of the seed
        `noise` and of the request's position; the means where it is None."""
        height, width = patch_size
        shift, scale = (np.array(values, np.float32)[:, None, None] for values in (scaling.shift, scaling.scale))
        patches = np.empty((len(requests), self.channels, height, width), np.float32)
        for patch, request in zip(patches, requests):
            if request.mirrored:
                raise PatchworkError(
                    "a mirrored latent is not the latent of the mirrored image",
                    "mirror images before they are encoded (`mirror` of the prepare stage)",
                )
            place = (
                slice(None),
                slice(request.row, request.row + height),
                slice(request.column, request.column + width),
            )
            mean, log_variance = (moment[place].astype(np.float32) for moment in self.moments(request.image_index))
            if noise is not None:
                draws = normals(noise.at(request.position), patch.size).reshape(patch.shape)
                mean = mean + np.exp(log_variance * np.float32(0.5)) * draws
            patch[:] = (mean - shift) * scale
        return patches


def normals(seed: Seed, count: int) -> NDArray[np.float32]:
    """Standard normal draws, two at a time from a stream of SplitMix64 (Box and Muller 1958)."""
    pairs = (count + 1) // 2
    with np.errstate(over="ignore"):
        z = np.uint64(seed.value & MASK) + np.arange(1, 2 * pairs + 1, dtype=np.uint64) * np.uint64(GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    uniforms = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    radius = np.sqrt(-2.0 * np.log(1.0 - uniforms[0::2]))
    angle = math.tau * uniforms[1::2]
    drawn = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return drawn.reshape(-1)[:count].astype(np.float32)
