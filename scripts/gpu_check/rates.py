"""Steps that measure speed, ours beside PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from check import Check, read_rows
from process import Variables
from report import Finding, Table

NAMES = {"Float": "float32", "BFloat16": "bfloat16", "Half": "float16"}


def kernels(check: Check, finding: Finding) -> None:
    """Attention, normalisation, convolutions and copies by PyTorch on the same libraries."""
    if check.torch.problem:
        finding.skip(check.torch.problem)
        return
    report = check.out / "kernels.part.json"
    run = check.python(
        "kernels.py", "--device", check.device, "--report", str(report), *([] if check.is_cuda else ["--small"])
    )
    rows = take(report)
    table = Table(["what", "shape", "forward ms", "with gradients ms", "error", "note"])
    for row in rows:
        keys = ("what", "shape", "forward_ms", "both_ms", "error", "note")
        table.rows.append([row.get(key) for key in keys])
    finding.tables.append(table)
    finding.facts["kernels"] = rows
    finding.say(f"{len(rows)} measurements")
    if not run.is_success:
        finding.fail(f"kernels.py {run.cause()}")


def train_bfloat16(check: Check, finding: Finding) -> None:
    """Ours in bfloat16 at every patch size."""
    train(check, finding, "bfloat16", [])


def train_float32(check: Check, finding: Finding) -> None:
    """Ours in float32, then in TF32."""
    train(check, finding, "float32", [])
    if check.is_cuda:
        train(check, finding, "float32", ["--tf32"], named="tf32")


def cudnn_attention(check: Check, finding: Finding) -> None:
    """Ours in bfloat16 with the attention that libtorch would choose."""
    if not check.is_cuda:
        finding.skip("only on CUDA")
        return
    train(check, finding, "bfloat16", [], named="bfloat16, cuDNN's attention", variables={"TORCH_CUDNN_SDPA_DEPRIORITIZED": "0"})


LIKE_GRADIENTS = 0.05
"""What gradients in bfloat16 may differ by that are rounded at other places; one left out would be off by more."""

LIKE_UPDATE = 1e-4
"""What an update of the same gradients may differ by in float32."""


def fast_path(*names: str) -> Callable[[Check, Finding], None]:
    """A step that has ours with fast paths beside ours without, in one run."""

    def run(check: Check, finding: Finding) -> None:
        if not check.is_cuda and "graphs" in names:
            finding.skip("only on CUDA")
            return
        if check.program("bench-train") is None:
            finding.skip("the bundle holds no `bench-train`")
            return
        train(check, finding, "bfloat16", ["--fast", ",".join(names)])
        rows = finding.facts.get("measurements", [])
        plain = {row["patch_size"]: row for row in rows if not row.get("fast_paths")}
        fast = {row["patch_size"]: row for row in rows if row.get("fast_paths")}
        if not fast:
            finding.fail("no step with fast paths was measured")
            return
        found = next(iter(fast.values()))["differences"]
        text = f"gradients differ by {found['gradients']:.1e} of the plain step's, an update by {found['update']:.1e}"
        if found["gradients"] <= LIKE_GRADIENTS and found["update"] <= LIKE_UPDATE:
            finding.say(text)
        else:
            finding.fail(f"{text}; at most {LIKE_GRADIENTS} and {LIKE_UPDATE} are rounding")
        gains = {size: row["images_per_second"] / plain[size]["images_per_second"] for size, row in fast.items()}
        finding.facts["times_as_fast"] = gains
        finding.say("times as fast as without: " + "; ".join(f"{size}: {gain:.2f}" for size, gain in gains.items()))

    return run


def train(
    check: Check,
    finding: Finding,
    precision: str,
    words: list[str],
    named: str | None = None,
    variables: Variables | None = None,
) -> None:
    """`bench train` in one precision."""
    program = check.program("bench-train")
    if program is None:
        finding.skip("the bundle holds no `bench-train`")
        return
    report = check.out / "train.part.json"
    size = check.size
    # PyTorch has checks of its own.
    options = ["--device", check.device, "--network", size.network, "--precision", precision, "--pytorch", "none"]
    options += ["--seconds", str(size.seconds), "--report", str(report)]
    # In float32 a step takes twice the memory.
    first = size.batch if precision == "bfloat16" else size.batch // 2
    for batch in (first, first // 2):
        run = check.run([program, *options, "--batch", str(batch), *words], variables=variables)
        if run.is_success or "out of memory" not in run.output:
            break
        finding.say(f"{named or precision}: {batch} whole images at once do not fit")
    rows = take(report)
    for row in rows:
        row["precision"] = named or NAMES.get(row["precision"], row["precision"])
    add(finding, "ours", rows)
    if not run.is_success:
        finding.fail(f"bench train in {named or precision} {run.cause()}")


def pytorch_bfloat16(check: Check, finding: Finding) -> None:
    """PyTorch under autocast, with its kernels."""
    pytorch(check, finding, ["bfloat16"], list(check.size.modes), ["--profile"])


def pytorch_float32(check: Check, finding: Finding) -> None:
    """PyTorch in float32 and TF32, eager."""
    pytorch(check, finding, ["float32", "tf32"] if check.is_cuda else ["float32"], ["eager"], [])


def pytorch_compile(check: Check, finding: Finding) -> None:
    """PyTorch compiled, in bfloat16."""
    if not check.is_cuda:
        finding.skip("only on CUDA: compiling takes minutes on a processor")
        return
    pytorch(check, finding, ["bfloat16"], ["compile"], ["--patch-sizes", "64,16"])


def pytorch(check: Check, finding: Finding, precisions: list[str], modes: list[str], words: list[str]) -> None:
    """`train_step.py` in some precisions and modes."""
    if check.torch.problem:
        finding.skip(check.torch.problem)
        return
    report = check.out / "pytorch.part.json"
    size = check.size
    options = ["--device", check.device, "--network", size.network, "--batch", str(size.batch)]
    options += ["--seconds", str(size.seconds), "--report", str(report)]
    options += [word for precision in precisions for word in ("--precision", precision)]
    options += [word for mode in modes for word in ("--mode", mode)]
    run = check.python("train_step.py", *options, *words)
    rows = take(report)
    add(finding, "PyTorch", rows)
    for row in rows:
        if row.get("kernels"):
            kernels_of(finding, row)
    if not run.is_success:
        finding.fail(f"train_step.py {run.cause()}")


def add(finding: Finding, whose: str, rows: list[dict[str, Any]]) -> None:
    """Puts measurements into a table and into the facts."""
    headings = ["whose", "mode", "precision", "patch", "images", "images/s", "step ms", "host ms", "finish ms", "GiB"]
    table = Table(headings)
    for row in rows:
        peak = row.get("peak_bytes")
        table.rows.append(
            [
                whose,
                row.get("mode") or row.get("fast_paths"),
                row["precision"],
                row.get("patch_size"),
                row.get("images"),
                row.get("images_per_second") or row.get("error"),
                row.get("step_ms"),
                row.get("host_ms"),
                row.get("finish_ms"),
                peak / 2**30 if peak else None,
            ]
        )
    finding.tables.append(table)
    finding.facts.setdefault("measurements", []).extend({"whose": whose, **row} for row in rows)
    speeds = [f"{row['patch_size']}: {row['images_per_second']:,.1f}" for row in rows if "images_per_second" in row]
    precision = rows[0]["precision"] if rows else "no measurement"
    finding.say(f"{whose}, {precision}, images/s by patch size: " + "; ".join(speeds))
    for row in rows:
        if "error" in row:
            finding.fail(f"{whose}, {row.get('mode')}, {row['precision']}: {row['error']}")


def kernels_of(finding: Finding, row: dict[str, Any]) -> None:
    """A table of the kernels that take most of a step."""
    table = Table([f"kernels of {row['mode']}, {row['precision']}, {row['patch_size']}", "calls a step", "ms a step"])
    table.rows = [[kernel["name"], kernel["calls"], kernel["ms"]] for kernel in row["kernels"][:15]]
    finding.tables.append(table)


def sampling(check: Check, finding: Finding) -> None:
    """`bench sample` and `sample.py` on the same network, batch and steps."""
    size = check.size
    options = ["--device", check.device, "--network", size.network, "--batch", str(size.sample_batch)]
    options += ["--steps", str(size.sample_steps)]
    program = check.program("bench-sample")
    table = Table(["whose", "mode", "precision", "batch", "images/s"])
    measurements: list[dict[str, Any]] = []
    if program is None:
        finding.say("the bundle holds no `bench-sample`")
    else:
        report = check.out / "sample.part.json"
        run = check.run([program, *options, "--pytorch", "none", "--report", str(report)])
        for row in take(report):
            precision = NAMES.get(row["precision"], row["precision"])
            measurements.append({"whose": "ours", **row, "precision": precision})
        if not run.is_success:
            finding.fail(f"bench sample {run.cause()}")
    if check.torch.problem:
        finding.say(check.torch.problem)
    else:
        report = check.out / "sample.part.json"
        modes = [word for mode in size.modes for word in ("--mode", mode)]
        run = check.python("sample.py", *options, *modes, "--seconds", str(size.seconds), "--report", str(report))
        measurements += [{"whose": "PyTorch", **row} for row in take(report)]
        if not run.is_success:
            finding.fail(f"sample.py {run.cause()}")
    for row in measurements:
        keys = ("whose", "mode", "precision", "images")
        table.rows.append([*(row.get(key) for key in keys), row.get("images_per_second") or row.get("error")])
    finding.tables.append(table)
    finding.facts["measurements"] = measurements
    if not measurements:
        finding.skip("nothing to measure")


def features(check: Check, finding: Finding) -> None:
    """Inception-v3 and EfficientNet-Lite0, beside torchvision's Inception-v3."""
    table = Table(["whose", "extractor", "precision", "images/s", "note"])
    measurements: list[dict[str, Any]] = []
    images = str(check.size.feature_images)
    program = check.program("bench-features")
    if program is not None:
        report = check.out / "features.part.json"
        cases = check.bundle / "fixtures/parity"
        options = ["--device", check.device, "--images", images, "--parity", str(cases), "--report", str(report)]
        run = check.run([program, *options])
        measurements += [{"whose": "ours", **row} for row in take(report)]
        if not run.is_success:
            finding.fail(f"bench features {run.cause()}")
    if not check.torch.problem:
        report = check.out / "features.part.json"
        run = check.python("features.py", "--device", check.device, "--images", images, "--report", str(report))
        measurements += [{"whose": "PyTorch", **row} for row in take(report)]
        if not run.is_success:
            finding.fail(f"features.py {run.cause()}")
    for row in measurements:
        keys = ("whose", "extractor", "precision", "images_per_second", "note")
        table.rows.append([row.get(key) for key in keys])
    finding.tables.append(table)
    finding.facts["measurements"] = measurements
    if not measurements:
        finding.skip("nothing to measure")


def take(report: Path) -> list[dict[str, Any]]:
    """What a benchmark wrote, which the report has from here on."""
    rows = read_rows(report)
    report.unlink(missing_ok=True)
    return rows
