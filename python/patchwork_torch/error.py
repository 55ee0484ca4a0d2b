"""What goes wrong with files and settings: one error that says what, and what to do."""

from __future__ import annotations

from pathlib import Path


class PatchworkError(ValueError):
    """A file or a setting that cannot be used; the message names it, says what is wrong, and what to do."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(f"{problem}\n  hint: {hint}")
        self.problem, self.hint = problem, hint


def require_file(path: Path, hint: str) -> None:
    """Refuses a path at which there is no file.

    Raises:
        PatchworkError: nothing is there, or a folder.
    """
    if path.is_dir():
        raise PatchworkError(f"`{path}` is a folder, not a file", hint)
    if not path.is_file():
        raise PatchworkError(f"`{path}` does not exist", hint)
