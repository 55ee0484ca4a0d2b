"""Patchwork's networks in PyTorch.

`load` opens a `network.safetensors` as a `Denoiser`; `Denoiser(NetworkConfig(...))` makes a new one.
"""

from .checkpoint import load
from .config import NetworkConfig
from .denoiser import Denoiser
from .patches import full_positions, patch_positions

__all__ = ["Denoiser", "NetworkConfig", "full_positions", "load", "patch_positions"]
