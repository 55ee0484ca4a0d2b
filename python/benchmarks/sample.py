"""Sampling in PyTorch: images a second of EDM's Algorithm 2 (Heun, without churn), states in float64."""

from __future__ import annotations

from typing import Any

import torch
from common import Device, autocast, combinations, parser, prepared, reason, report, set_tf32, timed

from patchwork_torch import full_positions

SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 80.0, 7.0


@torch.no_grad()
def sample(call: Any, latents: torch.Tensor, steps: int, positions: torch.Tensor) -> torch.Tensor:
    """Images `[n, c, h, w]`, u8, on the device; `latents` are standard normal draws."""
    places = torch.arange(steps, dtype=torch.float64, device=latents.device) / (steps - 1)
    levels = (SIGMA_MAX ** (1 / RHO) + places * (SIGMA_MIN ** (1 / RHO) - SIGMA_MAX ** (1 / RHO))) ** RHO
    levels = torch.cat([levels, levels.new_zeros(1)])
    x = latents.to(torch.float64) * levels[0]
    for step in range(steps):
        now, after = levels[step], levels[step + 1]
        slope = (x - call(x, now, positions=positions).to(torch.float64)) / now
        euler = x + (after - now) * slope
        if step + 1 < steps:
            second = (euler - call(euler, after, positions=positions).to(torch.float64)) / after
            euler = x + (after - now) * (slope + second) / 2
        x = euler
    return (x * 127.5 + 128).clip(0, 255).to(torch.uint8)


def main() -> None:
    """Measures every mode and precision."""
    options = parser(__doc__)
    options.add_argument("--steps", type=int, default=10)
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    device = Device(arguments.device)
    torch.backends.cudnn.benchmark = True
    rows: list[dict[str, Any]] = []
    print(f"PyTorch {torch.__version__} on {arguments.device}, {arguments.threads} threads, {arguments.steps} steps")
    print("network    mode           precision  batch    images/s   first s")
    for mode, precision in combinations(arguments, device):
        set_tf32(precision == "tf32")
        row: dict[str, Any] = {
            "network": arguments.network,
            "mode": mode,
            "precision": precision,
            "images": arguments.batch,
            "steps": arguments.steps,
        }
        try:
            denoiser, call = prepared(arguments.network, mode, device)
            denoiser.eval()
            config = denoiser.config
            positions = full_positions(config.height, config.width, device.device)
            shape = (arguments.batch, config.img_channels, config.height, config.width)

            def batch(
                shape: tuple[int, ...] = shape,
                call: Any = call,
                precision: str = precision,
                positions: torch.Tensor = positions,
            ) -> None:
                latents = torch.randn(shape).to(device.device)
                with autocast(precision, device):
                    sample(call, latents, arguments.steps, positions).cpu()

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
