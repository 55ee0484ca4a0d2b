"""The order in which training sees the images: a seeded permutation computed by position, another one each epoch."""

from __future__ import annotations

from functools import lru_cache

from .seed import Seed, mix

ROUNDS = 8


class Order:
    """An endless sequence of image indices in which each epoch visits each image once.

    A Feistel network permutes the smallest block of an even number of bits that holds the number of images; a value
    outside of it is permuted again (cycle walking, Black and Rogaway 2002).
    """

    def __init__(self, images: int, seed: Seed) -> None:
        if not 1 <= images <= 1 << 62:
            raise ValueError(f"an order needs between 1 and 2^62 images, not {images}")
        self.images, self.seed = images, seed.derive("order")
        bits = (images - 1).bit_length()
        self.half_bits = max(1, (bits + 1) // 2)

    def __getitem__(self, position: int) -> int:
        """The image at a position, from 0."""
        epoch, value = divmod(position, self.images)
        keys = epoch_keys(self.seed, epoch)
        mask = (1 << self.half_bits) - 1
        while True:
            left, right = value >> self.half_bits, value & mask
            for key in keys:
                left, right = right, left ^ (mix(right ^ key) & mask)
            value = left << self.half_bits | right
            if value < self.images:
                return value


@lru_cache(maxsize=64)
def epoch_keys(seed: Seed, epoch: int) -> tuple[int, ...]:
    """The keys of the network's rounds."""
    stream = seed.at(epoch).stream()
    return tuple(stream.next() for _ in range(ROUNDS))
