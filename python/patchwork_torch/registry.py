"""The registry of all runs as data frames."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .error import PatchworkError

REGISTRY_FILE = "registry.db"
NEWEST_SCHEMA = 5
TIMES = ("started", "ended", "heartbeat", "recorded", "time")
"""Columns that are times."""


class Registry:
    """A registry, read-only. Frames are read again whenever they are asked for, so that they follow active runs.

    Columns and views are described in docs/reference/registry.md; times are in UTC.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / REGISTRY_FILE

    @property
    def runs(self) -> pd.DataFrame:
        """One row a run, newest first: pipeline, status, times, stages, Fréchet distance (view `run_summary`)."""
        return self.query("SELECT * FROM run_summary")

    @property
    def stages(self) -> pd.DataFrame:
        """One row a stage of a run: kind, status, fingerprint, artifact, times."""
        return self._of_runs("stages", "position")

    @property
    def attempts(self) -> pd.DataFrame:
        """One row a worker process: times, exit, error, processor seconds, peak memory."""
        return self._of_runs("attempts", "others.id")

    @property
    def params(self) -> pd.DataFrame:
        """One row a setting of a run: key, value."""
        return self._of_runs("params", "key")

    @property
    def events(self) -> pd.DataFrame:
        """One row a warning or notice."""
        return self._of_runs("events", "others.id")

    @property
    def scores(self) -> pd.DataFrame:
        """One row a recorded distance, oldest first, with what makes it comparable (view `fid_history`)."""
        return self.query("SELECT * FROM fid_history")

    @property
    def artifacts(self) -> pd.DataFrame:
        """One row a finished artifact: kind, path below the home folder, bytes, summary."""
        return self.query("SELECT * FROM artifacts ORDER BY recorded")

    def metrics(self, run: str | None = None, name: str | None = None) -> pd.DataFrame:
        """Points of series: run, stage, name, step (images seen, in training), value, time; of all runs, or of all names, where
        none is given."""
        where, values = [], []
        for column, value in (("run", run), ("name", name)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)
        condition = f"WHERE {' AND '.join(where)}" if where else ""
        return self.query(f"SELECT * FROM metrics {condition} ORDER BY run, stage, name, step", values)

    def folder(self, run: str, stage: str) -> Path:
        """The folder of the artifact that a stage of a run made, or took from the cache.

        Raises:
            PatchworkError: no such run or stage, or one that has no artifact.
        """
        found = self.query(
            "SELECT stages.status, artifacts.path, artifacts.bytes FROM stages JOIN runs ON runs.id = stages.run_id "
            "LEFT JOIN artifacts ON artifacts.fingerprint = stages.artifact WHERE runs.name = ? AND stages.name = ?",
            (run, stage),
        )
        if found.empty:
            raise PatchworkError(f"`{self.path}` has no stage `{stage}` of a run `{run}`", "`patchwork runs` lists the runs")
        status, path = found["status"][0], found["path"][0]
        if not isinstance(path, str) or not (self.home / path).is_dir():
            raise PatchworkError(
                f"the stage `{stage}` of `{run}` has no artifact: it is {status}", f"`patchwork show {run}` says why"
            )
        return self.home / path

    def query(self, sql: str, values: Sequence[Any] = ()) -> pd.DataFrame:
        """The rows of one statement, which cannot write.

        Raises:
            PatchworkError: the registry cannot be read, or the statement is wrong.
        """
        try:
            connection = sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)
        except sqlite3.Error as error:
            raise PatchworkError(f"`{self.path}` cannot be opened: {error}", "see that it may be read") from error
        try:
            connection.execute("PRAGMA query_only = ON")
            frame = pd.read_sql_query(sql, connection, params=tuple(values))
        except (sqlite3.Error, pd.errors.DatabaseError) as error:
            raise PatchworkError(
                f"`{self.path}`: {error}",
                "docs/reference/registry.md has tables and columns; `patchwork registry rebuild` rebuilds a damaged registry",
            ) from error
        finally:
            connection.close()
        for column in set(TIMES) & set(frame.columns):
            frame[column] = pd.to_datetime(frame[column], utc=True, format="ISO8601")
        return frame

    def _of_runs(self, table: str, order: str) -> pd.DataFrame:
        frame = self.query(
            f"SELECT runs.name AS run, others.* FROM {table} AS others JOIN runs ON runs.id = others.run_id "
            f"ORDER BY runs.id, {order}"
        )
        return frame.drop(columns="run_id")


def read_registry(home: str | Path = "runs") -> Registry:
    """Opens the registry of a home folder, such as `runs`.

    Raises:
        PatchworkError: there is none, it is damaged, or of a newer program.
    """
    registry = Registry(Path(home))
    if not registry.path.is_file():
        raise PatchworkError(
            f"there is no `{registry.path}`",
            "give the home folder of `patchwork run` (`runs`, PATCHWORK_HOME or --home)",
        )
    schema = registry.query("SELECT MAX(version) AS version FROM _sqlx_migrations")["version"][0]
    if schema > NEWEST_SCHEMA:
        raise PatchworkError(
            f"`{registry.path}` is of schema {schema}; this package knows {NEWEST_SCHEMA}",
            "install a newer patchwork_torch",
        )
    return registry
