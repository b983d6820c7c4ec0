"""Reads CSV: UTF-8, commas, one line with the names of the columns, then one line per row."""

from __future__ import annotations

import csv
import difflib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

from splittraining.api.errors import DataInvalid
from splittraining.party.data.table import Column, refuse_missing


class CsvTable:
    """A CSV file. Only the columns asked for are kept.

    Args:
        path: The file.
        file: How messages name it.
        wanted: The columns that will be read.

    Raises:
        DataInvalid: if it is no CSV file, a line has another number of cells than the first, or a column is missing.
    """

    def __init__(self, path: Path, file: str, wanted: Sequence[str]) -> None:
        self._file = file
        self._texts: dict[str, list[str]] = {name: [] for name in wanted}
        self._lines = array("Q")
        # utf-8-sig: spreadsheet programs put a byte order mark in front, which would become part of the first name.
        with path.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.reader(opened, strict=True)
            try:
                self._read(reader)
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

    def read(self, name: str) -> Column:
        """Returns one column."""
        return Column(self._file, name, self._texts[name], lambda row: f"line {self._lines[row]}")

    def _read(self, reader: Iterator[list[str]]) -> None:
        header = next(reader, None)
        if not header:
            raise DataInvalid(f"{self._file} is empty", allowed="a first line with the names of the columns")
        places = [(self._texts[name], self._find(header, name)) for name in self._texts]
        blank_line = 0
        for cells in reader:
            line: int = reader.line_num  # type: ignore[attr-defined]  # typeshed's name of the reader is private
            if not cells:
                blank_line = blank_line or line
                continue
            if blank_line or len(cells) != len(header):
                raise self._refuse_line(blank_line or line, 0 if blank_line else len(cells), len(header))
            self._lines.append(line)
            for texts, place in places:
                texts.append(cells[place])

    def _find(self, header: list[str], name: str) -> int:
        if name not in header:
            # A file without a header has a patient there: names are shown only where the line is surely a header.
            is_header = any(difflib.get_close_matches(wanted, header, n=1) for wanted in self._texts)
            raise refuse_missing(self._file, name, header, listable=is_header)
        if header.count(name) > 1:
            raise DataInvalid(
                f"{self._file} has {header.count(name)} columns {name!r}", allowed="one", remedy="rename the others"
            )
        return header.index(name)

    def _refuse_line(self, line: int, num_cells: int, num_columns: int) -> DataInvalid:
        return DataInvalid(
            f"{self._file}, line {line}: it has {num_cells} cells",
            allowed=f"{num_columns}, as many as the first line names",
            remedy="repair the line; a cell with a comma in it needs quotes around it",
        )
