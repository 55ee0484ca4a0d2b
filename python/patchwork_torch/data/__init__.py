"""Prepared data sets, patches out of them, and the order in which training sees these."""

from .dataset import Patch, ShardDataset
from .latents import LatentSet, Scaling
from .seed import Seed
from .shards import ShardSet
from .stream import PatchStream, Request
from .training import Batch, TrainingBatches

__all__ = [
    "Batch",
    "LatentSet",
    "Patch",
    "PatchStream",
    "Request",
    "Scaling",
    "Seed",
    "ShardDataset",
    "ShardSet",
    "TrainingBatches",
]
