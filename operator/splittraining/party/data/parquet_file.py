"""Reads Apache Parquet: one file of named columns.

Numbers, booleans and texts are read, and lists of numbers that are equally long in every row, however deep: a list of
eight lists of eight numbers makes rows of shape [8, 8]. Nothing else has one obvious number per cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from splittraining.api.errors import DataInvalid
from splittraining.party.data.table import Column, refuse_missing, render_counted_row

_ALLOWED = "numbers, booleans or texts, or lists of numbers that are equally long in every row"


def read_parquet(path: Path, file: str, wanted: Sequence[str]) -> dict[str, Column]:
    """Reads the wanted columns of a Parquet file.

    Args:
        path: The file.
        file: How messages name it.
        wanted: Names of the columns.

    Raises:
        DataInvalid: if it is no Parquet file, a column is missing, has a gap or holds what makes no numbers.
        OSError: if the file cannot be read.
    """
    with path.open("rb") as opened:
        try:
            with parquet.ParquetFile(opened) as archive:
                names = archive.schema_arrow.names
                for name in wanted:
                    _check_column(file, name, names)
                # Alone among threads of other libraries, and the order of rows is the file's.
                table = archive.read(columns=list(wanted), use_threads=False)
        except (pa.ArrowException, OSError, ValueError) as error:
            # Arrow's own texts may quote what stands in the file; the cause stays in this party's log.
            raise DataInvalid(
                f"{file} cannot be read as Parquet: it is damaged, cut off or of another format"
                f" ({type(error).__name__})",
                allowed="one file that pandas.DataFrame.to_parquet, Spark or another writer of Parquet wrote",
                remedy="copy the file again and compare its checksum, or write it again",
            ) from error
    return {name: _read_column(table.column(name).combine_chunks(), file, name) for name in wanted}


def _check_column(file: str, name: str, existing: Sequence[str]) -> None:
    if name not in existing:
        raise refuse_missing(file, name, existing)
    if existing.count(name) > 1:
        raise DataInvalid(
            f"{file} has {existing.count(name)} columns {name!r}", allowed="one", remedy="rename the others"
        )


def _read_column(array: pa.Array, file: str, name: str) -> Column:
    array = _simplify(array)
    _check_gaps(array, file, name)
    shape: list[int] = [len(array)]
    while pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        lengths = array.value_lengths().to_numpy(zero_copy_only=False)
        uneven = np.flatnonzero(lengths != lengths[:1])
        if len(uneven):
            row = int(uneven[0]) // int(np.prod(shape[1:], dtype=np.int64))
            column = Column(file, name, [], render_counted_row)
            raise column.refuse("its lists are not equally long", row=row, allowed=_ALLOWED)
        shape.append(int(lengths[0]) if len(lengths) else 0)
        array = _simplify(array.flatten())
        if array.null_count:
            row = int(np.argmax(array.is_null().to_numpy(zero_copy_only=False))) // int(np.prod(shape[1:]))
            raise _refuse_gap(file, name, row)
    values = _convert_to_numpy(array)
    if values is None:
        raise DataInvalid(f"{file}, column {name!r}: it holds {array.type}", allowed=_ALLOWED)
    return Column(file, name, values.reshape(shape), render_counted_row)


def _simplify(array: pa.Array) -> pa.Array:
    """Undoes what tells how values are stored and not what they are."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_fixed_size_list(array.type):
        array = array.cast(pa.large_list(array.type.value_type))
    return array


def _check_gaps(array: pa.Array, file: str, name: str) -> None:
    if array.null_count:
        raise _refuse_gap(file, name, int(np.argmax(array.is_null().to_numpy(zero_copy_only=False))))


def _refuse_gap(file: str, name: str, row: int) -> DataInvalid:
    return Column(file, name, [], render_counted_row).refuse(
        "the cell is empty (null)",
        row=row,
        allowed="a value in every cell",
        remedy="fill the gap, or leave the row out",
    )


def _convert_to_numpy(array: pa.Array) -> npt.NDArray[Any] | None:
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.array(array.to_pylist(), dtype=np.str_)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
        return values
    return None
