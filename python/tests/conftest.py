"""What tests share: a home folder of the Rust program, and the program itself where it is built."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
from cases import FIXTURES, ROOT


@pytest.fixture(scope="session")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What version 0.1.0 of the program left: `home`, and `answers` to questions about it."""
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(FIXTURES / "0.1.0-e310d9c/home.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def program() -> Path:
    """The program `patchwork`; tests that compare with it are skipped, and say so, where it is not built."""
    named = os.environ.get("PATCHWORK_PROGRAM")
    path = Path(named) if named else ROOT / "target/release/patchwork"
    if not path.is_file():
        message = f"`{path}` is not built: `just build`, or name it by PATCHWORK_PROGRAM"
        if named:
            pytest.fail(message)
        pytest.skip(message)
    return path
