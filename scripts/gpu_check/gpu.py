"""What NVIDIA's driver reports of a GPU, and a watch of it."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

INTERVAL_MS = 500


def describe(device: str) -> dict[str, Any]:
    """Name, memory and driver of the device."""
    if device == "cpu":
        return {}
    found = query("name,memory.total,driver_version,power.limit,clocks.max.sm")
    return {"device_name": found[0], "driver": ", ".join(found[1:])} if found else {"device_name": None}


def query(fields: str) -> list[str]:
    """Fields of the first GPU."""
    if shutil.which("nvidia-smi") is None:
        return []
    words = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    try:
        asked = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return []
    lines = asked.stdout.strip().splitlines()
    return [field.strip() for field in lines[0].split(",")] if asked.returncode == 0 and lines else []


class GpuWatch:
    """Memory and load, twice a second, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.begin = time.monotonic()
        self.process: subprocess.Popen[bytes] | None = None
        if shutil.which("nvidia-smi") is not None:
            with path.open("wb") as output:
                self.process = subprocess.Popen(
                    [
                        "nvidia-smi",
                        "--query-gpu=memory.used,utilization.gpu",
                        "--format=csv,noheader,nounits",
                        "-lms",
                        str(INTERVAL_MS),
                    ],
                    stdout=output,
                    stderr=subprocess.DEVNULL,
                )

    def peaks(self, begin: float) -> dict[str, float] | None:
        """The most memory and load since a moment of the monotonic clock."""
        if self.process is None:
            return None
        rows = []
        for line in self.path.read_text(errors="replace").splitlines():
            try:
                memory, load = (float(field) for field in line.split(","))
            except ValueError:
                continue
            rows.append((memory, load))
        # Rows come at even intervals; the last ones are of this step.
        share = (time.monotonic() - begin) / max(time.monotonic() - self.begin, 1e-9)
        own = rows[-max(1, round(len(rows) * share)) :]
        if not own:
            return None
        return {"memory_mib": max(row[0] for row in own), "utilization": max(row[1] for row in own)}

    def stop(self) -> None:
        """Ends the watch."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
