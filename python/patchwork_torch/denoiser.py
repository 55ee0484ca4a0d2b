"""A network under EDM's preconditioning (arXiv 2206.00364, Table 1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import NetworkConfig
from .dhariwal import DhariwalUNet
from .song import SongUNet


class Denoiser(nn.Module):
    """`D(x; σ) = c_skip x + c_out F(c_in x, positions; c_noise)`.

    The coordinates are joined after the scaling by `c_in`, so that they are neither scaled, noised nor predicted (Patch
    Diffusion, arXiv 2304.12526, section 3.1).
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.model: nn.Module = DhariwalUNet(config) if config.arch == "adm" else SongUNet(config)

    def forward(
        self,
        x: Tensor,
        sigma: Tensor,
        class_labels: Tensor | None = None,
        augment_labels: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Denoised images, float32.

        Args:
            x: noisy images or patches `[n, channels, h, w]`.
            sigma: noise levels `[n]` or one for all.
            class_labels: one-hot `[n, label_dim]`; None = no class.
            augment_labels: `[n, augment_dim]`; None = no augmentation.
            positions: coordinates `[n or 1, 2, h, w]`, for a network that has them.
        """
        x = x.to(torch.float32)
        images = x.shape[0]
        sigma = sigma.to(torch.float32).expand(images).reshape(-1, 1, 1, 1)
        data = self.config.sigma_data
        variance = sigma**2 + data**2
        c_skip, c_out, c_in = data**2 / variance, sigma * data / variance.sqrt(), variance.rsqrt()
        inputs = c_in * x
        if self.config.position_channels:
            if positions is None:
                raise ValueError("this network reads coordinates: give `positions` (see `full_positions`)")
            inputs = torch.cat([inputs, positions.to(inputs).expand(images, -1, -1, -1)], dim=1)
        if self.config.label_dim and class_labels is None:
            class_labels = inputs.new_zeros(images, self.config.label_dim)
        raw = self.model(inputs, sigma.flatten().log() / 4, class_labels, augment_labels)
        denoised: Tensor = c_skip * x + c_out * raw.to(torch.float32)
        return denoised
