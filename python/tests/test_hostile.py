"""Files and settings that are wrong: the message names the file, says what is wrong, and what to do."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from cases import FIXTURES, of_kind, open_case, parameters, write_network
from safetensors.torch import load_file, save_file

from patchwork_torch import (
    AutoencoderConfig,
    NetworkConfig,
    PatchworkError,
    ShardDataset,
    ShardSet,
    load,
    load_autoencoder,
    load_network,
)
from patchwork_torch.checkpoint import CONFIG_KEY

NETWORK = of_kind("denoiser")[0]


def refused(call: Callable[[], Any], *parts: str) -> None:
    """Checks that a call is refused with a message that has these parts, and a hint."""
    with pytest.raises(PatchworkError) as caught:
        call()
    for part in (*parts, "\n  hint: "):
        assert part in str(caught.value)


def test_files_that_are_no_networks(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    refused(lambda: load(path), f"`{path}` does not exist")
    refused(lambda: load(tmp_path), f"`{tmp_path}` has no `network.safetensors`", "train stage")
    for damaged in (b"", b"PK\x03\x04 something else", b"\xff" * 64, b"\x10\0\0\0\0\0\0\0{}"):
        path.write_bytes(damaged)
        refused(lambda: load(path), f"`{path}` is not a safetensors file, or is damaged", "checkpoint import")
    whole = write_network(NETWORK, tmp_path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(lambda: load(path), f"`{path}` is not a safetensors file, or is damaged")
    save_file({"model.weight": torch.zeros(1)}, path)
    refused(lambda: load(path), f"`{path}` has no network settings", "checkpoint import")


def test_settings_that_no_network_has(tmp_path: Path) -> None:
    case, tensors = open_case(NETWORK)
    path = tmp_path / "network.safetensors"

    def with_settings(text: str) -> Callable[[], Any]:
        save_file(parameters(tensors), path, metadata={CONFIG_KEY: text})
        return lambda: load_network(path)

    name = f"`{path}`: "
    refused(with_settings("{"), name, "not JSON")
    refused(with_settings("[1]"), name, "not a JSON object")
    settings = case["network"]
    refused(with_settings(json.dumps({**settings, "colour": 1})), name, "unknown network settings: colour", "newer")
    refused(
        with_settings(json.dumps({key: value for key, value in settings.items() if key != "arch"})), name, "missing", "arch"
    )
    for key, value in (
        ("arch", "unet3d"),
        ("preconditioning", "vp"),
        ("model_channels", "8"),
        ("model_channels", -8),
        ("model_channels", 10**9),
        ("img_resolution", 15),
        ("channel_mult", []),
        ("channel_mult", 2),
        ("in_channels", 4),
        ("dropout", 2),
        ("sigma_data", 0),
        ("resample_filter", [1, 3, 1]),
        ("position_channels", 1),
        ("latents", {"factor": 8}),
    ):
        refused(with_settings(json.dumps({**settings, key: value})), name, key)
    refused(with_settings(json.dumps({**settings, "model_channels": 4, "channel_mult": [1, 9, 5]})), name)
    adm = {**settings, "arch": "adm", "channel_mult": [1, 1]}
    refused(lambda: NetworkConfig.from_json(json.dumps(adm)), "heads of attention")


def test_weights_of_another_network(tmp_path: Path) -> None:
    case, tensors = open_case(NETWORK)
    weights = parameters(tensors)
    path = tmp_path / "network.safetensors"

    def refuse(changed: dict[str, torch.Tensor], *parts: str) -> None:
        save_file(changed, path, metadata={CONFIG_KEY: json.dumps(case["network"])})
        refused(lambda: load_network(path), f"`{path}`", *parts, "checkpoint inspect")

    name = "model.map_layer0.weight"
    refuse({key: value for key, value in weights.items() if key != name}, f"`{name}` is missing")
    refuse({**weights, "model.other": torch.zeros(1)}, "`model.other` is unexpected")
    refuse({**weights, name: weights[name][:1].clone()}, f"`{name}` is [1, ")
    refuse({**weights, name: weights[name].to(torch.int32)}, f"`{name}` has elements of torch.int32")


def test_autoencoders_that_are_none(tmp_path: Path) -> None:
    folder = tmp_path / "vae"
    shutil.copytree(FIXTURES / "autoencoder/diffusers", folder)
    weights, config = folder / "diffusion_pytorch_model.safetensors", folder / "config.json"
    settings = json.loads(config.read_text())
    for key, value in (
        ("_class_name", "AutoencoderTiny"),
        ("act_fn", "relu"),
        ("down_block_types", ["AttnDownEncoderBlock2D"] * 3),
        ("up_block_types", ["UpDecoderBlock2D"]),
        ("latents_mean", [0.0] * 4),
        ("block_out_channels", [8, 15, 16]),
        ("norm_num_groups", 0),
        ("scaling_factor", -1),
        ("use_quant_conv", "yes"),
        ("future", True),
    ):
        config.write_text(json.dumps({**settings, key: value}))
        refused(lambda: load_autoencoder(folder), f"`{config}`", f"`{key}` is ")
    config.write_text("{")
    refused(lambda: load(folder), f"`{config}` is not JSON")
    config.write_text(json.dumps(settings))
    tensors = load_file(weights)
    tensors.pop("encoder.conv_in.bias")
    save_file(tensors, weights)
    refused(lambda: load(folder), f"`{weights}`", "`encoder.conv_in.bias` is missing")
    config.unlink()
    refused(lambda: load_autoencoder(folder), f"neither `{folder}`", "diffusers folder")
    save_file({"encoder.conv_in.weight": torch.zeros(8, 3, 3, 3)}, weights)
    refused(lambda: load_autoencoder(weights), f"`{weights}` is not an autoencoder", "decoder.conv_out.weight")
    refused(lambda: AutoencoderConfig.from_json([]), "JSON object")


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_is_data(tmp_path: Path) -> None:
    proof, path = tmp_path / "it-ran", tmp_path / "weights.ckpt"
    state = load_file(FIXTURES / "autoencoder/diffusers/diffusion_pytorch_model.safetensors")
    for legacy in (False, True):
        torch.save({"state_dict": state, "callback": Hostile(proof)}, path, _use_new_zipfile_serialization=not legacy)
        opened = load_autoencoder(path, config=FIXTURES / "autoencoder/diffusers/config.json")
        assert len(opened.state_dict()) == len(state)
    path.write_bytes(pickle.dumps(Hostile(proof)))
    refused(lambda: load(path), f"`{path}`")
    torch.save([1, 2], path)
    refused(lambda: load(path), f"`{path}` holds no state dictionary")
    path.write_bytes(b"\x80\x02garbage")
    refused(lambda: load(path), f"`{path}` cannot be read as a file of `torch.save`")
    assert not proof.exists()


def test_sets_that_are_damaged(earlier: Path, tmp_path: Path) -> None:
    refused(lambda: ShardSet(tmp_path), f"`{tmp_path}` has no `index.parquet`", "dataset build")
    (source,) = (earlier / "home/artifacts/prepare").iterdir()
    folder = tmp_path / "set"
    shutil.copytree(source, folder)
    index, shard = folder / "index.parquet", folder / "shard-00001.parquet"
    metadata = pq.read_metadata(index).metadata
    table = pq.read_table(index).replace_schema_metadata(metadata)

    def with_index(changed: pa.Table) -> Callable[[], Any]:
        pq.write_table(changed, index)
        return lambda: ShardDataset(folder)

    def with_metadata(**entries: str) -> Callable[[], Any]:
        return with_index(
            table.replace_schema_metadata({**metadata, **{key.encode(): value for key, value in entries.items()}})
        )

    refused(with_metadata(format="patchwork.shards/2"), f"`{index}` is of the format `patchwork.shards/2`", "newer")
    refused(with_metadata(resolution="16"), f"`{index}`", "`resolution` = `16`", "dataset verify")
    refused(with_metadata(channels="-3"), f"`{index}`", "`channels` = `-3`")
    refused(with_metadata(class_names="["), f"`{index}`", "`class_names` = `[`")
    refused(with_metadata(resolution="65535x65535"), "is too short for image 0")
    refused(with_index(table.replace_schema_metadata({})), "its metadata has no `format`")
    refused(with_index(table.drop_columns(["offset"])), f"`{index}`", "dataset verify")
    refused(with_index(table.slice(0, 0)), f"`{index}`", "its ids")
    refused(with_index(table.slice(1)), f"`{index}`", "its ids")
    pq.write_table(table, index)
    assert len(ShardDataset(folder)) == table.num_rows
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    refused(lambda: ShardSet(folder), f"`{shard}` is too short for image", "dataset verify")
    shard.unlink()
    refused(lambda: ShardSet(folder), f"`{shard}` cannot be mapped")
    index.write_bytes(b"PAR1 no more than this PAR1")
    refused(lambda: ShardDataset(folder), f"`{index}` cannot be read as an index", "dataset verify")
