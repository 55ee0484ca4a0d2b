"""Which patch each position of a training is: image, corner and mirroring as a function of (seed, position)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .order import Order
from .seed import Seed


class Request(NamedTuple):
    """Where a patch lies."""

    image_index: int
    """The image."""
    row: int
    """The patch's first line."""
    column: int
    """The patch's first column, counted in the image after mirroring."""
    mirrored: bool
    """Whether the image is mirrored left to right before the patch is cut out of it."""
    position: int
    """The patch's position in the training, on which everything random of it depends."""


class PatchStream:
    """An endless sequence of patches in which each epoch visits each image once."""

    def __init__(self, images: int, height: int, width: int, seed: Seed, mirror_probability: float = 0.0) -> None:
        self.order = Order(images, seed.derive("order"))
        self.corners = seed.derive("patches")
        self.height, self.width, self.mirror_probability = height, width, mirror_probability

    def patch(self, position: int, patch_size: tuple[int, int]) -> Request:
        """The patch at a position, of height and width `patch_size`; its corner is uniform on where it fits."""
        height, width = patch_size
        if not (1 <= height <= self.height and 1 <= width <= self.width):
            raise ValueError(f"a patch of {width} x {height} does not fit into {self.width} x {self.height}")
        draws = self.corners.at(position).stream()
        row = draws.below(self.height - height + 1)
        column = draws.below(self.width - width + 1)
        mirrored = draws.uniform() < self.mirror_probability
        return Request(self.order[position], row, column, mirrored, position)

    def patches(self, positions: Iterable[int], patch_size: tuple[int, int]) -> list[Request]:
        """The patches at some positions."""
        return [self.patch(position, patch_size) for position in positions]
