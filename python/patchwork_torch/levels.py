"""The plan of a U-Net: which block stands where, under which name."""

from __future__ import annotations

from dataclasses import dataclass

from .config import NetworkConfig
from .layers import BlockStyle, UNetBlock


@dataclass(frozen=True)
class Planned:
    """A block to build."""

    name: str
    inputs: int
    outputs: int
    direction: str | None = None
    attention: bool = False
    joins_skip: bool = False

    def build(self, style: BlockStyle) -> UNetBlock:
        """The block with uninitialised convolutions."""
        return UNetBlock(self.inputs, self.outputs, style, self.direction, self.attention)


@dataclass(frozen=True)
class Level:
    """One level of the encoder or the decoder."""

    prefix: str
    entrance: list[Planned]
    entrance_channels: int
    blocks: list[Planned]
    channels: int


def plan(config: NetworkConfig, first_channels: int, attends_in_every_block: bool) -> tuple[list[Level], list[Level]]:
    """The encoder's and the decoder's levels, in the order in which they run.

    The encoder halves the sides and leaves a skip after the first convolution and after every block; the decoder doubles
    them again and joins the newest skip to the input of each of its `num_blocks + 1` blocks.
    """
    skips: list[int] = []
    channels = first_channels
    encoder: list[Level] = []
    for level in range(len(config.channel_mult)):
        resolution = config.level_resolution(level)
        prefix = f"{resolution}x{resolution}"
        entrance = [] if level == 0 else [Planned(f"{prefix}_down", channels, channels, "down")]
        entrance_channels = channels
        skips.append(channels)
        blocks = []
        for index in range(config.num_blocks):
            outputs = config.level_channels(level)
            attention = resolution in config.attn_resolutions
            blocks.append(Planned(f"{prefix}_block{index}", channels, outputs, None, attention))
            channels = outputs
            skips.append(channels)
        encoder.append(Level(prefix, entrance, entrance_channels, blocks, channels))

    lowest = len(config.channel_mult) - 1
    decoder: list[Level] = []
    for level in range(lowest, -1, -1):
        resolution = config.level_resolution(level)
        prefix = f"{resolution}x{resolution}"
        if level == lowest:
            entrance = [
                Planned(f"{prefix}_in0", channels, channels, attention=True),
                Planned(f"{prefix}_in1", channels, channels),
            ]
        else:
            entrance = [Planned(f"{prefix}_up", channels, channels, "up")]
        entrance_channels = channels
        blocks = []
        for index in range(config.num_blocks + 1):
            outputs = config.level_channels(level)
            attention = resolution in config.attn_resolutions and (attends_in_every_block or index == config.num_blocks)
            inputs = channels + skips.pop()
            blocks.append(Planned(f"{prefix}_block{index}", inputs, outputs, None, attention, joins_skip=True))
            channels = outputs
        decoder.append(Level(prefix, entrance, entrance_channels, blocks, channels))
    return encoder, decoder
