"""The report of a check: Markdown for people, JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Status = str
PASS, FAIL, SKIPPED, NO_TIME = "pass", "fail", "skipped", "no time left"


@dataclass
class Table:
    """Rows under headings."""

    headings: list[str]
    rows: list[list[Any]] = field(default_factory=list)

    def markdown(self) -> list[str]:
        """As Markdown."""
        lines = [self.headings, ["---"] * len(self.headings), *self.rows]
        return ["| " + " | ".join(cell(value) for value in line) + " |" for line in lines]


@dataclass
class Finding:
    """What a step found."""

    name: str
    question: str
    status: Status = PASS
    seconds: float = 0.0
    limit: float = 0.0
    summary: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """Adds a sentence."""
        self.summary.append(text)

    def fail(self, text: str) -> None:
        """Adds what is wrong."""
        self.status = FAIL
        self.summary.append(text)

    def skip(self, text: str) -> None:
        """Says why there is nothing to find."""
        self.status = SKIPPED
        self.summary.append(text)


@dataclass
class Report:
    """All findings with what they were found on."""

    header: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)

    @property
    def failures(self) -> int:
        """How many steps failed."""
        return sum(finding.status == FAIL for finding in self.findings)

    def write(self, folder: Path) -> None:
        """Writes `report.md` and `report.json`: after each step, so that an early end loses nothing."""
        replace(folder / "report.json", json.dumps(self.as_json(), indent=1) + "\n")
        replace(folder / "report.md", "\n".join(self.markdown()) + "\n")

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "format": "patchwork.gpu-check/1",
            **self.header,
            "failures": self.failures,
            "steps": [asdict(finding) for finding in self.findings],
        }

    def markdown(self) -> list[str]:
        """For people."""
        lines = [f"# Patchwork on {self.header.get('device_name') or self.header.get('device')}", ""]
        lines += [f"- {key.replace('_', ' ')}: {cell(value)}" for key, value in self.header.items()]
        lines += ["", *self.overview().markdown()]
        for finding in self.findings:
            lines += ["", f"## {finding.name}: {finding.status}", "", f"{finding.question}", ""]
            lines += [paragraph(text) for text in finding.summary]
            for table in finding.tables:
                lines += ["", *table.markdown()]
        return lines

    def overview(self) -> Table:
        """A line a step."""
        overview = Table(["step", "status", "seconds", "limit", "in short"])
        for finding in self.findings:
            short = finding.summary[0].splitlines()[0] if finding.summary else ""
            overview.rows.append([finding.name, finding.status, finding.seconds, finding.limit, short[:120]])
        return overview


def paragraph(text: str) -> str:
    """One line as a list item, several as a block."""
    return f"- {text}" if "\n" not in text else f"```\n{text}\n```"


def cell(value: Any) -> str:
    """A value in a table."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 10 else f"{value:,.1f}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def replace(path: Path, text: str) -> None:
    """Writes a file beside its place and renames it."""
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)
