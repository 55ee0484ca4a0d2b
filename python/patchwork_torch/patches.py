"""Coordinates of patches (Patch Diffusion, arXiv 2304.12526, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor


def patch_positions(rows: Tensor, cols: Tensor, patch_size: int, height: int, width: int) -> Tensor:
    """Coordinates of square patches with top-left corners `rows`, `cols` `[n]` in an image: `[n, 2, size, size]`, x then y.

    The corners of the whole image are exactly -1 and 1.
    """

    def axis(starts: Tensor, length: int) -> Tensor:
        places = starts.to(torch.float64)[:, None] + torch.arange(patch_size, device=starts.device)
        return ((places / max(length - 1, 1) - 0.5) * 2).to(torch.float32)

    shape = (rows.shape[0], patch_size, patch_size)
    x = axis(cols, width)[:, None, :].expand(shape)
    y = axis(rows, height)[:, :, None].expand(shape)
    return torch.stack([x, y], dim=1)


def full_positions(height: int, width: int, device: torch.device | str | None = None) -> Tensor:
    """Coordinates of a whole image, `[1, 2, height, width]`."""
    x = torch.linspace(-1, 1, width, device=device).expand(height, width)
    y = torch.linspace(-1, 1, height, device=device)[:, None].expand(height, width)
    return torch.stack([x, y])[None]
