"""The batches of a training, step by step, as Patchwork's own has them: one patch size a step, mixed at random."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor
from torch.utils.data import IterableDataset

from ..error import PatchworkError
from .dataset import ShardDataset
from .latents import LatentSet

SCHEDULES = ("stochastic", "progressive")


class Batch(NamedTuple):
    """The patches of a step."""

    images: Tensor
    """`[n, channels, h, w]`, float32."""
    positions: Tensor
    """Coordinates `[n, 2, h, w]`, float32."""
    labels: Tensor
    """Classes `[n]`; -1 for an image without one."""
    step: int
    """The step, from 0."""
    images_seen: int
    """The training clock before the step."""


class TrainingBatches(IterableDataset[Batch]):
    """An endless sequence of batches; a smaller patch size takes a larger batch (Patch Diffusion, arXiv 2304.12526).

    Patch sizes, images, corners and mirroring of each step are those of `patchwork` for the same seed and settings. Give it
    to `DataLoader` with `batch_size=None`, without workers or with one.

    Args:
        data: the set, with its seed; its own patch size is not used.
        batch_size: whole images a step; patches of R/2 and R/4 are twice and four times as many.
        full_image_ratio: p, the share of steps with whole images.
        schedule: `stochastic`, or `progressive`: patch sizes from small to large, each for its share of the duration.
        duration_images: of the training, for `progressive`.
        rank: which of several processes this one is; it takes its part of every batch.
        ranks: how many processes there are.

    Raises:
        PatchworkError: for a setting that is out of its range, or a resolution that cannot be divided.
    """

    def __init__(
        self,
        data: ShardDataset,
        batch_size: int,
        full_image_ratio: float = 0.5,
        *,
        schedule: str = "stochastic",
        duration_images: int | None = None,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.sizes = patch_sizes(data, full_image_ratio)
        if data.seed is None:
            raise PatchworkError("a training needs a seed", "give `seed` to the data set")
        if schedule not in SCHEDULES:
            raise PatchworkError(f"`schedule` is `{schedule}`", f"known are {', '.join(SCHEDULES)}")
        if schedule == "progressive" and not duration_images:
            raise PatchworkError("a progressive schedule needs a duration", "give `duration_images`")
        if batch_size < 1 or not 0 <= rank < ranks:
            raise PatchworkError(f"`batch_size` is {batch_size}, rank {rank} of {ranks}", "use a batch above 0, ranks from 0")
        self.data, self.batch_size, self.schedule, self.duration = data, batch_size, schedule, duration_images
        self.seed, self.rank, self.ranks = data.seed, rank, ranks
        self.patch_size_seed = data.seed.derive("side")

    def __iter__(self) -> Iterator[Batch]:
        mean_multiplier = 0.0
        for _, multiplier, probability in self.sizes:
            mean_multiplier += probability * multiplier
        images_drawn = images_seen = step = 0
        while True:
            is_stochastic = self.schedule == "stochastic"
            uniform = self.patch_size_seed.at(step).stream().uniform()
            size, multiplier = self.size_at(uniform if is_stochastic else images_seen / (self.duration or 1))
            count = self.batch_size * multiplier
            first, last = count * self.rank // self.ranks, count * (self.rank + 1) // self.ranks
            requests = self.data.stream.patches(range(images_drawn + first, images_drawn + last), size)
            yield Batch(*self.data.gather(requests, size), step, images_seen)
            step += 1
            images_drawn += count
            images_seen += int(self.batch_size * (mean_multiplier if is_stochastic else multiplier))

    def size_at(self, place: float) -> tuple[tuple[int, int], int]:
        """Patch size and multiplier of the interval of the cumulated probabilities that holds `place` in [0, 1)."""
        cumulated = 0.0
        chosen = self.sizes[-1][:2]
        for size, multiplier, probability in self.sizes:
            if probability > 0:
                cumulated += probability
                chosen = size, multiplier
                if place < cumulated:
                    break
        return chosen


def patch_sizes(data: ShardDataset, full_image_ratio: float) -> list[tuple[tuple[int, int], int, float]]:
    """Patch sizes from small to large with the multipliers of their batches and their probabilities: R/4, R/2 and R of
    pixels, R/2 and R of latents."""
    if not 0 <= full_image_ratio <= 1:
        raise PatchworkError(f"`full_image_ratio` is {full_image_ratio}", "it is a share from 0 to 1")
    patches = 1 - full_image_ratio
    parts = [(2, patches)] if isinstance(data.set, LatentSet) else [(4, patches * 2 / 5), (2, patches * 3 / 5)]
    resolution = min(data.set.height, data.set.width)
    for divisor, probability in parts:
        if probability > 0 and resolution % divisor:
            raise PatchworkError(f"a resolution of {resolution} is not divisible by {divisor}", "use `full_image_ratio=1`")
    sizes = [((resolution // divisor, resolution // divisor), divisor, probability) for divisor, probability in parts]
    return [*sizes, ((data.set.height, data.set.width), 1, full_image_ratio)]
