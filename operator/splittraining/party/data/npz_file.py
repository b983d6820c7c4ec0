"""Reads NumPy's .npz: a zip of named arrays. Pickled objects are refused, since unpickling them could run code."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from splittraining.api.errors import DataInvalid
from splittraining.party.data.table import Column, make_array, refuse_missing, render_counted_row

_REMEDY = "write it again with numpy.savez(path, name=array, ...), each array with one row per patient, image or record"


class NpzTable:
    """An .npz file.

    Args:
        path: The file.
        file: How messages name it.

    Raises:
        DataInvalid: if it is no .npz file.
    """

    def __init__(self, path: Path, file: str) -> None:
        self._file = file
        try:
            archive = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise self._refuse_file(error) from error
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataInvalid(f"{file} holds one array without a name", allowed="an .npz file", remedy=_REMEDY)
        self._archive = archive

    def read(self, name: str) -> Column:
        """Reads one array."""
        if name not in self._archive.files:
            raise refuse_missing(self._file, name, self._archive.files)
        array = make_array(self._read_array(name))
        if array is None:
            raise DataInvalid(
                f"{self._file}, column {name!r}: not an array of rows of numbers or texts",
                allowed="whole numbers, floats, booleans or texts with one row per record; no Python objects",
                remedy=_REMEDY,
            )
        return Column(self._file, name, array, render_counted_row)

    def _read_array(self, name: str) -> Any:
        try:
            return self._archive[name]
        except ValueError as error:
            # NumPy refuses pickled objects with a ValueError, and a damaged header too; its text quotes the header.
            raise DataInvalid(
                f"{self._file}, column {name!r}: it holds pickled Python objects, or is damaged",
                allowed="whole numbers, floats, booleans or texts; no Python objects",
                remedy=_REMEDY,
            ) from error
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            raise self._refuse_file(error) from error

    def _refuse_file(self, error: Exception) -> DataInvalid:
        return DataInvalid(
            f"{self._file} cannot be read as .npz: it is damaged, cut off or of another format"
            f" ({type(error).__name__})",
            allowed="a file that numpy.savez or numpy.savez_compressed wrote",
            remedy="copy the file again and compare its checksum, or write it again with numpy.savez",
        )
