"""Which class the image of a seed has, as a sample stage chooses it: a function of the seed alone."""

from __future__ import annotations

from collections.abc import Sequence

from ..data.seed import Seed


def balanced_labels(seeds: Sequence[int], classes: int) -> list[int]:
    """All classes in turn: `labels = "balanced"` of a sample stage."""
    return [seed % classes for seed in seeds]


def dataset_labels(seeds: Sequence[int], counts: Sequence[int]) -> list[int]:
    """Classes as often as a data set has them, from its number of images of each class: `labels = "dataset"`."""

    def label(seed: int) -> int:
        rest = Seed(seed).derive("class").stream().below(sum(counts))
        for number, count in enumerate(counts):
            if rest < count:
                return number
            rest -= count
        raise AssertionError("a number below the sum of all counts falls to one of them")

    return [label(seed) for seed in seeds]
