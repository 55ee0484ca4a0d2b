"""Patchwork in PyTorch: its networks, samplers, data sets and registry.

- `load`, `load_network`, `load_autoencoder`: files to modules; `Denoiser(NetworkConfig(...))` makes a new network.
- `generate`: the images of seeds.
- `ShardDataset`, `TrainingBatches`: patches with their coordinates, in Patchwork's order.
- `read_registry`: runs, scores and metrics as data frames.
"""

from .autoencoder import Autoencoder, AutoencoderConfig, load_autoencoder
from .checkpoint import load, load_network
from .config import NetworkConfig
from .data import LatentSet, ShardDataset, ShardSet, TrainingBatches
from .denoiser import Denoiser
from .error import PatchworkError
from .latents import LatentConfig
from .patches import full_positions, patch_positions
from .registry import Registry, read_registry
from .sampling import SamplerOptions, generate, to_pixels

__all__ = [
    "Autoencoder",
    "AutoencoderConfig",
    "Denoiser",
    "LatentConfig",
    "LatentSet",
    "NetworkConfig",
    "PatchworkError",
    "Registry",
    "SamplerOptions",
    "ShardDataset",
    "ShardSet",
    "TrainingBatches",
    "full_positions",
    "generate",
    "load",
    "load_autoencoder",
    "load_network",
    "patch_positions",
    "read_registry",
    "to_pixels",
]
