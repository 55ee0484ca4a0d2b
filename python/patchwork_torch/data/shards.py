"""Prepared images: sets of `patchwork.shards/1`, mapped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .mapped import PIXELS, Mapped
from .stream import Request


class ShardSet(Mapped):
    """A set of images, mapped: of a prepare stage, `patchwork dataset build`, or of samples.

    Raises:
        PatchworkError: no set of pixels, or one whose shards are not those of its index.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder, PIXELS)
        self.map(self.width * self.height * self.channels)

    def __reduce__(self) -> tuple[Any, ...]:
        return ShardSet, (self.folder,)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """An image, `[height, width, channels]`, uint8, as it lies in the mapped file; read-only."""
        return np.frombuffer(self.record(index), np.uint8).reshape(self.height, self.width, self.channels)

    def gather(self, requests: list[Request], patch_size: tuple[int, int]) -> NDArray[np.float32]:
        """Patches as training sees them, `byte / 127.5 - 1`: `[requests, channels, h, w]`, float32."""
        height, width = patch_size
        patches = np.empty((len(requests), self.channels, height, width), np.float32)
        for patch, request in zip(patches, requests):
            left = self.width - request.column - width if request.mirrored else request.column
            cut = self.pixels(request.image_index)[request.row : request.row + height, left : left + width]
            patch[:] = (cut[:, ::-1] if request.mirrored else cut).transpose(2, 0, 1)
        patches /= np.float32(127.5)
        patches -= np.float32(1)
        return patches
