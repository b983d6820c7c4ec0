"""Reads files by the party's own function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from splittraining.api.errors import DataInvalid, ModelCodeFailed, SplitTrainingError
from splittraining.party.allocations import is_allocation_failure
from splittraining.party.data.conversion import convert_to_numpy
from splittraining.party.data.table import Column, parse_array, refuse_missing, render_counted_row

_ALLOWED = "a mapping from column names to NumPy arrays or tensors, each with one row per record"


def read_by_loader(path: Path, file: str, wanted: Sequence[str], loader: Callable[[str], Any]) -> dict[str, Column]:
    """Calls the party's own loader and takes the wanted arrays from what it returns.

    Args:
        path: The file or folder.
        file: How messages name it.
        wanted: Names of the arrays.
        loader: The party's function; takes the path as a string.

    Raises:
        DataInvalid: if it returns anything but a mapping of arrays, or a wanted one is not there.
        ModelCodeFailed: if it raises.
        OSError: if there is nothing at the path.
    """
    path.stat()  # what is not there is told as such, not as a failure of the loader
    try:
        loaded = loader(str(path))
    except SplitTrainingError:
        raise
    except Exception as error:
        if is_allocation_failure(error):
            raise
        # The error's own text stays here: "could not convert string to float: 'Smith'" would travel to other parties.
        raise ModelCodeFailed(
            f"data.loader raised {type(error).__name__} for {file}{_render_place(error)}",
            remedy="repair the code at that line; the log of this party has the error's text",
        ) from error
    if not isinstance(loaded, Mapping) or not all(isinstance(name, str) for name in loaded):
        raise DataInvalid(f"data.loader returned {type(loaded).__name__} for {file}", allowed=_ALLOWED)
    return {name: _take(loaded, file, name) for name in wanted}


def _take(loaded: Mapping[str, object], file: str, name: str) -> Column:
    if name not in loaded:
        raise refuse_missing(file, name, list(loaded))
    given = loaded[name]
    values = parse_array(convert_to_numpy(given) if isinstance(given, torch.Tensor) else given)
    if values is None:
        raise DataInvalid(
            f"{file}, column {name!r}: data.loader returned no array of rows of numbers or texts"
            f" ({type(given).__name__})",
            allowed=_ALLOWED,
        )
    return Column(file, name, values, render_counted_row)


def _render_place(error: Exception) -> str:
    """Renders the deepest line in the file that the loader itself stands in."""
    place = None if error.__traceback__ is None else error.__traceback__.tb_next
    if place is None:
        return ""
    file, line = place.tb_frame.f_code.co_filename, place.tb_lineno
    while place is not None:
        if place.tb_frame.f_code.co_filename == file:
            line = place.tb_lineno
        place = place.tb_next
    return f" at {file}, line {line}"
