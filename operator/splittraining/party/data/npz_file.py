"""Reads NumPy's .npz: a zip of named arrays. Pickled objects are refused, since unpickling them could run code."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from splittraining.api.errors import DataInvalid
from splittraining.party.data.table import Column, parse_array, refuse_missing, render_counted_row

_REMEDY = "write it again with numpy.savez(path, name=array, ...), each array with one row per record"


def read_npz(path: Path, file: str, wanted: Sequence[str]) -> dict[str, Column]:
    """Reads the wanted arrays of an .npz file.

    Args:
        path: The file.
        file: How messages name it.
        wanted: Names of the arrays.

    Raises:
        DataInvalid: if it is no .npz file, or an array is missing or holds Python objects.
        OSError: if the file cannot be read.
    """
    try:
        with path.open("rb") as opened:  # NumPy would leave a damaged file open
            archive = np.load(opened, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataInvalid(f"{file} holds one array without a name", allowed="an .npz file", remedy=_REMEDY)
            return {name: _read_array(archive, file, name) for name in wanted}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        # NumPy takes what is no zip for a pickle and refuses that with a ValueError.
        raise DataInvalid(
            f"{file} cannot be read as .npz: it is damaged, cut off or of another format ({type(error).__name__})",
            allowed="a file that numpy.savez or numpy.savez_compressed wrote",
            remedy="copy the file again and compare its checksum, or write it again with numpy.savez",
        ) from error


def _read_array(archive: np.lib.npyio.NpzFile, file: str, name: str) -> Column:
    if name not in archive.files:
        raise refuse_missing(file, name, archive.files)
    try:
        array = parse_array(archive[name])
    except ValueError as error:
        # NumPy refuses pickled objects and a damaged header alike; its text would quote the header.
        raise DataInvalid(
            f"{file}, column {name!r}: it holds pickled Python objects, or is damaged",
            allowed="whole numbers, floats, booleans or texts; no Python objects",
            remedy=_REMEDY,
        ) from error
    if array is None:
        raise DataInvalid(
            f"{file}, column {name!r}: not an array of rows of numbers or texts",
            allowed="whole numbers, floats, booleans or texts, one row per record",
            remedy=_REMEDY,
        )
    return Column(file, name, array, render_counted_row)
