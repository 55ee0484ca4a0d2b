"""Sampling in PyTorch: images a second of EDM's Algorithm 2 (Heun, without churn), states in float64."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from common import Device, autocast, combinations, parser, prepared, reason, report, serve, set_tf32, timed

from patchwork_torch import SamplerOptions, full_positions, to_pixels
from patchwork_torch.sampling import sample


def prepared_batch(options: argparse.Namespace, mode: str, precision: str, device: Device) -> Callable[[], None]:
    """What generates one batch, images on the processor."""
    denoiser, call = prepared(options.network, mode, device)
    denoiser.eval()
    config = denoiser.config
    positions = full_positions(config.height, config.width, device.device)
    settings = SamplerOptions(steps=options.steps)

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        level = torch.full((x.shape[0],), sigma, device=device.device)
        return call(x, level, positions=positions).to(torch.float64)

    def batch() -> None:
        set_tf32(precision == "tf32")
        latents = torch.randn(options.batch, config.img_channels, config.height, config.width).to(device.device)
        with autocast(precision, device):
            to_pixels(sample(denoise, latents, settings)).cpu()

    return batch


def main() -> None:
    """Measures every mode and precision."""
    options = parser(__doc__)
    options.add_argument("--steps", type=int, default=10)
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    device = Device(arguments.device)
    torch.backends.cudnn.benchmark = True
    if arguments.serve:
        batches: dict[tuple[str, str], Callable[[], None]] = {}

        def measure(question: dict[str, Any]) -> float:
            """Seconds of a batch in a mode and precision."""
            key = question["mode"], question["precision"]
            is_new = key not in batches
            if is_new:
                batches[key] = prepared_batch(arguments, *key, device)
                batches[key]()
            begin = time.perf_counter()
            batches[key]()
            device.wait()
            return time.perf_counter() - begin

        serve(measure)
        return
    rows: list[dict[str, Any]] = []
    print(f"PyTorch {torch.__version__} on {arguments.device}, {arguments.threads} threads, {arguments.steps} steps")
    print("network    mode           precision  batch    images/s   first s")
    for mode, precision in combinations(arguments, device):
        row: dict[str, Any] = {
            "network": arguments.network,
            "mode": mode,
            "precision": precision,
            "images": arguments.batch,
            "steps": arguments.steps,
        }
        try:
            batch = prepared_batch(arguments, mode, precision, device)
            seconds, _, first = timed(batch, device, arguments.seconds, warm_up=1)
            row |= {"images_per_second": arguments.batch / seconds, "first_batch_seconds": first}
            print(
                f"{arguments.network:<10} {mode:<14} {precision:<10} {arguments.batch:>5}"
                f" {row['images_per_second']:>11.2f} {first:>9.1f}",
                flush=True,
            )
        except (RuntimeError, torch.OutOfMemoryError) as error:
            row["error"] = reason(error)
            print(f"{arguments.network:<10} {mode:<14} {precision:<10} {row['error']}", flush=True)
        rows.append(row)
        report(arguments, rows)


if __name__ == "__main__":
    main()
