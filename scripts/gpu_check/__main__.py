"""Checks Patchwork on a device: runs the steps in their order, each under its limit, and writes a report."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any

import steps
from check import FULL, SMALL, Check, environment, find_torch
from gpu import GpuWatch, describe
from process import Runner
from report import FAIL, NO_TIME, Finding, Report

LEAST_SECONDS = 2.0
"""A step is not begun with less time than this."""


def main() -> int:
    """Runs the check; 0 = no step failed."""
    arguments = parse()
    begin = time.monotonic()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="patchwork-check."))
    signal.signal(signal.SIGTERM, interrupt)
    try:
        return check(arguments, out, work, begin)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """Ends as Ctrl-C does, so that what runs is ended too."""
    raise KeyboardInterrupt


def check(arguments: argparse.Namespace, out: Path, work: Path, begin: float) -> int:
    """Unpacks the bundle and runs the steps."""
    bundle = unpacked(arguments.bundle, work)
    torch = find_torch()
    device: str = arguments.device
    size = {"small": SMALL, "full": FULL}[arguments.size or ("small" if device == "cpu" else "full")]
    log = out / "log.txt"
    log.write_text("")
    current = Check(
        bundle=bundle,
        out=out,
        device=device,
        size=size,
        torch=torch,
        runner=Runner(environment(bundle, torch), log),
        deadline=begin + arguments.seconds,
        step_limit=arguments.limit,
    )
    origin = bundle / "bundle.json"
    report = Report(
        {
            "device": device,
            "size": "small" if size is SMALL else "full",
            **describe(device),
            "pytorch": torch.version,
            "pytorch_problem": torch.problem,
            "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} threads",
            "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "bundle": json.loads(origin.read_text()) if origin.exists() else None,
            "unpacked_in_seconds": time.monotonic() - begin,
        }
    )
    watch = GpuWatch(out / "gpu.csv") if current.is_cuda else None
    wanted = arguments.steps.split(",") if arguments.steps else None
    try:
        for step in steps.STEPS:
            if wanted is None or step.name in wanted:
                report.findings.append(one(step, current, watch))
                report.header["seconds"] = time.monotonic() - begin
                report.write(out)
                finding = report.findings[-1]
                print(f"{finding.name}: {finding.status}, {finding.seconds:.1f} s", flush=True)
    except KeyboardInterrupt:
        current.runner.end_running()
        report.header["interrupted"] = True
        report.write(out)
        raise
    finally:
        if watch:
            watch.stop()
    print((out / "report.md").read_text())
    return 1 if report.failures else 0


def one(step: steps.Step, current: Check, watch: GpuWatch | None) -> Finding:
    """One step under its limit; whatever goes wrong in it is its own failure."""
    finding = Finding(step.name, step.question, limit=current.step_limit or step.limit)
    begin = time.monotonic()
    if current.deadline - begin < LEAST_SECONDS:
        finding.status = NO_TIME
        return finding
    current.step_ends = min(begin + finding.limit, current.deadline)
    try:
        step.run(current, finding)
    except Exception as error:  # noqa: BLE001 the other steps continue
        finding.fail(f"{type(error).__name__}: {error}")
        current.runner.end_running()
    finding.seconds = time.monotonic() - begin
    if watch:
        finding.facts["gpu"] = peaks = watch.peaks(begin)
        if peaks:
            finding.say(f"GPU: {peaks['memory_mib']:,.0f} MiB and {peaks['utilization']:.0f} % at most")
    assert finding.status != FAIL or finding.summary
    return finding


def unpacked(bundle: Path, work: Path) -> Path:
    """The bundle's folder; an archive in it is unpacked elsewhere."""
    archive = bundle / "bundle.tar.xz"
    if not archive.exists():
        return bundle
    with tarfile.open(archive) as files:
        files.extractall(work / "bundle", filter="data")
    return work / "bundle"


def parse() -> argparse.Namespace:
    """The options."""
    options = argparse.ArgumentParser(prog="gpu-check.sh", description=__doc__)
    own = Path(__file__).resolve().parent.parent
    variable: Any = os.environ.get
    options.add_argument("--bundle", type=Path, default=own, help="the folder that gpu-bundle.sh made")
    options.add_argument("--out", type=Path, default=Path(variable("OUT") or "gpu-report"))
    options.add_argument("--device", default=variable("PATCHWORK_DEVICE") or "cuda:0")
    options.add_argument("--seconds", type=float, default=float(variable("PATCHWORK_CHECK_SECONDS") or 470))
    options.add_argument("--limit", type=float, help="seconds for each step, instead of its own limit")
    options.add_argument("--size", choices=("small", "full"), default=variable("PATCHWORK_CHECK_SIZE"))
    options.add_argument("--steps", help="names of the steps to run, with commas between them")
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
