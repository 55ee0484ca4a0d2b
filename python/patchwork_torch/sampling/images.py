"""The images of some seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..autoencoder import Autoencoder
from ..denoiser import Denoiser
from ..error import PatchworkError
from ..patches import patch_positions
from .noise import seeded_draws
from .options import SamplerOptions
from .solvers import noise_levels, sample

AT_ONCE = 8
"""Images that an autoencoder decodes at once."""


@torch.no_grad()
def generate(
    denoiser: Denoiser,
    seeds: Sequence[int],
    options: SamplerOptions | None = None,
    *,
    labels: Sequence[int] | None = None,
    region: tuple[int, int, int] | None = None,
    autoencoder: Autoencoder | None = None,
    batch_size: int = 64,
) -> Tensor:
    """The images of some seeds: those that `patchwork sample` writes, but for rounding.

    Runs where the network is. Under `torch.autocast` the network computes in that precision, and the sampler in float64.

    Args:
        denoiser: a network in evaluation mode.
        seeds: one a image.
        options: the sampler; 18 steps of Heun's method if left out.
        labels: a class for each seed, for a network that has classes (see `balanced_labels`); none if left out.
        region: row, column and side of a square of the canvas, for a network with coordinates; all of it if left out.
        autoencoder: what decodes the samples of a network that was trained on latents.
        batch_size: images at once.

    Returns:
        `[seeds, channels, height, width]`, uint8, on the CPU.

    Raises:
        PatchworkError: arguments that the network does not go with; an image with a value that is not finite.
    """
    images = [
        to_pixels(batch if denoiser.config.latents is None else decode(batch, denoiser, autoencoder))
        for batch in samples(denoiser, seeds, options or SamplerOptions(), labels, region, autoencoder, batch_size)
    ]
    return torch.cat(images).cpu()


def samples(
    denoiser: Denoiser,
    seeds: Sequence[int],
    options: SamplerOptions,
    labels: Sequence[int] | None,
    region: tuple[int, int, int] | None,
    autoencoder: Autoencoder | None,
    batch_size: int,
) -> Iterator[Tensor]:
    """Batches of samples in the network's own units, float64."""
    check(denoiser, seeds, options, labels, region, autoencoder, batch_size)
    config = denoiser.config
    device = next(denoiser.parameters()).device
    row, column, height, width = (0, 0, config.height, config.width) if region is None else (*region[:2], region[2], region[2])
    positions = None
    if config.position_channels:
        corner = torch.tensor([row, column], device=device)
        positions = patch_positions(corner[:1], corner[1:], (height, width), config.height, config.width)
    noisy_steps = [options.gamma(level) > 0 for level in noise_levels(options)[:-1]]
    for first in range(0, len(seeds), batch_size):
        batch = list(seeds[first : first + batch_size])
        latents, noise = seeded_draws(batch, config.img_channels, height, width, noisy_steps)
        classes = None
        if labels is not None:
            classes = F.one_hot(torch.tensor(labels[first : first + batch_size]), config.label_dim).float().to(device)

        def denoise(x: Tensor, sigma: float, classes: Tensor | None = classes) -> Tensor:
            level = torch.tensor(sigma, device=device)
            denoised: Tensor = denoiser(x, level, classes, positions=positions).to(torch.float64)
            if classes is None or not options.is_guided(sigma):
                return denoised
            without: Tensor = denoiser(x, level, torch.zeros_like(classes), positions=positions).to(torch.float64)
            return without + (denoised - without) * (options.guidance or 1.0)

        found = sample(denoise, latents.to(device), options, noise)
        finite = found.isfinite().flatten(1).all(dim=1).tolist()
        if not all(finite):
            raise PatchworkError(
                f"the image of seed {batch[finite.index(False)]} has values that are not finite",
                "compute in float32; where it changes nothing, the network itself is broken",
            )
        yield found


def check(
    denoiser: Denoiser,
    seeds: Sequence[int],
    options: SamplerOptions,
    labels: Sequence[int] | None,
    region: tuple[int, int, int] | None,
    autoencoder: Autoencoder | None,
    batch_size: int,
) -> None:
    """Refuses arguments that a network does not go with."""
    config = denoiser.config

    def require(holds: bool, problem: str, hint: str) -> None:
        if not holds:
            raise PatchworkError(problem, hint)

    require(
        len(seeds) > 0 and batch_size > 0,
        "there is nothing to generate",
        "give at least one seed and a batch size above 0",
    )
    in_range = all(isinstance(seed, int) and 0 <= seed < 1 << 64 for seed in seeds)
    require(in_range, "a seed is not a whole number from 0 to 2^64 - 1", "use such numbers, as a `range`")
    if labels is not None:
        require(config.label_dim > 0, "the network has no classes", "leave `labels` out")
        require(len(labels) == len(seeds), f"{len(labels)} labels for {len(seeds)} seeds", "give one a seed")
        known = all(0 <= label < config.label_dim for label in labels)
        require(known, f"a label is not one of the network's {config.label_dim} classes", "count them from 0")
    require(options.guidance is None or labels is not None, "`guidance` needs a class", "give `labels`")
    if region is not None:
        row, column, side = region
        require(config.position_channels, "`region` needs a network with coordinates", "leave it out")
        multiple = 1 << (len(config.channel_mult) - 1)
        inside = min(row, column) >= 0 and side > 0 and row + side <= config.height and column + side <= config.width
        require(
            inside and side % multiple == 0,
            f"`region` is {region}",
            f"row, column, side within {config.width} x {config.height}, the side a multiple of {multiple}",
        )
    is_latent = config.latents is not None
    require(is_latent or autoencoder is None, "the network was trained on pixels", "leave `autoencoder` out")
    if config.latents is not None:
        require(
            autoencoder is not None,
            "the network was trained on latents",
            "give the autoencoder that decodes them (`load_autoencoder`)",
        )
        assert autoencoder is not None
        fits = (autoencoder.config.factor, autoencoder.config.latent_channels) == (
            config.latents.factor,
            config.img_channels,
        )
        require(
            fits,
            "the autoencoder's latents are not those of the network",
            "give the one that the network was trained with",
        )


def decode(batch: Tensor, denoiser: Denoiser, autoencoder: Autoencoder | None) -> Tensor:
    """Images in [-1, 1] of samples that are latents."""
    latents = denoiser.config.latents
    assert latents is not None and autoencoder is not None
    parts = [autoencoder.decode(part) for part in torch.split(latents.raw(batch.to(torch.float32)), AT_ONCE)]
    return latents.signed(torch.cat(parts))


def to_pixels(images: Tensor) -> Tensor:
    """Pixels of images in [-1, 1]: `clip(x 127.5 + 128, 0, 255)`, truncated to uint8."""
    return (images * 127.5 + 128).clamp(0, 255).to(torch.uint8)
