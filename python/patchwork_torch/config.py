"""The settings of a network, as they lie in the metadata of `network.safetensors`."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

ARCHITECTURES = ("ddpmpp", "ncsnpp", "adm")


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

    def __post_init__(self) -> None:
        for field in ("channel_mult", "attn_resolutions", "resample_filter", "img_size"):
            value = getattr(self, field)
            if isinstance(value, list):
                object.__setattr__(self, field, tuple(value))
        choices = {
            "arch": ARCHITECTURES,
            "embedding_type": ("positional", "fourier"),
            "encoder_type": ("standard", "skip", "residual"),
            "decoder_type": ("standard", "skip"),
            "preconditioning": ("edm",),
        }
        for field, known in choices.items():
            value = getattr(self, field)
            if value not in known:
                raise ValueError(f"`{field}` is `{value}`; this package knows {', '.join(known)}")

    @classmethod
    def from_json(cls, text: str) -> NetworkConfig:
        """Reads the settings from JSON.

        Raises:
            ValueError: for a setting that this version does not know.
        """
        settings: dict[str, Any] = json.loads(text)
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(settings.keys() - known)
        if unknown:
            raise ValueError(f"unknown network settings: {', '.join(unknown)}")
        return cls(**settings)

    @property
    def height(self) -> int:
        """Height of the whole image in pixels."""
        return self.img_size[0] if self.img_size else self.img_resolution

    @property
    def width(self) -> int:
        """Width of the whole image in pixels."""
        return self.img_size[1] if self.img_size else self.img_resolution

    def level_channels(self, level: int) -> int:
        """Channels at a level, 0 = top."""
        return self.model_channels * self.channel_mult[level]

    def level_resolution(self, level: int) -> int:
        """Side of the whole image at a level, 0 = top; parameter names carry it."""
        return self.img_resolution >> level
