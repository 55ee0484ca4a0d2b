"""The same network and the same seeds in the program `patchwork` and here: images are equal within one of 255 levels."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import CASES, open_case, relative_error, write_network

from patchwork_torch import SamplerOptions, ShardDataset, ShardSet, generate, load_network, read_registry
from patchwork_torch.sampling import balanced_labels

SEEDS = [0, 1, 2, 7, 49_999, 2_147_483_653]


def run(program: Path, place: Path, *words: str) -> None:
    home = ["--home", str(place / "home")]
    result = subprocess.run([program, *words, *home], cwd=place, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def value(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (str, list, tuple)) else str(value)


@pytest.mark.parametrize(
    ("case", "settings", "arguments"),
    [
        ("sampler-heun", {"steps": 6}, {}),
        ("sampler-heun", {"steps": 12, "solver": "dpm-solver-2m", "sigma_max": 60.0}, {}),
        ("sampler-heun", {"steps": 10, "solver": "euler", "rho": 5.0}, {}),
        ("sampler-heun", {"steps": 6, "s_churn": 20.0, "s_min": 0.05, "s_max": 50.0, "s_noise": 1.003}, {}),
        ("sampler-heun", {"steps": 6}, {"region": (4, 8, 8)}),
        ("denoiser-ncsnpp", {"steps": 6}, {}),
        ("denoiser-ddpmpp-nopos", {"steps": 6}, {}),
        ("denoiser-adm-cond", {"steps": 6}, {"labels": True}),
        ("sampler-heun-guidance", {"steps": 6, "guidance": 2.5, "guidance_interval": (0.1, 20.0)}, {"labels": True}),
    ],
    ids=["heun", "dpm-solver", "euler", "churn", "region", "ncsnpp", "no-coordinates", "adm", "guidance"],
)
def test_images_are_the_programs(
    program: Path, tmp_path: Path, case: str, settings: dict[str, Any], arguments: dict[str, Any]
) -> None:
    network = write_network(CASES / case, tmp_path)
    denoiser = load_network(network)
    words = [f"{key}={value(setting)}" for key, setting in {**settings, "precision": "float32"}.items()]
    words.append(f"labels={'balanced' if arguments.get('labels') else 'none'}")
    if "region" in arguments:
        row, column, side = arguments["region"]
        words.append(f"region={{ row = {row}, column = {column}, side = {side} }}")
    seeds = ",".join(str(seed) for seed in SEEDS)
    sets = [word for setting in words for word in ("--set", setting)]
    run(program, tmp_path, "sample", str(network), "--seeds", seeds, "--out", str(tmp_path / "samples"), *sets)
    samples = ShardSet(tmp_path / "samples")
    theirs = np.stack([samples.pixels(image) for image in range(len(samples))])
    labels = balanced_labels(SEEDS, denoiser.config.label_dim) if arguments.get("labels") else None
    ours = generate(denoiser, SEEDS, SamplerOptions(**settings), labels=labels, region=arguments.get("region"), batch_size=4)
    assert np.abs(ours.permute(0, 2, 3, 1).numpy().astype(int) - theirs).max() <= 1
    assert np.std(theirs) > 5, "the images show something"
    assert list(samples.labels) == (labels or [-1] * len(SEEDS))


def test_an_imported_network_opens(program: Path, tmp_path: Path) -> None:
    (pickle,) = (CASES / "edm-pickle").glob("*.pkl")
    case, tensors = open_case(CASES / "edm-pickle")
    run(program, tmp_path, "checkpoint", "import", str(pickle), "--out", str(tmp_path / "network.safetensors"))
    denoiser = load_network(tmp_path / "network.safetensors")
    denoised = denoiser(tensors["input/x"], tensors["input/sigma"], positions=tensors.get("input/x_pos"))
    assert relative_error(denoised.detach(), tensors["output/denoised"]) <= case["tolerance"]["rel"]


def test_a_built_set_opens(program: Path, tmp_path: Path) -> None:
    run(program, tmp_path, "dataset", "build", "builtin:twemoji", "--out", str(tmp_path / "set"), "--resolution", "16")
    data = ShardDataset(tmp_path / "set", patch_size=8)
    images = [data[item].image_index for item in range(len(data))]
    assert len(data) > 1000 and sorted(images) == list(range(len(data)))
    assert max(data.set.labels) == -1 and data.set.class_names == []


def test_a_registry_of_today_is_read(program: Path, tmp_path: Path) -> None:
    pipeline = Path(__file__).parents[2] / "pipelines" / "smoke.toml"
    run(program, tmp_path, "run", str(pipeline), "--until", "prepare")
    registry = read_registry(tmp_path / "home")
    (row,) = registry.runs.to_dict("records")
    assert (row["run"], row["pipeline"], row["status"]) == ("smoke-1", "smoke", "succeeded")
    assert ShardSet(registry.folder("smoke-1", "prepare")).class_names is not None
    assert len(registry.stages) >= 1 and len(registry.scores) == 0
