"""What every file format is read into: named columns, still with the element types of the file.

Messages name file, column and place of a row, and never what stands there. They reach other parties when this one ends
with an error.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from splittraining.api.errors import DataInvalid
from splittraining.api.wire_plan import DType

_MAX_LISTED = 40
"""Columns that a message lists; a gene panel has thousands."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column as the file has it: an array whose first axis is the rows, or the texts of a text format."""

    file: str
    name: str
    values: npt.NDArray[Any] | list[str]
    render_row: Callable[[int], str]
    """Says where a row, counted from 0, stands: ``line 7`` or ``row 5, counted from 0``."""

    @property
    def num_rows(self) -> int:
        """Rows of the column."""
        return len(self.values)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row; a text is one number."""
        return () if isinstance(self.values, list) else self.values.shape[1:]

    def refuse(self, what: str, *, row: int | None = None, allowed: str = "", remedy: str = "") -> DataInvalid:
        """Builds the error that says what is wrong with this column, and in which row."""
        where = "" if row is None else f", {self.render_row(row)}"
        return DataInvalid(f"{self.file}, column {self.name!r}{where}: {what}", allowed=allowed, remedy=remedy)


@dataclass(frozen=True, slots=True)
class ImageForm:
    """What an image has to become: the element type and shape of its input."""

    dtype: DType
    shape: tuple[int, ...]


def render_counted_row(row: int) -> str:
    """Says where a row of an array stands."""
    return f"row {row}, counted from 0"


def refuse_missing(file: str, name: str, existing: Sequence[str], *, listable: bool = True) -> DataInvalid:
    """Builds the error for a column that is not there.

    Args:
        file: The file, as messages name it.
        name: The column asked for.
        existing: The columns there are.
        listable: Whether these may be shown: what stands where a header should may be a patient.
    """
    near = difflib.get_close_matches(name, existing, n=1) if listable else []
    if listable:
        listed = ", ".join(repr(column) for column in existing[:_MAX_LISTED])
        rest = len(existing) - _MAX_LISTED
        allowed = f"one of {listed}" + (f" and {rest} more" if rest > 0 else "")
    else:
        allowed = "a first line with the names of the columns; this file's first line holds none of those asked for"
    return DataInvalid(
        f"{file} has no column {name!r}",
        allowed=allowed,
        remedy=f"did you mean {near[0]!r}?" if near else "correct the columns under data, or the file",
    )


def parse_array(values: object) -> npt.NDArray[Any] | None:
    """Returns an array of rows, or None where the object is none: no array, no rows, or no plain numbers and texts."""
    if not isinstance(values, np.ndarray) or values.ndim == 0 or values.dtype.kind not in "biufUS":
        return None
    return values
