"""DDPM++ and NCSN++ (Score-SDE, arXiv 2011.13456), as parametrised by EDM (arXiv 2206.00364, Appendix F)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import NetworkConfig
from .initialization import xavier
from .layers import BlockStyle, Conv2d, FourierEmbedding, PositionalEmbedding, UNetBlock, group_norm
from .levels import plan

EPSILON = 1e-6


class SongUNet(nn.Module):
    """The U-Net of DDPM++ and NCSN++."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        embedding = config.model_channels * 4
        noise = config.model_channels * config.channel_mult_noise
        self.map_noise: nn.Module = (
            PositionalEmbedding(noise, endpoint=True, sine_first=True)
            if config.embedding_type == "positional"
            else FourierEmbedding(noise, sine_first=True)
        )
        self.map_label = nn.Linear(config.label_dim, noise) if config.label_dim else None
        self.map_augment = nn.Linear(config.augment_dim, noise, bias=False) if config.augment_dim else None
        self.map_layer0 = nn.Linear(noise, embedding)
        self.map_layer1 = nn.Linear(embedding, embedding)
        style = BlockStyle(
            embedding_channels=embedding,
            dropout=config.dropout,
            skip_scale=math.sqrt(0.5),
            epsilon=EPSILON,
            adaptive=False,
            resample_projection=True,
            head_channels=None,
            taps=config.resample_filter,
        )
        encoder, decoder = plan(config, config.model_channels, attends_in_every_block=False)
        taps = config.resample_filter
        self.enc = nn.ModuleDict()
        auxiliary = config.in_channels
        for depth, level in enumerate(encoder):
            if depth == 0:
                self.enc[f"{level.prefix}_conv"] = first_convolution(config)
            for planned in level.entrance:
                self.enc[planned.name] = planned.build(style)
                channels = level.entrance_channels
                if config.encoder_type == "skip":
                    self.enc[f"{level.prefix}_aux_down"] = Conv2d(auxiliary, auxiliary, 0, "down", taps)
                    self.enc[f"{level.prefix}_aux_skip"] = Conv2d(auxiliary, channels, 1)
                elif config.encoder_type == "residual":
                    self.enc[f"{level.prefix}_aux_residual"] = Conv2d(auxiliary, channels, 3, "down", taps, fused=True)
                    auxiliary = channels
            for planned in level.blocks:
                self.enc[planned.name] = planned.build(style)
        self.dec = nn.ModuleDict()
        self.joining: set[str] = set()
        for depth, level in enumerate(decoder):
            for planned in [*level.entrance, *level.blocks]:
                self.dec[planned.name] = planned.build(style)
                if planned.joins_skip:
                    self.joining.add(planned.name)
            is_top = depth + 1 == len(decoder)
            if config.decoder_type == "skip" and depth > 0:
                self.dec[f"{level.prefix}_aux_up"] = Conv2d(config.out_channels, config.out_channels, 0, "up", taps)
            if config.decoder_type == "skip" or is_top:
                self.dec[f"{level.prefix}_aux_norm"] = group_norm(level.channels, EPSILON)
                self.dec[f"{level.prefix}_aux_conv"] = Conv2d(level.channels, config.out_channels, 3)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Xavier uniform; the last convolution of each block, `proj` and the output begin near zero, `qkv` small."""
        for name, module in self.named_modules():
            last = name.rsplit(".", 1)[-1]
            if last in ("conv1", "proj") or last.endswith("aux_conv"):
                xavier(module, 1e-5)
            else:
                xavier(module, math.sqrt(0.2) if last == "qkv" else 1.0)

    def forward(self, x: Tensor, noise_labels: Tensor, class_labels: Tensor | None, augment_labels: Tensor | None) -> Tensor:
        """`x` `[n, in, h, w]` to `[n, out, h, w]`; labels `[n]`, `[n, label_dim]`, `[n, augment_dim]`."""
        embedding = self.map_noise(noise_labels)
        if self.map_label is not None and class_labels is not None:
            embedding = embedding + self.map_label(class_labels * math.sqrt(self.config.label_dim))
        if self.map_augment is not None and augment_labels is not None:
            embedding = embedding + self.map_augment(augment_labels)
        embedding = F.silu(self.map_layer1(F.silu(self.map_layer0(embedding))))

        auxiliary = x
        skips: list[Tensor] = []
        for name, module in self.enc.items():
            if name.endswith("aux_down"):
                auxiliary = module(auxiliary)
                continue
            if name.endswith("aux_skip"):
                x = x + module(auxiliary)
                skips.pop()
            elif name.endswith("aux_residual"):
                x = auxiliary = (x + module(auxiliary)) * math.sqrt(0.5)
                skips.pop()
            elif isinstance(module, UNetBlock):
                x = module(x, embedding)
            else:
                x = module(x)
            skips.append(x)

        output: Tensor | None = None
        normed = x
        for name, module in self.dec.items():
            if name.endswith("aux_up"):
                assert output is not None
                output = module(output)
            elif name.endswith("aux_norm"):
                normed = F.silu(module(x))
            elif name.endswith("aux_conv"):
                output = module(normed) if output is None else output + module(normed)
            else:
                x = module(torch.cat([x, skips.pop()], dim=1) if name in self.joining else x, embedding)
        assert output is not None
        return output


def first_convolution(config: NetworkConfig) -> nn.Module:
    """A 3×3 convolution, or a pixel-wise perceptron before one."""
    inputs, outputs = config.in_channels, config.model_channels
    if not config.implicit_mlp:
        return Conv2d(inputs, outputs, 3)
    return nn.Sequential(
        Conv2d(inputs, outputs, 1),
        nn.SiLU(),
        Conv2d(outputs, outputs, 1),
        nn.SiLU(),
        Conv2d(outputs, outputs, 1),
        nn.SiLU(),
        Conv2d(outputs, outputs, 3),
    )
