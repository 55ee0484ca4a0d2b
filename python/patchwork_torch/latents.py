"""What a network that was trained on latents has to know to give images; it travels with the weights."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .error import PatchworkError

HINT = "take the file from a train stage; a newer Patchwork needs a newer patchwork_torch"
PIXEL_RANGES = ("-1..1", "0..1")


@dataclass(frozen=True)
class LatentConfig:
    """The latents that a network was trained on: an affine map of each channel, `(z - shift) scale`."""

    factor: int
    """Pixels along a side of an image for one latent."""
    pixel_range: str
    """The range of the pixels that the autoencoder sees and makes: `-1..1` or `0..1`."""
    scaling: str
    """How the constants were found: `sd`, `per-channel` or `edm2`."""
    shift: tuple[float, ...]
    """Subtracted from raw latents, by channel."""
    scale: tuple[float, ...]
    """What the difference is multiplied by, by channel."""
    encoder: str | None = None
    """The digest of the encoder's tensors; None of latents that were made by another program."""

    def __post_init__(self) -> None:
        for key in ("shift", "scale"):
            values = getattr(self, key)
            if not isinstance(values, (list, tuple)) or not all(
                isinstance(value, (int, float)) and math.isfinite(value) for value in values
            ):
                raise PatchworkError(f"`latents.{key}` is `{values}`: finite numbers are needed", HINT)
            object.__setattr__(self, key, tuple(float(value) for value in values))
        if len(self.shift) != len(self.scale) or not self.scale or 0.0 in self.scale:
            raise PatchworkError(f"`latents.scale` is `{self.scale}`: a number other than 0 for each channel is needed", HINT)
        if not isinstance(self.factor, int) or not 1 <= self.factor <= 1 << 16:
            raise PatchworkError(f"`latents.factor` is `{self.factor}`: a whole number from 1 is needed", HINT)
        if self.pixel_range not in PIXEL_RANGES:
            raise PatchworkError(f"`latents.pixel_range` is `{self.pixel_range}`; known are `-1..1` and `0..1`", HINT)

    @classmethod
    def from_json(cls, settings: Any) -> LatentConfig:
        """Reads the JSON object `latents` of a network's settings.

        Raises:
            PatchworkError: for a setting that is missing, impossible or not known to this version.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(settings, dict) or settings.keys() - names or (names - {"encoder"}) - settings.keys():
            raise PatchworkError(f"the network's setting `latents` is `{settings}`; it needs {', '.join(sorted(names))}", HINT)
        return cls(**settings)

    @property
    def channels(self) -> int:
        """Channels of the latents."""
        return len(self.scale)

    def scaled(self, raw: Tensor) -> Tensor:
        """What the network sees of raw latents `[n, channels, h, w]`."""
        return (raw - by_channel(self.shift, raw)) * by_channel(self.scale, raw)

    def raw(self, scaled: Tensor) -> Tensor:
        """Raw latents, for a decoder, of what the network sees."""
        return scaled / by_channel(self.scale, scaled) + by_channel(self.shift, scaled)

    def signed(self, images: Tensor) -> Tensor:
        """Decoded images as those in [-1, 1], whatever range the decoder gives."""
        return images * 2 - 1 if self.pixel_range == "0..1" else images


def by_channel(values: tuple[float, ...], like: Tensor) -> Tensor:
    """Constants `[1, channels, 1, 1]`."""
    return like.new_tensor(values)[None, :, None, None]
