"""Steps on the whole program: loading, parity, the demo."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path

from check import Check
from report import Finding, Table


def loading(check: Check, finding: Finding) -> None:
    """Libraries, the worker's probe, `doctor`."""
    worker = check.bundle / "bin/patchwork-worker"
    libraries = check.run(["ldd", worker], 10)
    missing = [line.strip() for line in libraries.output.splitlines() if "not found" in line]
    if missing:
        finding.fail("missing from the worker: " + ", ".join(missing))
    is_cuda_built = "libtorch_cuda.so" in libraries.output
    has_built_ins = "libnvrtc-builtins" in libraries.output
    finding.facts["ldd"] = {"cuda": is_cuda_built, "nvrtc_builtins": has_built_ins}
    if is_cuda_built and not has_built_ins:
        finding.fail("the worker does not load the built-ins of CUDA's runtime compiler")
    probe = check.run([worker, "probe"], 20)
    if not probe.is_success:
        finding.fail(f"the worker's probe {probe.cause()}")
        return
    found = json.loads(probe.output.strip().splitlines()[-1])
    finding.facts["probe"] = found
    finding.say(f"libtorch sees {found['cuda_devices']} CUDA devices; probe in {probe.seconds:.1f} s")
    if check.is_cuda and found["cuda_devices"] == 0:
        finding.fail("libtorch sees no CUDA device")
    home = Path(tempfile.mkdtemp())
    doctor = check.patchwork(home, "doctor", limit=20)
    finding.say(doctor.output.strip())
    if not doctor.is_success:
        finding.fail(f"`patchwork doctor` {doctor.cause()}")
    shutil.rmtree(home, ignore_errors=True)


def parity(check: Check, finding: Finding) -> None:
    """The parity cases in float32 on the device, and bfloat16 against float32."""
    suite = check.program("parity_suite")
    if suite is None:
        finding.skip("the bundle holds no parity suite")
        return
    variables = {"PATCHWORK_DEVICE": check.device, "PARITY_DIR": str(check.bundle / "fixtures/parity")}
    if check.is_cuda:
        variables["NVIDIA_TF32_OVERRIDE"] = "0"
    words = [str(suite), "--nocapture", "--test-threads=1"]
    run = check.run([*words, "every_case_agrees"], variables=variables)
    table = Table(["case", "kind", "largest error", "tolerance", "verdict", "at"])
    for line in run.output.splitlines():
        fields = re.split(r"\s{2,}|(?<=\d) (?=pass|FAIL|noise|pending)", line.strip())
        if len(fields) >= 5 and any(field in ("pass", "FAIL", "noise", "pending") for field in fields):
            table.rows.append((fields + [""] * 6)[:6])
    counts = {verdict: sum(verdict in row for row in table.rows) for verdict in ("pass", "noise", "pending", "FAIL")}
    finding.facts["parity"] = counts
    finding.tables.append(table)
    finding.say("float32: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count))
    if not run.is_success or not counts["pass"]:
        finding.fail(f"float32: {run.cause()}")
    half = check.run([*words, "bfloat16_stays_within"], variables=variables)
    finding.say("bfloat16 is within two percent of float32" if half.is_success else "bfloat16 is off")
    if not half.is_success:
        finding.fail(f"bfloat16: {half.cause()}")


def demo(check: Check, finding: Finding) -> None:
    """The demo from end to end; its picture is copied to the report."""
    home = Path(tempfile.mkdtemp(prefix="patchwork-demo."))
    try:
        run = check.patchwork(home, *check.pipeline(check.bundle / "pipelines/demo.toml", check.size.demo))
        if not run.is_success:
            finding.fail(f"the demo {run.cause()}")
            return
        finding.say(f"the demo took {run.seconds:.1f} s")
        scores = check.patchwork(home, "query", "SELECT subject, metric, value FROM fid_history", "--format", "json")
        if scores.is_success:
            finding.facts["scores"] = rows = json.loads(scores.output)
            finding.tables.append(Table(["of", "metric", "value"], [list(row.values()) for row in rows]))
        grids = list(home.glob("artifacts/sample/*/grid.png"))
        if not grids:
            finding.fail("the demo made no picture")
            return
        shutil.copy(grids[0], check.out / "demo.png")
        finding.say("its picture is demo.png")
    finally:
        shutil.rmtree(home, ignore_errors=True)
