"""Parameter names: those of diffusers today from those of diffusers in 2022 and of CompVis."""

from __future__ import annotations

from collections.abc import Callable, Iterable

FIRST_STAGE = "first_stage_model."
"""Prefix of the autoencoder in a full checkpoint of CompVis."""
IGNORED = ("loss.", "model_ema.")
ATTENTION = {
    "q": "to_q",
    "query": "to_q",
    "k": "to_k",
    "key": "to_k",
    "v": "to_v",
    "value": "to_v",
    "proj_out": "to_out.0",
    "proj_attn": "to_out.0",
    "norm": "group_norm",
}


def renaming(names: Iterable[str]) -> Callable[[str], str | None]:
    """What a tensor of a file with these names is called today; None for one that does not belong to the autoencoder."""
    names = list(names)
    prefix = FIRST_STAGE if any(name.startswith(FIRST_STAGE) for name in names) else ""
    levels = [
        int(parts[2])
        for parts in (name.removeprefix(prefix).split(".") for name in names)
        if parts[:2] == ["decoder", "up"] and len(parts) > 2 and parts[2].isdecimal()
    ]
    # CompVis counts the decoder's levels from full resolution.
    last = max(levels, default=0)

    def current(name: str) -> str | None:
        if not name.startswith(prefix):
            return None
        name = name.removeprefix(prefix)
        if name.startswith(IGNORED):
            return None
        part, _, rest = name.partition(".")
        return f"{part}.{inner(rest.split('.'), last)}" if part in ("encoder", "decoder") else name

    return current


def inner(name: list[str], last: int) -> str:
    """A name inside of encoder or decoder."""
    match name:
        case ["down", level, "block", block, *rest]:
            return f"down_blocks.{level}.resnets.{block}.{shortcut(rest)}"
        case ["down", level, "downsample", *rest]:
            return f"down_blocks.{level}.downsamplers.0.{'.'.join(rest)}"
        case ["up", level, "block", block, *rest] if level.isdecimal():
            return f"up_blocks.{last - int(level)}.resnets.{block}.{shortcut(rest)}"
        case ["up", level, "upsample", *rest] if level.isdecimal():
            return f"up_blocks.{last - int(level)}.upsamplers.0.{'.'.join(rest)}"
        case ["mid", ("block_1" | "block_2") as block, *rest]:
            return f"mid_block.resnets.{int(block[-1]) - 1}.{shortcut(rest)}"
        case ["mid", "attn_1", layer, *rest] | ["mid_block", "attentions", "0", layer, *rest]:
            return f"mid_block.attentions.0.{'.'.join([ATTENTION.get(layer, layer), *rest])}"
        case ["norm_out", *rest]:
            return f"conv_norm_out.{'.'.join(rest)}"
        case _:
            return ".".join(name)


def shortcut(rest: list[str]) -> str:
    """A name inside of a residual block."""
    return ".".join(["conv_shortcut", *rest[1:]] if rest[:1] == ["nin_shortcut"] else rest)
