"""How many rows a party's training file holds, read from its header or its lines: enough to count bytes per round."""

from __future__ import annotations

import ast
import csv
import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from splittraining.api.resource import SplitTraining
from splittraining.api.spec.data import DataFile, DataFormat, DataSpec
from splittraining.local.parquet_footer import read_num_rows

_MAGIC = b"\x93NUMPY"
_LARGEST_HEADER_BYTES = 100_000_000  # as the format itself says


def count_train_rows(training: SplitTraining, volumes: Mapping[str, Path]) -> dict[str, int]:
    """Returns the training rows of every client whose file can be read from here.

    Args:
        training: The training.
        volumes: Folders by claim, as far as they are known.
    """
    held = {client.name: client.data for client in training.spec.clients if client.data is not None}
    counts = {name: _count(data, data.train, volumes) for name, data in held.items()}
    return {name: count for name, count in counts.items() if count is not None}


def count_test_rows(training: SplitTraining, volumes: Mapping[str, Path]) -> dict[str, int]:
    """Returns the test rows of every client whose file can be read from here; 0 where it evaluates nothing."""
    held = {client.name: client.data for client in training.spec.clients if client.data is not None}
    counts = {name: 0 if data.test is None else _count(data, data.test, volumes) for name, data in held.items()}
    return {name: count for name, count in counts.items() if count is not None}


def _count(data: DataSpec, file: DataFile, volumes: Mapping[str, Path]) -> int | None:
    folder = volumes.get(data.volume.persistent_volume_claim.claim_name)
    if folder is None:
        return None
    path = folder / file.path
    count = _COUNTERS.get(data.format) if data.format is not None else None
    if count is None:
        return None  # only a loader of the party's own could say
    try:
        return count(path, data)
    except (OSError, ValueError, KeyError, IndexError, TypeError, struct.error, zipfile.BadZipFile, csv.Error):
        return None  # a run will say what is wrong with it; a plan can do without


def _find_column(data: DataSpec) -> str:
    return [*(item.columns[0] for item in data.inputs), *(data.label.columns if data.label else ())][0]


def _count_safetensors(path: Path, data: DataSpec) -> int:
    """Reads the first axis of an array from the header: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > _LARGEST_HEADER_BYTES:
            raise ValueError("not a file of safetensors")
        return int(json.loads(file.read(length))[_find_column(data)]["shape"][0])


def _count_npz(path: Path, data: DataSpec) -> int:
    with zipfile.ZipFile(path) as archive, archive.open(f"{_find_column(data)}.npy") as member:
        return _read_length(member)


def _read_length(member: IO[bytes]) -> int:
    """Reads the first axis of an array's header.

    Source: numpy.lib.format, "Format Version 1.0" to 3.0.
    """
    if member.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("not an array of NumPy")
    major, _minor = member.read(2)
    layout = "<H" if major == 1 else "<I"
    (length,) = struct.unpack(layout, member.read(struct.calcsize(layout)))
    shape = ast.literal_eval(member.read(length).decode("latin1"))["shape"]
    return int(shape[0])


def _count_csv(path: Path, _data: DataSpec) -> int:
    with path.open(newline="", encoding="utf-8") as file:
        return max(0, sum(1 for row in csv.reader(file) if row) - 1)  # the first one names the columns


def _count_images(path: Path, _data: DataSpec) -> int:
    return sum(1 for _ in path.glob("[!.]*/[!.]*"))


_COUNTERS: Mapping[DataFormat, Callable[[Path, DataSpec], int]] = {
    DataFormat.NPZ: _count_npz,
    DataFormat.CSV: _count_csv,
    DataFormat.PARQUET: lambda path, _data: read_num_rows(path),
    DataFormat.SAFE_TENSORS: _count_safetensors,
    DataFormat.IMAGE_FOLDER: _count_images,
}
