"""What all steps work with: the bundle, the device, the time that is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from process import Ended, Runner, Variables

TORCH_VERSION = "2.11.0"


@dataclass(frozen=True)
class Size:
    """How much is computed: on a GPU what its users would; elsewhere the same way in little."""

    network: str
    batch: int
    seconds: float
    sample_batch: int
    sample_steps: int
    train_images: int
    network_settings: tuple[str, ...]
    demo: tuple[str, ...]
    too_large: int
    modes: tuple[str, ...]
    feature_images: int


# As our workers have it: memory that one patch size has used serves the next.
PYTORCH_VARIABLES = {"PYTHONUNBUFFERED": "1", "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}

FEW_EMOJI = "stages.prepare.emoji.to=face savoring food"

FULL = Size(
    network="celeba",
    batch=256,
    seconds=2.5,
    sample_batch=128,
    sample_steps=6,
    train_images=24_000,
    network_settings=(),
    demo=(),
    too_large=4096,
    modes=("eager", "channels-last"),
    feature_images=512,
)
SMALL = Size(
    network="demo",
    batch=4,
    seconds=0.2,
    sample_batch=4,
    sample_steps=3,
    train_images=2_000,
    network_settings=(
        FEW_EMOJI,
        "stages.prepare.resolution=16",
        "stages.train.network.model_channels=8",
    ),
    demo=(
        FEW_EMOJI,
        "stages.train.duration_images=400",
        "stages.train.learning_rate_rampup_images=100",
        "stages.train.learning_rate_decay_images=100",
        "stages.train.network.model_channels=8",
        "stages.train.network.num_blocks=1",
        "stages.sample.seeds=0-15",
        "stages.sample.steps=3",
        "stages.sample.grid=4x4",
    ),
    too_large=0,
    modes=("eager",),
    feature_images=8,
)


@dataclass
class Torch:
    """The PyTorch of the Python that runs this."""

    version: str | None
    problem: str | None
    libraries: list[Path] = field(default_factory=list)


@dataclass
class Check:
    """A check in progress."""

    bundle: Path
    out: Path
    device: str
    size: Size
    torch: Torch
    runner: Runner
    deadline: float
    step_limit: float | None
    step_ends: float = 0.0

    @property
    def is_cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.device != "cpu"

    def program(self, name: str) -> Path | None:
        """A program of the bundle, if it holds it."""
        path = self.bundle / "bin" / name
        return path if path.is_file() else None

    def left(self, limit: float = inf) -> float:
        """Seconds until this step ends, at most `limit`."""
        return min(limit, self.step_ends - time.monotonic())

    def run(self, words: Sequence[str | Path], limit: float = inf, variables: Variables | None = None) -> Ended:
        """Runs a program within the step's time."""
        return self.runner.run([str(word) for word in words], self.left(limit), variables)

    def python(self, script: str, *words: str, limit: float = inf) -> Ended:
        """Runs one of the PyTorch benchmarks."""
        path = self.bundle / "python/benchmarks" / script
        return self.run([sys.executable, path, *words], limit, PYTORCH_VARIABLES)

    def patchwork(
        self, home: Path, *words: str, limit: float = inf, variables: Variables | None = None
    ) -> Ended:
        """Runs the program with a home folder."""
        own = {"PATCHWORK_HOME": str(home), **(variables or {})}
        return self.run([self.bundle / "bin/patchwork", *words], limit, own)

    def pipeline(self, path: Path, settings: Sequence[str]) -> list[str]:
        """The words that run a pipeline on the device."""
        words = ["run", str(path), "--device", self.device]
        return words + [word for setting in settings for word in ("--set", setting)]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The measurements that a benchmark has written so far."""
    rows: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return rows


def find_torch() -> Torch:
    """Looks for PyTorch, in a process of its own: importing it makes a context on a GPU's driver."""
    script = (
        "import os, torch\n"
        "print(torch.__version__, int(torch.compiled_with_cxx11_abi()), os.path.dirname(torch.__file__), sep='\\t')"
    )
    asked = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        lines = asked.stderr.strip().splitlines()
        return Torch(None, f"`{sys.executable}` has no PyTorch: {lines[-1] if lines else 'no answer'}")
    version, abi, folder = asked.stdout.strip().splitlines()[-1].split("\t")
    if version.split("+")[0] != TORCH_VERSION or abi != "1":
        return Torch(version, f"PyTorch {version} is not {TORCH_VERSION} of the C++11 ABI: its libtorch is not used")
    nvidia = Path(folder).parent / "nvidia"
    folders = [Path(folder) / "lib", nvidia / "cu13/lib", nvidia / "cudnn/lib"]
    return Torch(version, None, [folder for folder in folders if folder.is_dir()])


def environment(bundle: Path, torch: Torch) -> dict[str, str]:
    """What all programs find in their environment."""
    variables = dict(os.environ)
    # Whatever the user's own set-up says, the check is of the bundle.
    for name in ("PATCHWORK_HOME", "PATCHWORK_DEVICE", "PARITY_DIR"):
        variables.pop(name, None)
    libraries = [str(folder) for folder in torch.libraries]
    if variables.get("LD_LIBRARY_PATH"):
        libraries.append(variables["LD_LIBRARY_PATH"])
    if libraries:
        variables["LD_LIBRARY_PATH"] = ":".join(libraries)
    variables["PATCHWORK_WEIGHTS"] = str(bundle / "weights")
    return variables
