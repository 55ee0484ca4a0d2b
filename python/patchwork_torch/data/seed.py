"""Randomness as a function of (seed, purpose, position): whoever needs numbers derives a seed for them."""

from __future__ import annotations

from dataclasses import dataclass

from blake3 import blake3

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Seed:
    """A 64-bit seed from which others are derived."""

    value: int

    def derive(self, purpose: str) -> Seed:
        """The seed for a named purpose, such as `"patches"`."""
        return self._keyed(purpose.encode())

    def at(self, position: int) -> Seed:
        """The seed for a position in a sequence, such as a training step."""
        return self._keyed(position.to_bytes(8, "little"))

    def stream(self) -> RandomStream:
        """A stream of random numbers from this seed."""
        return RandomStream(self.value)

    def _keyed(self, key: bytes) -> Seed:
        message = self.value.to_bytes(8, "little") + len(key).to_bytes(8, "little") + key
        return Seed(int.from_bytes(blake3(message).digest(length=8), "little"))


class RandomStream:
    """A short stream of random numbers (SplitMix64: Steele, Lea, Flood 2014)."""

    def __init__(self, state: int) -> None:
        self.state = state

    def next(self) -> int:
        """The next 64 random bits."""
        self.state = (self.state + GOLDEN) & MASK
        return mix(self.state)

    def uniform(self) -> float:
        """A number uniform on [0, 1), with 53 random bits."""
        return float(self.next() >> 11) * 2.0**-53

    def below(self, bound: int) -> int:
        """An integer uniform on `0 ... bound - 1`, without bias (Lemire 2019)."""
        if bound < 1:
            raise ValueError("no integer lies below 0")
        threshold = (-bound & MASK) % bound
        while True:
            product = self.next() * bound
            if product & MASK >= threshold:
                return product >> 64


def mix(z: int) -> int:
    """The finaliser of SplitMix64."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)
