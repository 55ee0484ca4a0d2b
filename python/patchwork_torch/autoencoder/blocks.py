"""The blocks that encoder and decoder are made of, under the parameter names of diffusers."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .config import AutoencoderConfig

EPSILON = 1e-6


def norm(channels: int, config: AutoencoderConfig) -> nn.GroupNorm:
    """Group normalisation."""
    return nn.GroupNorm(config.norm_num_groups, channels, eps=EPSILON)


class Residual(nn.Module):
    """Two convolutions beside a shortcut, which is a 1×1 convolution where the number of channels changes."""

    def __init__(self, inputs: int, outputs: int, config: AutoencoderConfig) -> None:
        super().__init__()
        self.norm1 = norm(inputs, config)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = norm(outputs, config)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """`[n, inputs, h, w]` to `[n, outputs, h, w]`."""
        hidden = self.conv1(F.silu(self.norm1(x)))
        hidden = self.conv2(F.silu(self.norm2(hidden)))
        output: Tensor = (x if self.conv_shortcut is None else self.conv_shortcut(x)) + hidden
        return output


class Attention(nn.Module):
    """Self-attention of one head over all pixels, added to its input."""

    def __init__(self, channels: int, config: AutoencoderConfig) -> None:
        super().__init__()
        self.group_norm = norm(channels, config)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)[:, None]  # [n, 1 head, pixels, channels]
        attended = F.scaled_dot_product_attention(self.to_q(tokens), self.to_k(tokens), self.to_v(tokens))
        output: Tensor = x + self.to_out[0](attended).transpose(2, 3).reshape(x.shape)
        return output


class Middle(nn.Module):
    """The lowest level: residual block, attention, residual block."""

    def __init__(self, channels: int, config: AutoencoderConfig) -> None:
        super().__init__()
        # In the order in which diffusers registers them.
        self.attentions = nn.ModuleList([Attention(channels, config)] if config.mid_block_add_attention else [])
        self.resnets = nn.ModuleList([Residual(channels, channels, config) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        x = self.resnets[0](x)
        for attention in self.attentions:
            x = attention(x)
        output: Tensor = self.resnets[1](x)
        return output


class Downsample(nn.Module):
    """Halves the size: zeros at the right and the bottom alone, then a 3×3 convolution of stride 2 without padding."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, c, h, w]` to `[n, c, h / 2, w / 2]`."""
        output: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return output


class Upsample(nn.Module):
    """Doubles the size by repeating pixels, then a 3×3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, c, h, w]` to `[n, c, 2 h, 2 w]`."""
        output: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return output


class Level(nn.Module):
    """Residual blocks of one resolution, of which the first changes the number of channels, then the way to the next one."""

    def __init__(
        self, inputs: int, outputs: int, blocks: int, resampling: nn.Module | None, name: str, config: AutoencoderConfig
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([Residual(inputs if block == 0 else outputs, outputs, config) for block in range(blocks)])
        # `downsamplers` or `upsamplers`.
        self.resampling_name = name
        self.add_module(name, nn.ModuleList([] if resampling is None else [resampling]))

    def forward(self, x: Tensor) -> Tensor:
        """`[n, inputs, h, w]` to `[n, outputs, h', w']`."""
        for block in self.resnets:
            x = block(x)
        resampling = self.get_submodule(self.resampling_name)
        assert isinstance(resampling, nn.ModuleList)
        for module in resampling:
            x = module(x)
        return x
