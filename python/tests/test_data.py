"""Patches, their order and the steps of a training, against the numbers that the Rust program is tested by."""

from __future__ import annotations

import itertools
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import FIXTURES
from torch.utils.data import DataLoader

from patchwork_torch import LatentSet, PatchworkError, ShardDataset, ShardSet, TrainingBatches
from patchwork_torch.data import Seed
from patchwork_torch.data.order import Order

PATCHES = FIXTURES / "patches"
RECORDED = json.loads((PATCHES / "patches.json").read_text())


def dataset(kind: str) -> ShardDataset:
    case = RECORDED[kind]
    mirror = 0.25 if kind == "pixels" else 0.0
    return ShardDataset(PATCHES / kind, (case["height"], case["width"]), seed=7, mirror_probability=mirror)


@pytest.mark.parametrize("kind", ["pixels", "latents"])
def test_patches_are_those_of_the_program(kind: str) -> None:
    data, case = dataset(kind), RECORDED[kind]
    requests = data.stream.patches(range(len(case["patches"])), data.patch_size)
    assert [list(request[:4]) for request in requests] == case["patches"]
    images, positions, labels = data.gather(requests[:3])
    np.testing.assert_allclose(images.flatten().numpy(), case["values"], atol=1e-5)
    assert (positions[:, 0, 0, 0] == torch.tensor([2 * (r.column / (data.set.width - 1) - 0.5) for r in requests[:3]])).all()
    # As items, epoch by epoch.
    for epoch in range(2):
        data.set_epoch(epoch)
        first = epoch * len(data)
        assert [data[item].image_index for item in range(len(data))] == [r[0] for r in case["patches"][first:][: len(data)]]
    data.set_epoch(0)
    torch.testing.assert_close(data[2].image, images[2])
    assert data[2].label == labels[2] == data.set.labels[requests[2].image_index]
    with pytest.raises(IndexError):
        data[len(data)]


def test_workers_of_a_loader_read_the_same(tmp_path: Path) -> None:
    data = dataset("pixels")
    assert pickle.loads(pickle.dumps(data.set)).pixels(3).tobytes() == data.set.pixels(3).tobytes()
    expected = torch.stack([data[item].image for item in range(len(data))])
    for method in ("fork", "spawn"):
        loader = DataLoader(data, batch_size=8, num_workers=1, multiprocessing_context=method)
        batches = list(loader)
        torch.testing.assert_close(torch.cat([batch.image for batch in batches]), expected)
        assert batches[0].positions.shape == (8, 2, 5, 8) and batches[0].label.shape == (8,)


@pytest.mark.parametrize("schedule", ["stochastic", "progressive"])
def test_steps_are_those_of_the_program(schedule: str) -> None:
    data = ShardDataset(PATCHES / "pixels", seed=7)
    batches = TrainingBatches(data, 10, 0.3, schedule=schedule, duration_images=700)
    steps = json.loads((PATCHES / "steps.json").read_text())[schedule]
    for number, (height, width, drawn, seen) in enumerate(steps):
        batch = next(itertools.islice(batches, number, None)) if number < 3 else None
        if batch is not None:
            requests = data.stream.patches(range(drawn, drawn + len(batch.images)), (height, width))
            torch.testing.assert_close(batch.images, data.gather(requests, (height, width))[0])
            assert (batch.step, batch.images_seen) == (number, seen)
    found = [(*batch.images.shape[2:], batch.images_seen) for batch in itertools.islice(batches, len(steps))]
    assert found == [(height, width, seen) for height, width, _, seen in steps]
    # Ranks share every batch without overlap.
    parts = [TrainingBatches(data, 10, 0.3, schedule=schedule, duration_images=700, rank=rank, ranks=3) for rank in range(3)]
    for whole, *shares in itertools.islice(zip(batches, *parts), 5):
        torch.testing.assert_close(torch.cat([share.images for share in shares]), whole.images)


def test_a_loader_takes_whole_batches() -> None:
    data = ShardDataset(PATCHES / "latents", seed=7, scaling="per-channel")
    loader = DataLoader(TrainingBatches(data, 8), batch_size=None)
    sizes = {batch.images.shape for batch in itertools.islice(loader, 20)}
    assert sizes == {(8, 4, 8, 6), (16, 4, 3, 3)}


def test_latents_are_standardised() -> None:
    latents = LatentSet(PATCHES / "latents")
    mean, log_variance = latents.moments(0)
    assert mean.shape == log_variance.shape == (4, 8, 6)
    data = ShardDataset(PATCHES / "latents", seed=7, scaling="per-channel")
    requests = data.stream.patches(range(200 * len(data)), data.patch_size)
    drawn = data.gather(requests)[0]
    torch.testing.assert_close(drawn.mean(dim=(0, 2, 3)), torch.zeros(4), atol=0.01, rtol=0)
    torch.testing.assert_close(drawn.std(dim=(0, 2, 3)), torch.full((4,), 0.5), atol=0.01, rtol=0)
    config = latents.config("per-channel")
    raw = torch.from_numpy(mean.astype(np.float32))[None]
    torch.testing.assert_close(config.raw(config.scaled(raw)), raw)
    assert latents.config("sd").scale == (0.18215,) * 4 and config.factor == 8 and config.encoder
    for kind in ("edm2", "other"):
        with pytest.raises(PatchworkError, match=kind if kind == "other" else "EDM2's"):
            ShardDataset(PATCHES / "latents", scaling=kind)
    with pytest.raises(PatchworkError, match=r"patchwork.latents/1`, not(.|\n)*`LatentSet`"):
        ShardSet(PATCHES / "latents")
    mirrored = ShardDataset(PATCHES / "latents", mirror_probability=1.0)
    with pytest.raises(PatchworkError, match="a mirrored latent"):
        mirrored[0]


def test_without_a_seed_items_are_images() -> None:
    data = ShardDataset(PATCHES / "pixels", seed=None)
    for item in (0, 17, 41):
        patch = data[item]
        pixels = torch.from_numpy(data.set.pixels(item).copy()).permute(2, 0, 1)
        torch.testing.assert_close(patch.image, pixels / 127.5 - 1)
        assert patch.image_index == item and patch.positions[0, 0, 0] == -1
    with pytest.raises(PatchworkError, match="needs a seed"):
        TrainingBatches(data, 4)


def test_seeds_are_those_of_the_program() -> None:
    seed = Seed(7).derive("patches").at(3)
    stream = seed.stream()
    # As pinned in crates/core/src/seed.rs.
    assert seed.value == 9_131_205_319_419_645_337
    assert [stream.next(), stream.next(), stream.below(10)] == [13_859_493_864_973_804_137, 4_226_296_865_218_451_607, 2]


@pytest.mark.parametrize("images", [1, 2, 7, 256, 257])
def test_each_epoch_visits_each_image_once(images: int) -> None:
    order = Order(images, Seed(images))
    for epoch in range(3):
        assert sorted(order[epoch * images + item] for item in range(images)) == list(range(images))
