"""How many rows a Parquet file has, from its footer: a plan needs no more, and must not load a library for it.

Source: the Parquet format's FileMetaData (field 3 is `num_rows`) and Apache Thrift's compact protocol.
"""

from __future__ import annotations

import struct
from pathlib import Path

_MAGIC = b"PAR1"
_TAIL = struct.Struct("<I4s")
_LARGEST_BYTES = 64 * 2**20
_NUM_ROWS = 3
_I64, _BOOLEANS, _INTEGERS, _DOUBLE, _BINARY, _LISTS, _STRUCT = 6, (1, 2), (4, 5, 6), 7, 8, (9, 10), 12
_LONG_LIST = 15


def read_num_rows(path: Path) -> int:
    """Returns the number of rows that a Parquet file's footer names.

    Raises:
        ValueError: if it is no Parquet file, or its footer is not as the format says.
        OSError: if the file cannot be read.
    """
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(max(0, end - _TAIL.size))
        tail = file.read(_TAIL.size)
        if len(tail) != _TAIL.size:
            raise ValueError("too short for a Parquet file")
        length, magic = _TAIL.unpack(tail)
        if magic != _MAGIC or length > min(end - _TAIL.size, _LARGEST_BYTES):
            raise ValueError("not a Parquet file")
        file.seek(end - _TAIL.size - length)
        footer = _Compact(file.read(length))
    try:
        return footer.find_integer(_NUM_ROWS)
    except (IndexError, RecursionError) as error:
        raise ValueError("the footer is cut off") from error


class _Compact:
    """Reads Thrift's compact protocol as far as a footer needs it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def find_integer(self, wanted: int) -> int:
        """Returns a 64-bit field of the struct that begins here."""
        field = 0
        while (kind := self._read_header()) is not None:
            delta, kind_of = kind
            field = field + delta if delta else self._read_integer()
            if field == wanted and kind_of == _I64:
                return self._read_integer()
            self._skip(kind_of)
        raise ValueError("the footer names no number of rows")

    def _read_header(self) -> tuple[int, int] | None:
        byte = self._read_byte()
        return None if byte == 0 else divmod(byte, 16)

    def _read_byte(self) -> int:
        byte = self._data[self._place]
        self._place += 1
        return byte

    def _read_length(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self._read_byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follow
                return value
            shift += 7

    def _read_integer(self) -> int:
        folded = self._read_length()
        return (folded >> 1) ^ -(folded & 1)

    def _skip(self, kind: int) -> None:
        if kind in _BOOLEANS:
            return  # a field's type is its value
        if kind in _INTEGERS:
            self._read_length()
        elif kind == _BINARY:
            length = self._read_length()  # moves the place itself
            self._place += length
        elif kind == _STRUCT:
            while (header := self._read_header()) is not None:
                if header[0] == 0:
                    self._read_integer()
                self._skip(header[1])
        elif kind in _LISTS:
            size, item = divmod(self._read_byte(), 16)
            for _ in range(self._read_length() if size == _LONG_LIST else size):
                self._skip_item(item)
        else:
            self._place += {3: 1, _DOUBLE: 8}[kind]

    def _skip_item(self, kind: int) -> None:
        if kind in _BOOLEANS:
            self._place += 1  # in a list a boolean is a byte of its own
        else:
            self._skip(kind)
