"""Programs under a limit of time: whatever hangs costs its limit and not the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

Variables = Mapping[str, str | None]
"""Variables that a program finds besides those of all; None = not set."""

GRACE = 3.0
"""Seconds between asking a program to end and killing it."""


@dataclass
class Ended:
    """How a program ended."""

    code: int | None
    """None = it ran past its limit."""
    seconds: float
    output: str
    """Standard output and standard error together."""

    @property
    def is_success(self) -> bool:
        """Whether it ended well."""
        return self.code == 0

    def last_lines(self, count: int = 6) -> str:
        """The end of what it printed."""
        return "\n".join(self.output.strip().splitlines()[-count:])

    def cause(self) -> str:
        """Why it is not a success, in a few lines."""
        how = "ran past its limit" if self.code is None else f"ended with {self.code}"
        return f"{how} after {self.seconds:.1f} s: {self.last_lines()}"


@dataclass
class Runner:
    """Starts programs in one environment and keeps what they print in one log."""

    environment: dict[str, str]
    log: Path
    running: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def run(self, words: list[str], limit: float, variables: Variables | None = None) -> Ended:
        """Runs a program to its end or to its limit, with further variables (None = not set)."""
        process = self.start(words, variables)
        return self.wait(process, words, limit)

    def start(self, words: list[str], variables: Variables | None = None) -> subprocess.Popen[bytes]:
        """Starts a program in a process group of its own; its output goes to a file beside the log."""
        environment = dict(self.environment)
        for name, value in (variables or {}).items():
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = value
        with self._output().open("wb") as output:
            process = subprocess.Popen(
                words,
                # Stays open: a worker ends where its standard input does.
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        if process.stdin is not None:
            with suppress(BrokenPipeError):
                # What a worker is asked with its probe: nothing.
                process.stdin.write(b"\n")
                process.stdin.flush()
        self.running = process
        self._begin = time.monotonic()
        return process

    def wait(self, process: subprocess.Popen[bytes], words: list[str], limit: float) -> Ended:
        """Waits for a program that was started, and ends it and its children at the limit."""
        code: int | None
        try:
            code = process.wait(timeout=max(limit, 0.1))
        except subprocess.TimeoutExpired:
            end(process)
            code = None
        if process.stdin is not None:
            with suppress(BrokenPipeError):
                process.stdin.close()
        self.running = None
        seconds = time.monotonic() - self._begin
        output = self._output().read_text(errors="replace")
        with self.log.open("a") as log:
            log.write(f"$ {' '.join(words)}\n{output}\n[{'limit' if code is None else code}, {seconds:.1f} s]\n\n")
        return Ended(code, seconds, output)

    def end_running(self) -> None:
        """Ends what runs now."""
        if self.running is not None:
            end(self.running)

    def _output(self) -> Path:
        return self.log.with_suffix(".part")


def end(process: subprocess.Popen[bytes], at_once: bool = False) -> None:
    """Ends a program and all that it started, whatever process groups they are in."""
    family = [process.pid, *descendants(process.pid)]
    if not at_once:
        signal_all(family, signal.SIGTERM)
        try:
            process.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            pass
    signal_all([*family, *descendants(process.pid)], signal.SIGKILL)
    process.wait()


def signal_all(processes: list[int], number: signal.Signals) -> None:
    """Sends a signal to those that are still there."""
    for process in processes:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            pass


def descendants(parent: int) -> list[int]:
    """The children of a process, and theirs."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # `pid (name) state ppid …`, where the name may hold anything.
            rest = status.read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(rest[1]), []).append(int(status.parent.name))
    found: list[int] = []
    queue = [parent]
    while queue:
        for child in children.get(queue.pop(), []):
            found.append(child)
            queue.append(child)
    return found
