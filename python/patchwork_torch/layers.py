"""Convolutions with resampling, group normalisation, noise embeddings and the U-Net block."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Conv2d(nn.Module):
    """A convolution that keeps the size, with optional resampling by two before it.

    Args:
        kernel: side of the kernel; 0 = resampling only, without a weight.
        direction: "up", "down" or None.
        taps: the one-dimensional resampling filter.
        fused: down only: convolves first, over a wider border, then filters without padding.
    """

    resample_filter: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        direction: str | None = None,
        taps: tuple[int, ...] = (1, 1),
        fused: bool = False,
    ) -> None:
        super().__init__()
        self.padding = kernel // 2
        self.direction = direction
        self.fused = fused
        self.is_box = tuple(taps) == (1, 1)
        self.filter_padding = (len(taps) - 1) // 2
        if kernel > 0:
            self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
            self.bias = nn.Parameter(torch.zeros(outputs))
        else:
            self.register_parameter("weight", None)
            self.register_parameter("bias", None)
        if direction is not None:
            line = torch.tensor(taps, dtype=torch.float32)
            self.register_buffer("resample_filter", (line.outer(line) / line.sum() ** 2)[None, None])

    def forward(self, x: Tensor) -> Tensor:
        """`[n, inputs, h, w]` to `[n, outputs, h', w']`."""
        if self.weight is None:
            return self._resample(x, self.filter_padding)
        if self.fused:
            wide = self.padding + self.filter_padding
            return self._resample(F.conv2d(x, self.weight, self.bias, padding=wide), 0)
        return F.conv2d(self._resample(x, self.filter_padding), self.weight, self.bias, padding=self.padding)

    def _resample(self, x: Tensor, padding: int) -> Tensor:
        if self.direction is None:
            return x
        if self.is_box:
            return F.avg_pool2d(x, 2) if self.direction == "down" else F.interpolate(x, scale_factor=2)
        channels = x.shape[1]
        weight = self.resample_filter.to(x.dtype).expand(channels, 1, -1, -1)
        if self.direction == "down":
            return F.conv2d(x, weight, stride=2, padding=padding, groups=channels)
        return F.conv_transpose2d(x, weight * 4, stride=2, padding=padding, groups=channels)


def group_norm(channels: int, epsilon: float) -> nn.GroupNorm:
    """Group normalisation over min(32, channels / 4) groups."""
    return nn.GroupNorm(min(32, channels // 4), channels, eps=epsilon)


class PositionalEmbedding(nn.Module):
    """Sines and cosines of the noise label at geometric frequencies.

    Args:
        endpoint: whether the last frequency is 1 / 10000 itself.
        sine_first: whether the sines come before the cosines.
    """

    def __init__(self, channels: int, endpoint: bool, sine_first: bool) -> None:
        super().__init__()
        self.channels, self.endpoint, self.sine_first = channels, endpoint, sine_first

    def forward(self, label: Tensor) -> Tensor:
        """`[n]` to `[n, channels]`."""
        half = self.channels // 2
        exponents = torch.arange(half, dtype=torch.float32, device=label.device) / (half - int(self.endpoint))
        return halves(label.outer((1 / 10000) ** exponents), self.sine_first)


class FourierEmbedding(nn.Module):
    """Sines and cosines at frequencies that are drawn once, N(0, 16²), and stored."""

    freqs: Tensor

    def __init__(self, channels: int, sine_first: bool) -> None:
        super().__init__()
        self.sine_first = sine_first
        self.register_buffer("freqs", torch.randn(channels // 2) * 16)

    def forward(self, label: Tensor) -> Tensor:
        """`[n]` to `[n, channels]`."""
        return halves(label.outer(self.freqs * (2 * math.pi)), self.sine_first)


def halves(angles: Tensor, sine_first: bool) -> Tensor:
    """Sines and cosines side by side."""
    parts = [angles.sin(), angles.cos()]
    return torch.cat(parts if sine_first else parts[::-1], dim=1)


@dataclass(frozen=True)
class BlockStyle:
    """What all blocks of a network have in common."""

    embedding_channels: int
    dropout: float
    skip_scale: float
    epsilon: float
    adaptive: bool
    """Whether the embedding scales and shifts (ADM) or is added (DDPM++, NCSN++)."""
    resample_projection: bool
    """Whether a block that resamples has a weight on its skip."""
    head_channels: int | None
    """Channels of an attention head; None = one head."""
    taps: tuple[int, ...]


class UNetBlock(nn.Module):
    """A residual block with optional resampling and self-attention."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        style: BlockStyle,
        direction: str | None = None,
        attention: bool = False,
    ) -> None:
        super().__init__()
        self.style = style
        self.norm0 = group_norm(inputs, style.epsilon)
        self.conv0 = Conv2d(inputs, outputs, 3, direction, style.taps)
        self.affine = nn.Linear(style.embedding_channels, outputs * (2 if style.adaptive else 1))
        self.norm1 = group_norm(outputs, style.epsilon)
        self.conv1 = Conv2d(outputs, outputs, 3)
        self.skip: Conv2d | None = None
        if outputs != inputs or direction is not None:
            has_weight = outputs != inputs or style.resample_projection
            self.skip = Conv2d(inputs, outputs, 1 if has_weight else 0, direction, style.taps)
        self.heads = 0
        if attention:
            self.heads = outputs // style.head_channels if style.head_channels else 1
            self.norm2 = group_norm(outputs, style.epsilon)
            self.qkv = Conv2d(outputs, outputs * 3, 1)
            self.proj = Conv2d(outputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """`[n, inputs, h, w]` and `[n, embedding]` to `[n, outputs, h', w']`."""
        hidden = self.conv0(F.silu(self.norm0(x)))
        modulation = self.affine(embedding)[:, :, None, None].to(hidden.dtype)
        if self.style.adaptive:
            scale, shift = modulation.chunk(2, dim=1)
            hidden = F.silu(torch.addcmul(shift, self.norm1(hidden), scale + 1))
        else:
            hidden = F.silu(self.norm1(hidden + modulation))
        hidden = self.conv1(F.dropout(hidden, self.style.dropout, self.training))
        x = (hidden + (x if self.skip is None else self.skip(x))) * self.style.skip_scale
        if self.heads:
            x = (self.proj(self._attend(x)) + x) * self.style.skip_scale
        return x

    def _attend(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        qkv = self.qkv(self.norm2(x)).reshape(n, self.heads, channels // self.heads, 3, height * width)
        query, key, value = qkv.permute(3, 0, 1, 4, 2).unbind(0)  # [n, heads, pixels, width] each
        attended = F.scaled_dot_product_attention(query, key, value)
        return attended.transpose(2, 3).reshape(n, channels, height, width)
