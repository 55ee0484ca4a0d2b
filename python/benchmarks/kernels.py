"""The kernels that Patchwork's network stands on, one by one: attention, group normalisation, convolutions, copies.

Errors are against float64, relative to its norm.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from common import Device, reason
from torch.nn.attention import SDPBackend, sdpa_kernel

ATTENTION = {
    "default": None,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}


class Bench:
    """Measurements on one device."""

    def __init__(self, device: Device, report: Path | None) -> None:
        self.device, self.path = device, report
        self.rows: list[dict[str, Any]] = []

    def add(self, **row: Any) -> None:
        """Keeps a measurement, on disk at once."""
        self.rows.append(row)
        print(row, flush=True)
        if self.path:
            self.path.write_text(json.dumps(self.rows, indent=1))

    def milliseconds(self, call: Callable[[], Any], least: int = 5) -> float:
        """The mean time of a call, after two that warm up."""
        for _ in range(2):
            call()
        self.device.wait()
        begin, count = time.perf_counter(), 0
        while count < least or (count < 50 and time.perf_counter() - begin < 0.15):
            call()
            count += 1
        self.device.wait()
        return (time.perf_counter() - begin) / count * 1e3

    def function(self, what: str, shape: Any, function: Callable[..., Any], inputs: list[Any], exact: Any) -> None:
        """Times a function forward and with gradients, and compares both with float64's."""
        try:
            leaves = [value.detach().requires_grad_() for value in inputs]
            probe = torch.cos(torch.arange(exact[0].numel(), device=leaves[0].device, dtype=torch.float32))
            probe = probe.view_as(exact[0]).to(leaves[0].dtype)

            def both() -> tuple[torch.Tensor, ...]:
                output = function(*leaves)
                return (output, *torch.autograd.grad(output, leaves, probe))

            errors = [relative(ours, theirs) for ours, theirs in zip(both(), exact, strict=True)]
            with torch.no_grad():
                forward = self.milliseconds(lambda: function(*leaves))
            self.add(what=what, shape=str(shape), forward_ms=forward, both_ms=self.milliseconds(both), error=max(errors))
        except RuntimeError as error:
            self.add(what=what, shape=str(shape), note=reason(error))


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The difference over the norm, in float64."""
    return float((ours.detach().double() - theirs).norm() / theirs.norm())


def exactly(function: Callable[..., Any], inputs: list[torch.Tensor], images: int) -> list[torch.Tensor]:
    """Output and gradients in float64."""
    leaves = [value.detach().double().requires_grad_() for value in inputs]
    output = function(*leaves)
    probe = torch.cos(torch.arange(output.numel(), device=output.device, dtype=torch.float32)).view_as(output)
    assert output.shape[0] == images
    gradients = torch.autograd.grad(output, leaves, probe.to(inputs[0].dtype).double())
    return [output.detach(), *gradients]


def attention(bench: Bench, shapes: list[tuple[int, ...]], dtype: torch.dtype) -> None:
    """Scaled dot-product attention by each of libtorch's kernels, `[n, heads, pixels, width]`."""
    for shape in shapes:
        inputs = [torch.randn(shape, device=bench.device.device).to(dtype) for _ in range(3)]

        def plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            products: torch.Tensor = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
            return products.softmax(-1) @ value

        exact = exactly(plain, inputs, shape[0])
        for name, backend in ATTENTION.items():

            def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, backend: Any = backend) -> torch.Tensor:
                if backend is None:
                    return F.scaled_dot_product_attention(query, key, value)
                with sdpa_kernel(backend):
                    return F.scaled_dot_product_attention(query, key, value)

            bench.function(f"attention, {name}", shape, attend, inputs, exact)


def normalisation(bench: Bench, shapes: list[tuple[int, ...]], dtype: torch.dtype) -> None:
    """Group normalisation and SiLU: as Patchwork has it, by `layer_norm`, and in channels-last."""
    for shape in shapes:
        n, channels, height, width = shape
        groups = min(32, channels // 4)
        x = torch.randn(shape, device=bench.device.device).to(dtype)
        weight = torch.linspace(0.5, 1.5, channels, device=bench.device.device)
        bias = torch.linspace(-0.5, 0.5, channels, device=bench.device.device)

        def own(
            x: torch.Tensor, weight: torch.Tensor = weight, bias: torch.Tensor = bias, groups: int = groups
        ) -> torch.Tensor:
            wide = x.double() if x.dtype == torch.float64 else x.float()
            normed = F.group_norm(wide, groups, weight.to(wide.dtype), bias.to(wide.dtype), 1e-6)
            return F.silu(normed.to(x.dtype))

        def by_layer_norm(
            x: torch.Tensor, weight: torch.Tensor = weight, bias: torch.Tensor = bias, groups: int = groups
        ) -> torch.Tensor:
            grouped = x.reshape(x.shape[0], groups, -1)
            normed = F.layer_norm(grouped, grouped.shape[-1:], eps=1e-6).view_as(x)
            scaled = torch.addcmul(bias.to(x.dtype)[:, None, None], normed, weight.to(x.dtype)[:, None, None])
            return F.silu(scaled)

        exact = exactly(own, [x], n)
        bench.function("group norm + SiLU, float32 inside", shape, own, [x], exact)
        bench.function("group norm + SiLU, by layer_norm", shape, by_layer_norm, [x], exact)
        last = x.to(memory_format=torch.channels_last)
        bench.function("group norm + SiLU, channels-last", shape, own, [last], exact)


def convolution(bench: Bench, shapes: list[tuple[int, ...]], dtype: torch.dtype) -> None:
    """3×3 convolutions with features in both orders."""
    for shape in shapes:
        x = torch.randn(shape, device=bench.device.device).to(dtype)
        weight = (torch.randn(shape[1], shape[1], 3, 3, device=bench.device.device) / shape[1]).to(dtype)

        def convolve(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            return F.conv2d(x, weight, padding=1)

        # In float64 a GPU takes seconds for all images, so the first few stand for them.
        few = x[:4].clone()
        exact = exactly(convolve, [few, weight], 4)
        bench.function("convolution, a few images", few.shape, convolve, [few, weight], exact)
        for name, order in (("NCHW", torch.contiguous_format), ("NHWC", torch.channels_last)):
            leaves = [value.to(memory_format=order).detach().requires_grad_() for value in (x, weight)]

            def both(leaves: list[torch.Tensor] = leaves) -> None:
                output = convolve(*leaves)
                torch.autograd.grad(output, leaves, output.detach())

            def forward(leaves: list[torch.Tensor] = leaves) -> torch.Tensor:
                return convolve(*leaves)

            try:
                with torch.no_grad():
                    only = bench.milliseconds(forward)
                bench.add(what=f"convolution, {name}", shape=str(shape), forward_ms=only, both_ms=bench.milliseconds(both))
            except RuntimeError as error:
                bench.add(what=f"convolution, {name}", shape=str(shape), note=reason(error))


def copies(bench: Bench) -> None:
    """How long a copy to the device holds the host up while a long kernel runs."""
    if not bench.device.is_cuda:
        return
    matrix = torch.randn(8192, 8192, device=bench.device.device)
    for kilobytes in (32, 128, 3072):
        for is_pinned in (False, True):
            source = torch.zeros(kilobytes * 256)
            source = source.pin_memory() if is_pinned else source
            bench.device.wait()
            for _ in range(4):
                matrix @ matrix
            begin = time.perf_counter()
            copy = source.to(bench.device.device, non_blocking=True)
            host = (time.perf_counter() - begin) * 1e3
            bench.device.wait()
            total = (time.perf_counter() - begin) * 1e3
            kind = "page-locked" if is_pinned else "ordinary"
            note = f"the host was held {host:.3f} ms of the {total:.1f} ms that the device worked"
            bench.add(what=f"copy behind a long kernel, {kind}", shape=f"{kilobytes} KiB", forward_ms=host, note=note)
            del copy


def main() -> None:
    """Measures all of them."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--device", default="cuda:0")
    options.add_argument("--report", type=Path)
    options.add_argument("--small", action="store_true", help="shapes for a processor")
    arguments = options.parse_args()
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    bench = Bench(Device(arguments.device), arguments.report)
    dtype = torch.bfloat16
    if arguments.small:
        attention(bench, [(2, 1, 16, 32)], dtype)
        normalisation(bench, [(2, 32, 8, 8)], dtype)
        convolution(bench, [(4, 16, 8, 8)], dtype)
        return
    # CelebA's network at a batch of 256: its attention at the three patch sizes, its largest features.
    attention(bench, [(1024, 1, 16, 256), (512, 1, 64, 256), (256, 1, 256, 256)], dtype)
    normalisation(bench, [(256, 128, 64, 64), (256, 256, 32, 32)], dtype)
    convolution(bench, [(256, 128, 64, 64), (256, 256, 32, 32), (1024, 256, 8, 8)], dtype)
    copies(bench)


if __name__ == "__main__":
    main()
