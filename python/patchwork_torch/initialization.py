"""First values of weights and biases."""

from __future__ import annotations

import math

from torch import Tensor, nn

from .layers import Conv2d


def xavier(module: nn.Module, factor: float) -> None:
    """Xavier uniform times a factor; biases of zero. Leaves modules alone that are neither linear nor a convolution."""
    weight = weight_of(module)
    if weight is not None:
        fan_in, fan_out = fans(weight)
        bound = factor * math.sqrt(6 / (fan_in + fan_out))
        weight.uniform_(-bound, bound)
        if isinstance(module.bias, Tensor):
            module.bias.zero_()


def kaiming(module: nn.Module, factor: float, bias_factor: float) -> None:
    """Kaiming uniform with gain 1, times a factor, for weight and bias."""
    weight = weight_of(module)
    if weight is not None:
        fan_in, _ = fans(weight)
        bound = math.sqrt(3 / fan_in)
        weight.uniform_(-bound * factor, bound * factor)
        if isinstance(module.bias, Tensor):
            module.bias.uniform_(-bound * bias_factor, bound * bias_factor)


def weight_of(module: nn.Module) -> Tensor | None:
    """The weight of a linear layer or a convolution."""
    if isinstance(module, (nn.Linear, Conv2d)) and isinstance(module.weight, Tensor):
        return module.weight
    return None


def fans(weight: Tensor) -> tuple[int, int]:
    """Numbers that an output adds up, and that an input goes to."""
    area = weight[0, 0].numel()
    return weight.shape[1] * area, weight.shape[0] * area
