"""A prepared data set as PyTorch's `Dataset`: patches with their coordinates, in Patchwork's order."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..patches import patch_positions
from .latents import LatentSet
from .mapped import INDEX_FILE, LATENTS
from .seed import Seed
from .shards import ShardSet
from .stream import PatchStream, Request


class Patch(NamedTuple):
    """A patch; `DataLoader` makes batches of them."""

    image: Tensor
    """`[channels, h, w]`, float32: pixels `byte / 127.5 - 1`, or scaled latents."""
    positions: Tensor
    """Coordinates `[2, h, w]`, float32."""
    label: int
    """The class; -1 for an image without one."""
    image_index: int
    """The image in the set."""


class ShardDataset(Dataset[Patch]):
    """Patches of a set of pixels (`patchwork.shards/1`) or of latents (`patchwork.latents/1`), straight from the mapped files.

    Item k is a function of the seed and k alone: image, corner, mirroring and noise are those that Patchwork's training has
    at position k (`TrainingBatches` has its steps). Read them in order, without shuffling: the order is a permutation
    already, another one each epoch (`set_epoch`). With `seed=None` item k is image k.

    Args:
        folder: the set.
        patch_size: side of the patches, or height and width; the whole image if left out.
        seed: of order, corners, mirroring and noise: a number as in a pipeline file, or a derived `Seed`.
        mirror_probability: how often images are mirrored; not for latents.
        scaling: of latents: `sd`, `per-channel` or `edm2`.
        sigma_data: standard deviation of scaled latents (`per-channel`, `edm2`).

    Raises:
        PatchworkError: no set of ours, a damaged one, or a setting that does not belong to it.
    """

    def __init__(
        self,
        folder: str | Path,
        patch_size: int | tuple[int, int] | None = None,
        *,
        seed: int | Seed | None = 0,
        mirror_probability: float = 0.0,
        scaling: str = "sd",
        sigma_data: float = 0.5,
    ) -> None:
        self.set = open_set(folder)
        whole = (self.set.height, self.set.width)
        self.patch_size = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size or whole
        self.seed = training_seed(seed) if isinstance(seed, int) else seed
        self.scaling = self.set.scaling(scaling, sigma_data) if isinstance(self.set, LatentSet) else None
        self.epoch = 0
        root = self.seed or Seed(0)
        self.noise = root.derive("latents")
        self.stream = PatchStream(len(self.set), *whole, root, mirror_probability)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose positions the items are, from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Patches of an epoch: the images of the set."""
        return len(self.set)

    def __getitem__(self, item: int) -> Patch:
        return self.__getitems__([item])[0]

    def __getitems__(self, items: list[int]) -> list[Patch]:
        """Several items at once, by which `DataLoader` makes a batch."""
        requests = []
        for item in items:
            if not 0 <= item < len(self):
                raise IndexError(f"item {item} of an epoch of {len(self)}")
            request = self.stream.patch(self.epoch * len(self) + item, self.patch_size)
            requests.append(request if self.seed is not None else request._replace(image_index=item))
        images, positions, labels = self.gather(requests)
        return [
            Patch(image, position, label, request.image_index)
            for image, position, label, request in zip(images, positions, labels.tolist(), requests)
        ]

    def gather(self, requests: list[Request], patch_size: tuple[int, int] | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """A batch of patches: images `[n, channels, h, w]`, coordinates `[n, 2, h, w]`, labels `[n]`."""
        size = patch_size or self.patch_size
        if isinstance(self.set, LatentSet):
            assert self.scaling is not None
            images = self.set.gather(requests, size, self.scaling, self.noise)
        else:
            images = self.set.gather(requests, size)
        rows = torch.tensor([request.row for request in requests])
        columns = torch.tensor([request.column for request in requests])
        positions = patch_positions(rows, columns, size, self.set.height, self.set.width)
        labels = torch.from_numpy(self.set.labels[[request.image_index for request in requests]])
        return torch.from_numpy(images), positions, labels


def open_set(folder: str | Path) -> ShardSet | LatentSet:
    """A set of pixels or of latents, whichever lies there."""
    try:
        metadata = pq.read_metadata(Path(folder) / INDEX_FILE).metadata or {}
    except (OSError, ValueError):
        metadata = {}  # `ShardSet` says what is wrong.
    return LatentSet(folder) if metadata.get(b"format") == LATENTS.encode() else ShardSet(folder)


def training_seed(seed: int) -> Seed:
    """The seed of a training, from the `seed` of its pipeline file."""
    return Seed(seed).derive("train")
