"""The settings of a KL autoencoder: diffusers' `config.json`."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from ..error import PatchworkError

HINT = "use the `config.json` that came with the weights; AutoencoderKL of Stable Diffusion 1 and 2 and ours are implemented"
DOWN_BLOCK, UP_BLOCK = "DownEncoderBlock2D", "UpDecoderBlock2D"
STABLE_DIFFUSION_SCALE = 0.18215
MAX_LEVELS = 10
LIMITS = {
    "in_channels": 1 << 12,
    "out_channels": 1 << 12,
    "latent_channels": 1 << 12,
    "layers_per_block": 1 << 6,
    "norm_num_groups": 1 << 14,
    "sample_size": 1 << 16,
}


@dataclass(frozen=True)
class AutoencoderConfig:
    """A KL autoencoder's settings; the defaults are diffusers'."""

    in_channels: int = 3
    out_channels: int = 3
    latent_channels: int = 4
    block_out_channels: tuple[int, ...] = (64,)
    """Channels of each level, from full resolution down; each level but the last halves the image."""
    layers_per_block: int = 1
    norm_num_groups: int = 32
    sample_size: int | None = None
    scaling_factor: float = STABLE_DIFFUSION_SCALE
    """What its makers multiply latents by."""
    shift_factor: float | None = None
    """What its makers subtract before that."""
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True

    def __post_init__(self) -> None:
        for key, limit in LIMITS.items():
            value = getattr(self, key)
            if value is None and key == "sample_size":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
                raise refused(key, value, f"a whole number from 1 to {limit} is needed")
        for key in ("use_quant_conv", "use_post_quant_conv", "mid_block_add_attention"):
            if not isinstance(getattr(self, key), bool):
                raise refused(key, getattr(self, key), "true or false is needed")
        channels = self.block_out_channels
        if not isinstance(channels, (list, tuple)) or not 1 <= len(channels) <= MAX_LEVELS:
            raise refused("block_out_channels", channels, f"a list of 1 to {MAX_LEVELS} levels is needed")
        object.__setattr__(self, "block_out_channels", tuple(channels))
        for count in channels:
            if not isinstance(count, int) or not 1 <= count <= 1 << 14 or count % self.norm_num_groups:
                problem = f"each has to be a multiple of `norm_num_groups` = {self.norm_num_groups}, at most {1 << 14}"
                raise refused("block_out_channels", channels, problem)
        for key, positive in (("scaling_factor", True), ("shift_factor", False)):
            value = getattr(self, key)
            if value is None and not positive:
                continue
            is_number = isinstance(value, (int, float)) and math.isfinite(value)
            if not is_number or (positive and value <= 0):
                raise refused(key, value, "a finite number above 0 is needed" if positive else "a finite number is needed")

    @classmethod
    def from_json(cls, settings: Any) -> AutoencoderConfig:
        """Reads the settings out of the JSON object of a `config.json`.

        Raises:
            PatchworkError: with key and value of a setting that is unknown, impossible or not implemented.
        """
        if not isinstance(settings, dict):
            raise PatchworkError("the settings of an autoencoder are a JSON object", HINT)
        left = {key: value for key, value in settings.items() if value is not None}
        own = {field.name for field in dataclasses.fields(cls)}
        config = cls(**{key: left.pop(key) for key in list(left) if key in own})
        only = {"_class_name": ("AutoencoderKL",), "act_fn": ("silu", "swish")}
        for key, values in only.items():
            value = left.pop(key, values[0])
            if value not in values:
                raise refused(key, value, f"only `{values[0]}` is implemented")
        for key, kind in (("down_block_types", DOWN_BLOCK), ("up_block_types", UP_BLOCK)):
            kinds = left.pop(key, [kind] * config.levels)
            if not isinstance(kinds, list) or any(other != kind for other in kinds):
                raise refused(key, kinds, f"only `{kind}` is implemented")
            if len(kinds) != config.levels:
                raise refused(key, kinds, f"`block_out_channels` has {config.levels} levels")
        # How its makers advise to run it (everything is float32 here), and notes of diffusers about the file.
        for key in ("force_upcast", "_diffusers_version", "_name_or_path"):
            left.pop(key, None)
        for key, value in left.items():
            raise refused(key, value, "it is not implemented")
        return config

    @property
    def levels(self) -> int:
        """Number of levels."""
        return len(self.block_out_channels)

    @property
    def factor(self) -> int:
        """Pixels along a side of an image for one latent."""
        return 1 << (self.levels - 1)


def refused(key: str, value: Any, problem: str) -> PatchworkError:
    """The error of a setting."""
    return PatchworkError(f"the autoencoder's setting `{key}` is `{value}`: {problem}", HINT)
