"""Reads CSV: UTF-8, commas, one line with the names of the columns, then one line per row."""

from __future__ import annotations

import csv
import difflib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

from splittraining.api.errors import DataInvalid
from splittraining.party.data.table import Column, refuse_missing

_SURE_MATCH = 0.8
"""How near a cell must come to a column asked for, to show that its line is a header; 1 is equal."""


def read_csv(path: Path, file: str, wanted: Sequence[str]) -> dict[str, Column]:
    """Reads the wanted columns of a CSV file as texts.

    Args:
        path: The file.
        file: How messages name it.
        wanted: Names of the columns.

    Raises:
        DataInvalid: if it is no CSV file, a line has another number of cells than the first, or a column is missing.
        OSError: if the file cannot be read.
    """
    lines = array("Q")
    # utf-8-sig: spreadsheet programs put a byte order mark in front, which would become part of the first name.
    with path.open(encoding="utf-8-sig", newline="") as opened:
        reader = csv.reader(opened, strict=True)
        try:
            header = next(reader, None)
            if not header:
                raise DataInvalid(f"{file} is empty", allowed="a first line with the names of the columns")
            places = [_find(file, header, name, wanted) for name in wanted]
            texts: list[list[str]] = [[] for _ in wanted]
            for cells in _iterate_rows(reader, file, len(header)):
                lines.append(reader.line_num)
                for column, place in zip(texts, places, strict=True):
                    column.append(cells[place])
        except UnicodeDecodeError as error:
            raise DataInvalid(
                f"{file} is not UTF-8 after line {reader.line_num}",
                allowed="UTF-8 text",
                remedy="save it again with the encoding UTF-8",
            ) from error
        except csv.Error as error:
            raise DataInvalid(
                f"{file}, line {reader.line_num}: {error}",
                allowed='commas between cells, and "quotes" around a cell with a comma in it',
                remedy="repair the line, or write the file again with a CSV library",
            ) from error
    return {
        name: Column(file, name, column, lambda row: f"line {lines[row]}")
        for name, column in zip(wanted, texts, strict=True)
    }


def _iterate_rows(reader: Iterator[list[str]], file: str, num_columns: int) -> Iterator[list[str]]:
    """Yields lines with as many cells as the header; empty lines may stand at the end only."""
    num_blank = 0
    for cells in reader:
        if not cells:
            num_blank += 1
            continue
        if num_blank or len(cells) != num_columns:
            line: int = reader.line_num  # type: ignore[attr-defined]  # typeshed hides the reader's type
            given = "the line before it is empty" if num_blank else f"it has {len(cells)} cells"
            raise DataInvalid(
                f"{file}, line {line}: {given}",
                allowed=f"{num_columns} cells in every line, as many as the first line names",
                remedy="repair the line; a cell with a comma in it needs quotes around it",
            )
        yield cells


def _find(file: str, header: list[str], name: str, wanted: Sequence[str]) -> int:
    if name not in header:
        # A file without a header has a patient there: its cells are shown only where they are surely names.
        is_header = any(difflib.get_close_matches(column, header, n=1, cutoff=_SURE_MATCH) for column in wanted)
        raise refuse_missing(file, name, header, listable=is_header)
    if header.count(name) > 1:
        raise DataInvalid(
            f"{file} has {header.count(name)} columns {name!r}", allowed="one", remedy="rename the others"
        )
    return header.index(name)
