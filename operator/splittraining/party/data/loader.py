"""Reads files by the party's own function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from splittraining.api.errors import DataInvalid, ModelCodeFailed, SplitTrainingError
from splittraining.party.data.table import Column, make_array, refuse_missing, render_counted_row

_ALLOWED = "a mapping from column names to NumPy arrays or tensors, each with one row per record"


class LoadedTable:
    """What the party's own loader returned for a file.

    Args:
        path: The file or folder.
        file: How messages name it.
        loader: The party's function; takes the path as a string.

    Raises:
        DataInvalid: if it returns anything but a mapping of arrays.
        ModelCodeFailed: if it raises.
    """

    def __init__(self, path: Path, file: str, loader: Callable[[str], Any]) -> None:
        self._file = file
        try:
            loaded = loader(str(path))
        except (SplitTrainingError, MemoryError):
            raise
        except Exception as error:
            # The error's own text stays here: "could not convert string to float: 'Smith'" would travel to others.
            raise ModelCodeFailed(
                f"data.loader raised {type(error).__name__} for {file}{_render_place(error)}",
                remedy="repair the code at that line; the party's own log has the error's text",
            ) from error
        if not isinstance(loaded, Mapping) or not all(isinstance(name, str) for name in loaded):
            raise DataInvalid(f"data.loader returned {type(loaded).__name__} for {file}", allowed=_ALLOWED)
        self._loaded = loaded

    def read(self, name: str) -> Column:
        """Returns one array."""
        if name not in self._loaded:
            raise refuse_missing(self._file, name, list(self._loaded))
        given = self._loaded[name]
        values = make_array(_to_numpy(given) if isinstance(given, torch.Tensor) else given)
        if values is None:
            raise DataInvalid(
                f"{self._file}, column {name!r}: data.loader returned no array of rows of numbers or texts"
                f" ({type(given).__name__})",
                allowed=_ALLOWED,
            )
        return Column(self._file, name, values, render_counted_row)


def _to_numpy(tensor: torch.Tensor) -> Any:
    held = tensor.detach().cpu()
    return (held.float() if held.dtype is torch.bfloat16 else held).numpy()  # NumPy has no bfloat16; float32 holds it


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
