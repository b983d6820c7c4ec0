"""How many rows a party's training file holds, read from its header or its lines: enough to count bytes per round."""

from __future__ import annotations

import ast
import csv
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from splittraining.api.resource import SplitTraining
from splittraining.api.spec.data import DataFormat, DataSpec

_MAGIC = b"\x93NUMPY"


def count_train_rows(training: SplitTraining, volumes: Mapping[str, Path]) -> dict[str, int]:
    """Returns the training rows of every client whose file can be read from here.

    Args:
        training: The training.
        volumes: Folders by claim, as far as they are known.
    """
    counts = {}
    for client in training.spec.clients:
        count = _count(client.data, volumes) if client.data is not None else None
        if count is not None:
            counts[client.name] = count
    return counts


def _count(data: DataSpec, volumes: Mapping[str, Path]) -> int | None:
    folder = volumes.get(data.volume.persistent_volume_claim.claim_name)
    if folder is None:
        return None
    path = folder / data.train.path
    try:
        if data.format is DataFormat.NPZ:
            return _count_npz(path, data)
        return _count_csv(path) if data.format is DataFormat.CSV else None
    except (OSError, ValueError, KeyError, struct.error, zipfile.BadZipFile, csv.Error):
        return None  # a run will say what is wrong with it; a plan can do without


def _count_npz(path: Path, data: DataSpec) -> int:
    columns = [*(item.columns[0] for item in data.inputs), *(data.label.columns if data.label else ())]
    with zipfile.ZipFile(path) as archive, archive.open(f"{columns[0]}.npy") as member:
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


def _count_csv(path: Path) -> int:
    with path.open(newline="", encoding="utf-8") as file:
        return max(0, sum(1 for row in csv.reader(file) if row) - 1)  # the first one names the columns
