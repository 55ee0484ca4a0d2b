"""The KL autoencoder of latent diffusion."""

from .config import AutoencoderConfig
from .file import load_autoencoder
from .model import Autoencoder, Posterior

__all__ = ["Autoencoder", "AutoencoderConfig", "Posterior", "load_autoencoder"]
