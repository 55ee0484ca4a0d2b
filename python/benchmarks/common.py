"""What the benchmarks share: networks by name, precisions, ways to run PyTorch, timing."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from patchwork_torch import Denoiser, NetworkConfig

PRECISIONS = ("float32", "tf32", "bfloat16")
MODES = ("eager", "channels-last", "compile")


def network_config(name: str) -> NetworkConfig:
    """The networks of `just bench train`, and ADM as for latents."""
    # Resolution, channels, multipliers, blocks, attention, dropout.
    known = {
        "demo": (32, 32, (1, 2, 2), 2, (8,), 0.0),
        "reference": (64, 64, (1, 2, 2), 4, (16,), 0.05),
        "celeba": (64, 128, (1, 2, 2, 2), 4, (16,), 0.05),
        "adm": (32, 192, (1, 2, 3, 4), 3, (16, 8), 0.1),
    }
    resolution, channels, multipliers, blocks, attention, dropout = known[name]
    image = 4 if name == "adm" else 3
    return NetworkConfig(
        arch="adm" if name == "adm" else "ddpmpp",
        img_resolution=resolution,
        img_channels=image,
        in_channels=image + 2,
        out_channels=image,
        position_channels=True,
        model_channels=channels,
        channel_mult=multipliers,
        num_blocks=blocks,
        attn_resolutions=attention,
        dropout=dropout,
    )


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that both benchmarks have."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--device", default="cpu")
    options.add_argument("--network", default="reference", choices=("demo", "reference", "celeba", "adm"))
    options.add_argument("--batch", type=int, default=4, help="whole images at once; smaller patches in proportion")
    options.add_argument("--precision", action="append", choices=PRECISIONS)
    options.add_argument("--mode", action="append", choices=MODES)
    options.add_argument("--seconds", type=float, default=3.0, help="for each measurement")
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--report", type=Path, help="where the measurements are written as JSON")
    options.add_argument("--serve", action="store_true", help="measure what is asked for on standard input, for `just bench`")
    return options


class Device:
    """A device to compute on and to wait for."""

    def __init__(self, name: str) -> None:
        self.device = torch.device(name)
        self.is_cuda = self.device.type == "cuda"

    def wait(self) -> None:
        """Waits until the device has done what it was given."""
        if self.is_cuda:
            torch.cuda.synchronize(self.device)

    def reset_peak(self) -> None:
        """Forgets the most memory that tensors took."""
        if self.is_cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_bytes(self) -> int | None:
        """The most memory that tensors took at once."""
        return torch.cuda.max_memory_allocated(self.device) if self.is_cuda else None


def set_tf32(is_on: bool) -> None:
    """TF32 in convolutions and products, or in neither."""
    torch.backends.cuda.matmul.allow_tf32 = is_on
    torch.backends.cudnn.allow_tf32 = is_on


def autocast(precision: str, device: Device) -> AbstractContextManager[Any]:
    """What forward runs under."""
    if precision == "bfloat16":
        return torch.autocast(device.device.type, dtype=torch.bfloat16)
    return nullcontext()


def prepared(name: str, mode: str, device: Device) -> tuple[Denoiser, Callable[..., torch.Tensor]]:
    """A network, and what to call for it."""
    if mode not in MODES:
        raise ValueError(f"`{mode}` is none of {', '.join(MODES)}")
    torch.manual_seed(0)
    denoiser = Denoiser(network_config(name)).to(device.device)
    if mode == "channels-last":
        denoiser = denoiser.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if mode == "compile":
        return denoiser, torch.compile(denoiser, dynamic=False)
    return denoiser, denoiser


def timed(
    step: Callable[[], None], device: Device, seconds: float, warm_up: int = 3, least: int = 3
) -> tuple[float, int, float]:
    """Mean seconds of a step, their number, and the seconds that the first call took."""
    begin = time.perf_counter()
    step()
    device.wait()
    first = time.perf_counter() - begin
    for _ in range(warm_up - 1):
        step()
    device.wait()
    begin, count = time.perf_counter(), 0
    while count < least or time.perf_counter() - begin < seconds:
        step()
        # As ours, which reads the loss after each step.
        device.wait()
        count += 1
    return (time.perf_counter() - begin) / count, count, first


def serve(measure: Callable[[dict[str, Any]], float]) -> None:
    """Answers questions, a line of JSON each, by the mean seconds that were measured, or by why they cannot be."""
    # What libraries print is not taken for an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        try:
            answer: dict[str, Any] = {"seconds": measure(json.loads(line))}
        except Exception as error:  # Compiling fails in many ways.
            answer = {"error": reason(error)}
        print(json.dumps(answer), file=answers, flush=True)


def combinations(options: argparse.Namespace, device: Device) -> Iterator[tuple[str, str]]:
    """Modes and precisions that the device has."""
    for precision in options.precision or ["float32", "bfloat16"]:
        if precision == "tf32" and not device.is_cuda:
            continue
        for mode in options.mode or ["eager"]:
            yield mode, precision


def report(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Writes what was measured."""
    if options.report:
        options.report.write_text(json.dumps(rows, indent=1))


def reason(error: BaseException) -> str:
    """The first line of an error."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:300]
