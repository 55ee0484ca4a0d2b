"""Coordinates of patches (Patch Diffusion, arXiv 2304.12526, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor


def patch_positions(rows: Tensor, cols: Tensor, patch_size: int | tuple[int, int], height: int, width: int) -> Tensor:
    """Coordinates of patches with top-left corners `rows`, `cols` `[n]` in an image: `[n, 2, h, w]`, x then y.

    The corners of the whole image are exactly -1 and 1. `patch_size` is the side of a square, or height and width.
    """
    patch_height, patch_width = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size

    def axis(starts: Tensor, patch: int, length: int) -> Tensor:
        places = starts.to(torch.float64)[:, None] + torch.arange(patch, device=starts.device)
        return ((places / max(length - 1, 1) - 0.5) * 2).to(torch.float32)

    shape = (rows.shape[0], patch_height, patch_width)
    x = axis(cols, patch_width, width)[:, None, :].expand(shape)
    y = axis(rows, patch_height, height)[:, :, None].expand(shape)
    return torch.stack([x, y], dim=1)


def full_positions(height: int, width: int, device: torch.device | str | None = None) -> Tensor:
    """Coordinates of a whole image, `[1, 2, height, width]`."""
    corner = torch.zeros(1, device=device)
    return patch_positions(corner, corner, (height, width), height, width)
