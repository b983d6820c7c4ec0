"""Turns columns into tensors of the declared element type, where nothing is lost but a float's last digits.

Whole numbers stay whole numbers: a float never becomes one silently, since 0.9999999 would be class 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from splittraining.api.errors import DataInvalid
from splittraining.api.wire_plan import DType
from splittraining.party.data.table import Column
from splittraining.party.dtypes import TORCH_DTYPES

_NUMPY_DTYPES: dict[DType, type[np.generic]] = {
    DType.FLOAT64: np.float64,
    DType.FLOAT32: np.float32,
    DType.FLOAT16: np.float16,
    DType.BFLOAT16: np.float32,  # NumPy has none: through float32
    DType.INT64: np.int64,
    DType.INT32: np.int32,
    DType.INT16: np.int16,
    DType.INT8: np.int8,
    DType.UINT8: np.uint8,
    DType.BOOL: np.bool_,
}
_BOOLEANS = {"0": False, "1": True, "false": False, "true": True}


def convert_column(column: Column, dtype: DType) -> torch.Tensor:
    """Converts a column to a declared element type.

    Raises:
        DataInvalid: if a value is not a number, not finite, out of range, or would lose its value.
    """
    values = _parse_texts(column, dtype)
    numpy_dtype, torch_dtype = _NUMPY_DTYPES[dtype], TORCH_DTYPES[dtype]
    if values.dtype.kind == "f":
        _check_finite(column, values)
        if not torch_dtype.is_floating_point:
            raise column.refuse(
                f"it holds floats ({values.dtype}), the manifest says {dtype}",
                allowed="whole numbers, or a float dtype in the manifest",
                remedy=f"write the column as whole numbers, or declare Float32 instead of {dtype}",
            )
    else:
        _check_range(column, values, *_find_range(dtype), dtype)
    with np.errstate(over="ignore"):  # found below, with its row
        converted = np.require(values, numpy_dtype, ["C", "W"])
    tensor = torch.from_numpy(converted).to(torch_dtype)
    if torch_dtype.is_floating_point and not bool(torch.isfinite(tensor).all()):
        row = _find_row(~torch.isfinite(tensor).numpy())
        raise column.refuse(
            f"a number is too large for {dtype}", row=row, remedy="scale the column, or declare Float64"
        )
    return tensor


def convert_to_numpy(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """Returns a tensor's numbers as NumPy holds them: it has no bfloat16, and float32 holds all of its numbers."""
    held = tensor.detach().cpu()
    array: npt.NDArray[Any] = (held.float() if held.dtype is torch.bfloat16 else held).numpy()
    return array


def _parse_texts(column: Column, dtype: DType) -> npt.NDArray[Any]:
    values = column.values
    if isinstance(values, np.ndarray):
        if values.dtype.kind in "US":
            raise column.refuse("it holds texts", allowed="numbers", remedy="write the column as an array of numbers")
        return values
    if dtype is DType.BOOL:
        return np.array([_parse_boolean(column, row, text) for row, text in enumerate(values)], dtype=np.bool_)
    is_float = TORCH_DTYPES[dtype].is_floating_point
    parse: type[float | int] = float if is_float else int
    if not _is_plain("".join(values)):
        raise _refuse_text(column, values, parse)
    try:
        parsed = [parse(text) for text in values]
    except ValueError:
        raise _refuse_text(column, values, parse) from None
    if is_float:
        return np.array(parsed, dtype=np.float64)
    row = next((row for row, number in enumerate(parsed) if not -(2**63) <= number < 2**63), None)
    if row is not None:
        raise column.refuse(f"a number is out of range for {dtype}", row=row)
    return np.array(parsed, dtype=np.int64)


def _parse_boolean(column: Column, row: int, text: str) -> bool:
    found = _BOOLEANS.get(text.strip().lower())
    if found is None:
        raise column.refuse("the cell is no Bool", row=row, allowed="0, 1, true or false")
    return found


def _is_plain(text: str) -> bool:
    """Returns whether Python reads the text as other programs do: it also takes 1_000 and other scripts' digits."""
    return text.isascii() and "_" not in text


def _is_number(text: str, parse: type[float | int]) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return _is_plain(text)


def _refuse_text(column: Column, texts: list[str], parse: type[float | int]) -> DataInvalid:
    """Finds the first text that is no number and says where it stands, not what it is."""
    allowed = "a number such as -1.5e3, with a point for the decimals" if parse is float else "a whole number"
    row = next(row for row, text in enumerate(texts) if not _is_number(text, parse))
    if not texts[row].strip():
        return column.refuse("the cell is empty", row=row, allowed=allowed, remedy="fill the gap, or leave the row out")
    return column.refuse(
        f"the cell is no {'number' if parse is float else 'whole number'}",
        row=row,
        allowed=allowed,
        remedy="correct the cell, or name another column",
    )


def _check_finite(column: Column, values: npt.NDArray[Any]) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        raise column.refuse(
            "it holds NaN or infinity",
            row=_find_row(~finite),
            allowed="finite numbers",
            remedy="fill the gap, or leave the row out",
        )


def _find_range(dtype: DType) -> tuple[int, int]:
    """Returns the whole numbers that a type holds exactly."""
    torch_dtype = TORCH_DTYPES[dtype]
    if torch_dtype is torch.bool:
        return 0, 1
    if torch_dtype.is_floating_point:
        # eps is 2^-(digits - 1) of the significand, so all whole numbers up to 2^digits are exact.
        limit = round(2 / torch.finfo(torch_dtype).eps)
        return -limit, limit
    return torch.iinfo(torch_dtype).min, torch.iinfo(torch_dtype).max


def _check_range(column: Column, values: npt.NDArray[Any], low: int, high: int, dtype: DType) -> None:
    if values.dtype.kind == "b" or values.size == 0:
        return
    if int(values.min()) < low or int(values.max()) > high:
        # Python's comparison is exact where NumPy would first convert the bounds to the array's type.
        outside = np.array([not low <= int(number) <= high for number in values.reshape(-1)]).reshape(values.shape)
        raise column.refuse(
            f"a whole number is out of range for {dtype}",
            row=_find_row(outside),
            allowed=f"{low} to {high}",
            remedy="correct the row, or declare a larger dtype",
        )


def _find_row(wrong: npt.NDArray[np.bool_]) -> int:
    return int(np.argmax(wrong.reshape(len(wrong), -1).any(axis=1)))
