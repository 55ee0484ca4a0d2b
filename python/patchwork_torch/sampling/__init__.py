"""Samplers: from seeds to images, the same as Patchwork's."""

from .classes import balanced_labels, dataset_labels
from .images import generate, to_pixels
from .noise import RecordedNoise, seeded_draws, seeded_latents
from .options import SamplerOptions
from .solvers import Noise, noise_levels, sample

__all__ = [
    "Noise",
    "RecordedNoise",
    "SamplerOptions",
    "balanced_labels",
    "dataset_labels",
    "generate",
    "noise_levels",
    "sample",
    "seeded_draws",
    "seeded_latents",
    "to_pixels",
]
