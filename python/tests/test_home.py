"""A home folder that the Rust program wrote: its runs, its data set, and the images of its network."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from patchwork_torch import Denoiser, PatchworkError, SamplerOptions, ShardSet, generate, load, load_network, read_registry


def test_runs_are_those_that_the_program_lists(earlier: Path) -> None:
    registry = read_registry(earlier / "home")
    answers = {
        name: json.loads((earlier / f"answers/{name}.json").read_text()) for name in ("runs", "stages", "scores", "metrics")
    }
    assert sorted(registry.runs["run"]) == sorted(run["name"] for run in answers["runs"])
    assert dict(zip(registry.runs["run"], registry.runs["status"])) == {run["name"]: run["status"] for run in answers["runs"]}
    stages = registry.stages
    assert sorted(zip(stages["run"], stages["name"], stages["status"])) == sorted(
        (stage["run"], stage["name"], stage["status"]) for stage in answers["stages"]
    )
    scores = sorted((score["run"], score["subject"], score["metric"], score["value"]) for score in answers["scores"])
    found = registry.scores
    assert sorted(zip(found["run"], found["subject"], found["metric"], found["value"])) == scores
    metrics = registry.metrics(run="small-1", name="loss")
    points = [point for point in answers["metrics"] if (point["run"], point["name"]) == ("small-1", "loss")]
    assert points and list(metrics["value"]) == [point["value"] for point in points]
    assert metrics["time"][0] == pd.Timestamp(points[0]["time"])
    assert len(registry.metrics()) == len(answers["metrics"])
    started = registry.runs.set_index("run")["started"]
    assert str(started.dt.tz) == "UTC" and started["small-1"] < started["small-5"]
    assert set(registry.params["run"]) == set(registry.runs["run"])
    assert (registry.attempts["number"] >= 1).all() and len(registry.events) and len(registry.artifacts)


def test_a_stage_has_a_folder(earlier: Path) -> None:
    registry = read_registry(earlier / "home")
    assert (registry.folder("small-2", "train") / "network.safetensors").is_file()
    with pytest.raises(PatchworkError, match=r"no artifact: it is failed(.|\n)*`patchwork show small-3`"):
        registry.folder("small-3", "train")
    with pytest.raises(PatchworkError, match="no stage `training`"):
        registry.folder("small-1", "training")


def test_a_registry_that_cannot_be_read_is_refused(earlier: Path, tmp_path: Path) -> None:
    with pytest.raises(PatchworkError, match=r"there is no `.*registry.db`(.|\n)*home folder"):
        read_registry(tmp_path)
    path = tmp_path / "registry.db"
    path.write_bytes(b"not a database at all, but long enough to look at")
    with pytest.raises(PatchworkError, match=r"registry.db`(.|\n)*registry rebuild"):
        read_registry(tmp_path)
    path.write_bytes((earlier / "home/registry.db").read_bytes())
    registry = read_registry(tmp_path)
    with pytest.raises(PatchworkError, match="readonly"):
        registry.query("DELETE FROM runs")
    with pytest.raises(PatchworkError, match=r"no such table: run(.|\n)*registry.md"):
        registry.query("SELECT * FROM run")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE _sqlx_migrations SET version = 99 WHERE version = 1")
    with pytest.raises(PatchworkError, match=r"of schema 99; this package knows(.|\n)*newer patchwork_torch"):
        read_registry(tmp_path)


def test_images_of_the_same_seeds_are_the_programs(earlier: Path) -> None:
    registry = read_registry(earlier / "home")
    denoiser = load_network(registry.folder("small-1", "train"))
    images = ShardSet(registry.folder("small-1", "sample"))
    theirs = np.stack([images.pixels(image) for image in range(len(images))])
    ours = generate(denoiser, range(len(images)), SamplerOptions(steps=4)).permute(0, 2, 3, 1).numpy()
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    assert np.std(theirs) > 5, "the images show something"


def test_pixels_are_those_in_the_files(earlier: Path) -> None:
    folder = read_registry(earlier / "home").folder("small-1", "prepare")
    images = ShardSet(folder)
    rows = pq.read_table(sorted(folder.glob("shard-*.parquet"))).sort_by("id")
    assert len(images) == rows.num_rows
    for image, (pixels, label) in enumerate(zip(rows["image"].to_pylist(), rows["label"].to_pylist())):
        assert images.pixels(image).tobytes() == pixels
        assert images.labels[image] == (-1 if label is None else label)


def test_a_running_trainings_checkpoint_opens(earlier: Path) -> None:
    checkpoints = sorted((earlier / "home/work").glob("*/state/checkpoint-*.safetensors"))
    assert checkpoints
    for path in checkpoints:
        denoiser, trained = load(path), load_network(path, entry="network")
        assert isinstance(denoiser, Denoiser)
        pairs = list(zip(denoiser.parameters(), trained.parameters()))
        assert any(not torch.equal(average, weight) for average, weight in pairs)
        assert torch.isfinite(generate(denoiser, [0], SamplerOptions(steps=2)).float()).all()
