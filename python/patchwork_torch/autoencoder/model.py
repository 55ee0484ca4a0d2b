"""The KL autoencoder of latent diffusion (arXiv 2112.10752), as diffusers defines its `AutoencoderKL`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..error import PatchworkError
from .blocks import Downsample, Level, Middle, Upsample, norm
from .config import AutoencoderConfig

LOG_VARIANCE = (-30.0, 20.0)
"""Bounds of the log-variance."""


@dataclass(frozen=True)
class Posterior:
    """The normal distribution of an image's latents."""

    mean: Tensor
    """`[n, latent_channels, h, w]`; also the distribution's mode."""
    log_variance: Tensor
    """Natural logarithm of the variance, the same shape, within [-30, 20]."""

    def sample(self, noise: Tensor | None = None) -> Tensor:
        """A draw; `noise` is standard normal, drawn from PyTorch's generator where it is not given."""
        if noise is None:
            noise = torch.randn_like(self.mean)
        return self.mean + (self.log_variance / 2).exp() * noise


class Encoder(nn.Module):
    """From pixels to the moments of latents."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        channels = config.block_out_channels
        self.conv_in = nn.Conv2d(config.in_channels, channels[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        inputs = channels[0]
        for level, outputs in enumerate(channels):
            down = Downsample(outputs) if level + 1 < config.levels else None
            self.down_blocks.append(Level(inputs, outputs, config.layers_per_block, down, "downsamplers", config))
            inputs = outputs
        self.mid_block = Middle(inputs, config)
        self.conv_norm_out = norm(inputs, config)
        self.conv_out = nn.Conv2d(inputs, 2 * config.latent_channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """`[n, in_channels, h, w]` to `[n, 2 latent_channels, h / factor, w / factor]`."""
        x = self.conv_in(images)
        for level in self.down_blocks:
            x = level(x)
        output: Tensor = self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))
        return output


class Decoder(nn.Module):
    """From latents to pixels."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        channels = config.block_out_channels[::-1]
        self.conv_in = nn.Conv2d(config.latent_channels, channels[0], 3, padding=1)
        self.up_blocks = nn.ModuleList()
        inputs = channels[0]
        for level, outputs in enumerate(channels):
            up = Upsample(outputs) if level + 1 < config.levels else None
            self.up_blocks.append(Level(inputs, outputs, config.layers_per_block + 1, up, "upsamplers", config))
            inputs = outputs
        self.mid_block = Middle(channels[0], config)
        self.conv_norm_out = norm(inputs, config)
        self.conv_out = nn.Conv2d(inputs, config.out_channels, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """`[n, latent_channels, h, w]` to `[n, out_channels, h factor, w factor]`."""
        x = self.mid_block(self.conv_in(latents))
        for level in self.up_blocks:
            x = level(x)
        output: Tensor = self.conv_out(F.silu(self.conv_norm_out(x)))
        return output


class Autoencoder(nn.Module):
    """A KL autoencoder. Latents are raw here; `Denoiser.latents` scales them for a diffusion model."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        latents = config.latent_channels
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant_conv = nn.Conv2d(2 * latents, 2 * latents, 1) if config.use_quant_conv else None
        self.post_quant_conv = nn.Conv2d(latents, latents, 1) if config.use_post_quant_conv else None

    def encode(self, images: Tensor) -> Posterior:
        """The distribution of the latents of images.

        Args:
            images: `[n, in_channels, h, w]`, float32, sides multiples of `config.factor`; Stable Diffusion's are of
                pixels `byte / 127.5 - 1`.

        Raises:
            PatchworkError: for a side that is not a multiple, of which the network would drop the last rows.
        """
        height, width, factor = *images.shape[-2:], self.config.factor
        if height < factor or width < factor or height % factor or width % factor:
            raise PatchworkError(
                f"images of {width} x {height} pixels cannot be encoded: the sides have to be multiples of {factor}",
                "crop or resize them",
            )
        moments = self.encoder(images)
        if self.quant_conv is not None:
            moments = self.quant_conv(moments)
        mean, log_variance = moments.chunk(2, dim=1)
        return Posterior(mean, log_variance.clamp(*LOG_VARIANCE))

    def decode(self, latents: Tensor) -> Tensor:
        """The images of raw latents `[n, latent_channels, h, w]`, not clipped: `[n, out_channels, h factor, w factor]`."""
        if self.post_quant_conv is not None:
            latents = self.post_quant_conv(latents)
        images: Tensor = self.decoder(latents)
        return images

    def forward(self, images: Tensor) -> Tensor:
        """Images encoded and decoded again, by the means of their latents."""
        return self.decode(self.encode(images).mean)
