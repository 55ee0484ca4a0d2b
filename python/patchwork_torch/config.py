"""The settings of a network, as they lie in the metadata of `network.safetensors`."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

from .error import PatchworkError
from .latents import LatentConfig

HINT = "take the file from a train stage or `patchwork checkpoint import`; a newer Patchwork needs a newer patchwork_torch"
CHOICES = {
    "arch": ("ddpmpp", "ncsnpp", "adm"),
    "embedding_type": ("positional", "fourier"),
    "encoder_type": ("standard", "skip", "residual"),
    "decoder_type": ("standard", "skip"),
    "preconditioning": ("edm",),
}
LIMITS = {
    "img_resolution": (1, 1 << 16),
    "img_channels": (1, 1 << 12),
    "in_channels": (1, 1 << 12),
    "out_channels": (1, 1 << 12),
    "model_channels": (1, 1 << 14),
    "channel_mult_noise": (1, 1 << 8),
    "num_blocks": (1, 1 << 8),
    "label_dim": (0, 1 << 20),
    "augment_dim": (0, 1 << 20),
}
LISTS = {
    # Of how many numbers, and how large.
    "channel_mult": ((1, 12), (1, 1 << 8)),
    "attn_resolutions": ((0, 64), (1, 1 << 16)),
    "resample_filter": ((2, 16), (1, 1 << 20)),
    "img_size": ((2, 2), (1, 1 << 16)),
}


@dataclass(frozen=True)
class NetworkConfig:
    """A network's settings; with its weights, all there is to know about it."""

    arch: str
    img_resolution: int
    img_channels: int
    in_channels: int
    out_channels: int
    position_channels: bool
    model_channels: int
    channel_mult: tuple[int, ...]
    num_blocks: int
    attn_resolutions: tuple[int, ...]
    dropout: float
    label_dim: int = 0
    augment_dim: int = 0
    img_size: tuple[int, int] | None = None
    channel_mult_noise: int = 1
    embedding_type: str = "positional"
    encoder_type: str = "standard"
    decoder_type: str = "standard"
    resample_filter: tuple[int, ...] = (1, 1)
    implicit_mlp: bool = False
    sigma_data: float = 0.5
    preconditioning: str = "edm"
    blit_labels: int | None = None
    """Version of the augmentation labels of quarter turns and whole shifts; which says nothing about the network itself."""
    latents: LatentConfig | None = None
    """The latents that it was trained on; None for pixels."""

    def __post_init__(self) -> None:
        for key, known in CHOICES.items():
            if getattr(self, key) not in known:
                raise refused(key, getattr(self, key), f"this package knows {', '.join(known)}")
        for key, (low, high) in LIMITS.items():
            if not is_integer(getattr(self, key), low, high):
                raise refused(key, getattr(self, key), f"a whole number from {low} to {high} is needed")
        for key, (lengths, (low, high)) in LISTS.items():
            values = getattr(self, key)
            if values is None and key == "img_size":
                continue
            is_list = isinstance(values, (list, tuple)) and lengths[0] <= len(values) <= lengths[1]
            if not is_list or not all(is_integer(value, low, high) for value in values):
                raise refused(key, values, f"{lengths[0]} to {lengths[1]} whole numbers from {low} to {high} are needed")
            object.__setattr__(self, key, tuple(values))
        for key in ("position_channels", "implicit_mlp"):
            if not isinstance(getattr(self, key), bool):
                raise refused(key, getattr(self, key), "true or false is needed")
        if not isinstance(self.dropout, (int, float)) or not 0 <= self.dropout < 1:
            raise refused("dropout", self.dropout, "a probability below 1 is needed")
        if not isinstance(self.sigma_data, (int, float)) or not (0 < self.sigma_data < math.inf):
            raise refused("sigma_data", self.sigma_data, "a number above 0 is needed")
        self._check_channels()

    def _check_channels(self) -> None:
        expected = self.img_channels + (2 if self.position_channels else 0)
        if self.in_channels != expected:
            raise refused("in_channels", self.in_channels, f"image and coordinates have {expected}")
        if self.out_channels != self.img_channels:
            raise refused("out_channels", self.out_channels, f"the image has {self.img_channels}")
        if self.img_resolution % (1 << (len(self.channel_mult) - 1)):
            raise refused("img_resolution", self.img_resolution, f"it cannot be halved {len(self.channel_mult) - 1} times")
        if len(self.resample_filter) % 2:
            raise refused("resample_filter", self.resample_filter, "an even number of taps is needed")
        if self.arch == "adm":
            for level in range(len(self.channel_mult)):
                is_lowest = level + 1 == len(self.channel_mult)
                if (is_lowest or self.level_resolution(level) in self.attn_resolutions) and self.level_channels(level) % 64:
                    raise refused("channel_mult", self.channel_mult, "heads of attention have 64 channels each")
        if self.latents is not None and self.latents.channels != self.img_channels:
            raise refused("latents", self.latents, f"`shift` and `scale` need {self.img_channels} values")

    @classmethod
    def from_json(cls, text: str) -> NetworkConfig:
        """Reads the settings from JSON.

        Raises:
            PatchworkError: no JSON object, or a setting that is missing, impossible or not known to this version.
        """
        try:
            settings: Any = json.loads(text)
        except ValueError as error:
            raise PatchworkError(f"the network's settings are not JSON: {error}", HINT) from error
        if not isinstance(settings, dict):
            raise PatchworkError("the network's settings are not a JSON object", HINT)
        fields = {field.name: field for field in dataclasses.fields(cls)}
        unknown = sorted(settings.keys() - fields.keys())
        if unknown:
            raise PatchworkError(f"unknown network settings: {', '.join(unknown)}", HINT)
        required = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
        missing = sorted(required - settings.keys())
        if missing:
            raise PatchworkError(f"missing network settings: {', '.join(missing)}", HINT)
        if settings.get("latents") is not None:
            settings["latents"] = LatentConfig.from_json(settings["latents"])
        return cls(**settings)

    @property
    def height(self) -> int:
        """Height of the whole image in pixels, or in latents."""
        return self.img_size[0] if self.img_size else self.img_resolution

    @property
    def width(self) -> int:
        """Width of the whole image in pixels, or in latents."""
        return self.img_size[1] if self.img_size else self.img_resolution

    def level_channels(self, level: int) -> int:
        """Channels at a level, 0 = top."""
        return self.model_channels * self.channel_mult[level]

    def level_resolution(self, level: int) -> int:
        """Side of the whole image at a level, 0 = top; parameter names carry it."""
        return self.img_resolution >> level


def is_integer(value: Any, low: int, high: int) -> bool:
    """Whether something is a whole number within limits."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def refused(key: str, value: Any, problem: str) -> PatchworkError:
    """The error of a setting."""
    return PatchworkError(f"the network's setting `{key}` is `{value}`: {problem}", HINT)
