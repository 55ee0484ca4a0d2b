"""ADM (arXiv 2105.05233), as parametrised by EDM (arXiv 2206.00364, Appendix F)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import NetworkConfig
from .initialization import kaiming
from .layers import BlockStyle, Conv2d, PositionalEmbedding, UNetBlock, group_norm
from .levels import plan

EPSILON = 1e-5
HEAD_CHANNELS = 64


class DhariwalUNet(nn.Module):
    """The U-Net of ADM."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        noise, embedding = config.model_channels, config.model_channels * 4
        self.map_noise = PositionalEmbedding(noise, endpoint=False, sine_first=False)
        self.map_augment = nn.Linear(config.augment_dim, noise, bias=False) if config.augment_dim else None
        self.map_layer0 = nn.Linear(noise, embedding)
        self.map_layer1 = nn.Linear(embedding, embedding)
        self.map_label = nn.Linear(config.label_dim, embedding, bias=False) if config.label_dim else None
        style = BlockStyle(
            embedding_channels=embedding,
            dropout=config.dropout,
            skip_scale=1.0,
            epsilon=EPSILON,
            adaptive=True,
            resample_projection=False,
            head_channels=HEAD_CHANNELS,
            taps=config.resample_filter,
        )
        first = config.level_channels(0)
        encoder, decoder = plan(config, first, attends_in_every_block=True)
        self.enc = nn.ModuleDict()
        side = config.img_resolution
        self.enc[f"{side}x{side}_conv"] = Conv2d(config.in_channels, first, 3)
        for level in encoder:
            for planned in [*level.entrance, *level.blocks]:
                self.enc[planned.name] = planned.build(style)
        self.dec = nn.ModuleDict()
        self.joining: set[str] = set()
        for level in decoder:
            for planned in [*level.entrance, *level.blocks]:
                self.dec[planned.name] = planned.build(style)
                if planned.joins_skip:
                    self.joining.add(planned.name)
        self.out_norm = group_norm(first, EPSILON)
        self.out_conv = Conv2d(first, config.out_channels, 3)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Kaiming uniform; the last convolution of each block, `proj`, the output and `map_augment` begin at zero."""
        third = math.sqrt(1 / 3)
        for name, module in self.named_modules():
            if name.rsplit(".", 1)[-1] in ("conv1", "proj", "out_conv", "map_augment"):
                kaiming(module, 0.0, 0.0)
            elif name != "map_label":
                kaiming(module, third, third)
        if self.map_label is not None:
            # Kaiming normal × sqrt(label_dim): the fan-in is label_dim.
            self.map_label.weight.normal_()

    def forward(self, x: Tensor, noise_labels: Tensor, class_labels: Tensor | None, augment_labels: Tensor | None) -> Tensor:
        """`x` `[n, in, h, w]` to `[n, out, h, w]`; labels `[n]`, `[n, label_dim]`, `[n, augment_dim]`."""
        embedding = self.map_noise(noise_labels)
        if self.map_augment is not None and augment_labels is not None:
            embedding = embedding + self.map_augment(augment_labels)
        embedding = self.map_layer1(F.silu(self.map_layer0(embedding)))
        if self.map_label is not None and class_labels is not None:
            embedding = embedding + self.map_label(class_labels)
        embedding = F.silu(embedding)

        skips: list[Tensor] = []
        for module in self.enc.values():
            x = module(x, embedding) if isinstance(module, UNetBlock) else module(x)
            skips.append(x)
        for name, module in self.dec.items():
            x = module(torch.cat([x, skips.pop()], dim=1) if name in self.joining else x, embedding)
        output: Tensor = self.out_conv(F.silu(self.out_norm(x)))
        return output
