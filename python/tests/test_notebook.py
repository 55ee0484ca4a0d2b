"""The notebook runs from top to bottom on a run of the program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cases import ROOT


def test_the_notebook_runs(earlier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="the notebook draws: pip install './python[notebook]'")
    matplotlib.use("Agg")
    cells = json.loads((ROOT / "python/notebooks/a-run.ipynb").read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert sources[0].startswith("home = ")
    names: dict[str, Any] = {"home": str(earlier / "home"), "run": "small-1"}
    for source in sources[1:]:
        exec(compile(source, "a-run.ipynb", "exec"), names)
    assert names["difference"] <= 1
    assert len(matplotlib.pyplot.get_fignums()) == 5
    matplotlib.pyplot.close("all")
