"""A training step of Patch Diffusion in PyTorch: images a second at each patch size.

The same step as `just bench train` measures: patches to the device, noise, forward, backward, gradients cleaned, Adam
(fused where the device has it), average. In PyTorch's favour, patches are cut beforehand and lie in page-locked memory.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from common import MODES, Device, autocast, combinations, parser, prepared, reason, report, serve, set_tf32, timed

from patchwork_torch import patch_positions

P_MEAN, P_STD = -1.2, 1.2
LEARNING_RATE, EMA_BETA = 2e-4, 0.9999


class Training:
    """A network with its optimiser and its average."""

    def __init__(self, network: str, mode: str, precision: str, device: Device) -> None:
        self.device, self.precision = device, precision
        self.is_channels_last = mode == "channels-last"
        self.denoiser, self.call = prepared(network, mode, device)
        self.denoiser.train()
        self.parameters: list[torch.Tensor] = list(self.denoiser.parameters())
        self.averages = [parameter.detach().clone() for parameter in self.parameters]
        self.optimizer = torch.optim.Adam(self.parameters, lr=LEARNING_RATE, eps=1e-8, fused=device.is_cuda)
        self.host_seconds: list[float] = []

    def step(self, patches: torch.Tensor, rows: torch.Tensor, cols: torch.Tensor) -> None:
        """One step on patches in host memory; reads the loss at its end."""
        config = self.denoiser.config
        data = config.sigma_data
        patches = patches.to(self.device.device, non_blocking=True)
        if self.is_channels_last:
            patches = patches.contiguous(memory_format=torch.channels_last)
        positions = patch_positions(rows, cols, patches.shape[2], config.height, config.width)
        sigma = (torch.randn(patches.shape[0], device=self.device.device) * P_STD + P_MEAN).exp()
        weight = (sigma**2 + data**2) / (sigma * data) ** 2
        noise = torch.randn_like(patches) * sigma[:, None, None, None]
        self.optimizer.zero_grad(set_to_none=True)
        begin = time.perf_counter()
        with autocast(self.precision, self.device):
            denoised = self.call(patches + noise, sigma, positions=positions)
        loss = (weight[:, None, None, None] * (denoised - patches) ** 2).sum() / patches.shape[0]
        torch.autograd.backward(loss)
        self.host_seconds.append(time.perf_counter() - begin)
        with torch.no_grad():
            for parameter in self.parameters:
                if parameter.grad is not None:
                    torch.nan_to_num(parameter.grad, nan=0, posinf=1e5, neginf=-1e5, out=parameter.grad)
            self.optimizer.step()
            torch._foreach_lerp_(self.averages, self.parameters, 1 - EMA_BETA)
        loss.item()


def measure(
    options: argparse.Namespace, training: Training, size: int, batch: int, device: Device, is_profiled: bool
) -> dict[str, Any]:
    """Images a second with patches of one size, for a batch of whole images."""
    config = training.denoiser.config
    images = batch * config.img_resolution // size
    step = prepared_step(training, size, batch, device)
    device.reset_peak()
    training.host_seconds.clear()
    seconds, count, first = timed(step, device, options.seconds)
    found: dict[str, Any] = {
        "images": images,
        "images_per_second": images / seconds,
        "step_ms": seconds * 1e3,
        "host_ms": sum(training.host_seconds[-count:]) / count * 1e3,
        "first_step_seconds": first,
        "peak_bytes": device.peak_bytes(),
    }
    if is_profiled:
        found["kernels"] = profile(step, device)
    return found


def prepared_step(training: Training, size: int, batch: int, device: Device) -> Callable[[], None]:
    """A step on patches of one size, which lie ready; `batch` counts whole images."""
    config = training.denoiser.config
    images = batch * config.img_resolution // size
    patches = torch.rand(images, config.img_channels, size, size) * 2 - 1
    if device.is_cuda:
        patches = patches.pin_memory()
    corners = torch.randint(0, config.img_resolution - size + 1, (2, images), device=device.device)
    return lambda: training.step(patches, corners[0], corners[1])


class Server:
    """Measures what `just bench train` asks for, in turns with the step of Patchwork."""

    def __init__(self, options: argparse.Namespace, device: Device) -> None:
        self.options, self.device = options, device
        self.precision = ""
        self.trainings: dict[str, Training] = {}
        self.steps: dict[tuple[str, int], Callable[[], None]] = {}

    def measure(self, question: dict[str, Any]) -> float:
        """Mean seconds of a step in a mode and precision, at a patch size."""
        mode, size, precision = question["mode"], question["patch_size"], question["precision"]
        if precision != self.precision:
            self.precision = precision
            self.steps.clear()
            self.trainings.clear()
            self.device.reset_peak()
        set_tf32(precision == "tf32")
        if mode not in self.trainings:
            self.trainings[mode] = Training(self.options.network, mode, precision, self.device)
        is_new = (mode, size) not in self.steps
        if is_new:
            self.steps[mode, size] = prepared_step(self.trainings[mode], size, question["batch"], self.device)
        seconds, _, _ = timed(self.steps[mode, size], self.device, question["seconds"], warm_up=3 if is_new else 1, least=1)
        return seconds


def profile(step: Any, device: Device) -> list[dict[str, Any]]:
    """The kernels that take most of three steps, in milliseconds a step."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.is_cuda:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(3):
            step()
        device.wait()
    key = "self_device_time_total" if device.is_cuda else "self_cpu_time_total"
    events = sorted(profiler.key_averages(), key=lambda event: -getattr(event, key))
    return [{"name": event.key[:100], "calls": event.count / 3, "ms": getattr(event, key) / 3e3} for event in events[:25]]


def main() -> None:
    """Measures every mode, precision and patch size."""
    options = parser(__doc__)
    options.add_argument("--patch-sizes", help="such as 16,32,64; a quarter, a half and the whole if left out")
    options.add_argument("--profile", action="store_true", help="list the kernels at the largest patch size")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    device = Device(arguments.device)
    torch.backends.cudnn.benchmark = True
    if arguments.serve:
        serve(Server(arguments, device).measure)
        return
    rows: list[dict[str, Any]] = []
    print(f"PyTorch {torch.__version__} on {arguments.device}, {arguments.threads} threads")
    print("network    mode           precision  patch  images    images/s   step ms   host ms   first s  peak GiB")
    for mode, precision in combinations(arguments, device):
        assert mode in MODES
        set_tf32(precision == "tf32")
        training = None
        for size in sizes(arguments):
            row: dict[str, Any] = {
                "network": arguments.network,
                "mode": mode,
                "precision": precision,
                "patch_size": size,
            }
            try:
                is_profiled = arguments.profile and size == sizes(arguments)[-1]
                for batch in (arguments.batch, arguments.batch // 2, arguments.batch // 4):
                    try:
                        if training is None:
                            training = Training(arguments.network, mode, precision, device)
                        row |= measure(arguments, training, size, batch, device, is_profiled)
                        break
                    except torch.OutOfMemoryError as error:
                        row["note"] = f"{batch} whole images at once do not fit"
                        if batch == arguments.batch // 4:
                            raise RuntimeError(str(error)) from error
                    # Not in the handler: the error holds on to what did not fit.
                    training = None
                peak = row["peak_bytes"]
                print(
                    f"{arguments.network:<10} {mode:<14} {precision:<10} {size:>5} {row['images']:>7}"
                    f" {row['images_per_second']:>11.2f} {row['step_ms']:>9.1f} {row['host_ms']:>9.1f}"
                    f" {row['first_step_seconds']:>9.1f} {'-' if peak is None else f'{peak / 2**30:.1f}':>9}",
                    flush=True,
                )
            except RuntimeError as error:
                row["error"] = reason(error)
                print(f"{arguments.network:<10} {mode:<14} {precision:<10} {size:>5}  {row['error']}", flush=True)
                training = None
            rows.append(row)
            report(arguments, rows)


def sizes(options: argparse.Namespace) -> list[int]:
    """The patch sizes to measure."""
    if options.patch_sizes:
        return [int(size) for size in options.patch_sizes.split(",")]
    from common import network_config

    resolution = network_config(options.network).img_resolution
    return [resolution // 4, resolution // 2, resolution]


if __name__ == "__main__":
    main()
