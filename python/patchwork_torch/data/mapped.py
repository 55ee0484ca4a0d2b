"""The files of a set, mapped, and where in them each image lies: what sets of pixels and of latents have in common."""

from __future__ import annotations

import json
import mmap
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..error import PatchworkError

INDEX_FILE = "index.parquet"
PIXELS, LATENTS = "patchwork.shards/1", "patchwork.latents/1"
HINT = "give the folder of a prepare or encode stage, of samples, or what `patchwork dataset build` wrote"
DAMAGED = "`patchwork dataset verify FOLDER` names what is damaged"


class Mapped:
    """A set's mapped shards.

    Raises:
        PatchworkError: no set of this format, or one whose shards are not those of its index.
    """

    def __init__(self, folder: str | Path, wanted: str) -> None:
        self.folder = Path(folder)
        self.index = self.folder / INDEX_FILE
        if not self.index.is_file():
            raise PatchworkError(f"`{self.folder}` has no `{INDEX_FILE}`: it is not a finished data set", HINT)
        try:
            raw = pq.read_metadata(self.index).metadata or {}
            table = pq.read_table(self.index, columns=["id", "label", "shard", "offset"])
        except (pa.ArrowException, OSError) as error:
            raise PatchworkError(f"`{self.index}` cannot be read as an index: {error}", DAMAGED) from error
        self.metadata: dict[str, str] = {key.decode(): value.decode() for key, value in raw.items() if key != b"ARROW:schema"}
        found = self.entry("format")
        if found != wanted:
            other = {PIXELS: "`ShardSet` or `ShardDataset` opens", LATENTS: "`LatentSet` or `ShardDataset` opens"}.get(found)
            hint = f"{other} it" if other else "a newer format needs a newer patchwork_torch"
            raise PatchworkError(f"`{self.index}` is of the format `{found}`, not `{wanted}`", hint)
        names = self.json("class_names")
        if not isinstance(names, list):
            raise self.damaged(f"its metadata has `class_names` = `{names}`")
        self.class_names = [str(name) for name in names]
        width, _, height = self.entry("resolution").partition("x")
        if not (width.isdecimal() and height.isdecimal() and int(width) > 0 and int(height) > 0):
            raise self.damaged(f"its metadata has `resolution` = `{self.entry('resolution')}`")
        self.width, self.height = int(width), int(height)
        self.channels = self.integer("channels")
        self._places(table)

    def _places(self, table: pa.Table) -> None:
        try:
            ids = table["id"].to_numpy()
            self.labels: NDArray[np.int64] = table["label"].fill_null(-1).to_numpy().astype(np.int64)
            self.shards: NDArray[np.int64] = table["shard"].to_numpy().astype(np.int64)
            self.offsets: NDArray[np.uint64] = table["offset"].to_numpy().astype(np.uint64)
        except (KeyError, ValueError, TypeError, pa.ArrowException) as error:
            raise self.damaged(f"its columns are not those of an index: {error}") from error
        if len(ids) == 0 or not np.array_equal(ids, np.arange(len(ids))):
            raise self.damaged("its ids do not count the images from 0")
        if self.labels.max() >= len(self.class_names):
            raise self.damaged("it has a label without a class name")
        self.files: list[memoryview] = []

    def map(self, record_bytes: int) -> None:
        """Maps the shards, and checks that every image lies within its own."""
        self.record_bytes = record_bytes
        if self.shards.max() >= len(self.shards):
            raise self.damaged(f"it names shard {self.shards.max()} of a set of {len(self.shards)} images")
        for number in range(int(self.shards.max()) + 1):
            path = self.folder / f"shard-{number:05}.parquet"
            try:
                with path.open("rb") as file:
                    self.files.append(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
            except (OSError, ValueError) as error:
                raise PatchworkError(f"`{path}` cannot be mapped: {error}", DAMAGED) from error
        lengths = np.array([len(file) for file in self.files], np.uint64)
        room = lengths[self.shards]
        beyond = (self.offsets > room) | (room - np.minimum(self.offsets, room) < record_bytes)
        if beyond.any():
            image = int(beyond.argmax())
            raise PatchworkError(
                f"`{self.folder / f'shard-{self.shards[image]:05}.parquet'}` is too short for image {image} at byte "
                f"{self.offsets[image]}, which the index names",
                DAMAGED,
            )

    def __len__(self) -> int:
        """How many images there are; at least one."""
        return len(self.labels)

    def record(self, index: int) -> memoryview:
        """An image's bytes, as they lie in the file."""
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of a set of {len(self)}")
        offset = int(self.offsets[index])
        record: memoryview = self.files[self.shards[index]][offset : offset + self.record_bytes]
        return record

    def entry(self, key: str) -> str:
        """An entry of the index's metadata."""
        if key not in self.metadata:
            raise PatchworkError(f"`{self.index}` is not an index of ours: its metadata has no `{key}`", HINT)
        return self.metadata[key]

    def integer(self, key: str) -> int:
        """An entry that is a number above 0."""
        value = self.entry(key)
        if not value.isdecimal() or int(value) == 0:
            raise self.damaged(f"its metadata has `{key}` = `{value}`")
        return int(value)

    def json(self, key: str) -> object:
        """An entry that is JSON."""
        try:
            return json.loads(self.entry(key))
        except ValueError as error:
            raise self.damaged(f"its metadata has `{key}` = `{self.entry(key)}`") from error

    def damaged(self, problem: str) -> PatchworkError:
        """The error of an index."""
        return PatchworkError(f"`{self.index}`: {problem}", DAMAGED)
