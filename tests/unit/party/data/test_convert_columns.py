"""Element types: what becomes what, and what would lose its value and is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from splittraining.api.errors import DataInvalid
from splittraining.api.wire_plan import DType
from splittraining.party.data.conversion import convert_column
from splittraining.party.data.table import Column, render_counted_row

TORCH_DTYPES = {
    DType.FLOAT64: torch.float64,
    DType.FLOAT32: torch.float32,
    DType.FLOAT16: torch.float16,
    DType.BFLOAT16: torch.bfloat16,
    DType.INT64: torch.int64,
    DType.INT32: torch.int32,
    DType.INT16: torch.int16,
    DType.INT8: torch.int8,
    DType.UINT8: torch.uint8,
    DType.BOOL: torch.bool,
}


def convert(values: Any, dtype: DType) -> torch.Tensor:
    return convert_column(Column("train.npz", "a", np.asarray(values), render_counted_row), dtype)


@pytest.mark.parametrize("dtype", DType)
def test_zeros_and_ones_of_any_whole_type_become_any_type(dtype: DType) -> None:
    for source in (np.bool_, np.uint8, np.int16, np.int64, np.dtype(">i4")):
        tensor = convert(np.array([0, 1, 1], dtype=source), dtype)
        assert tensor.dtype is TORCH_DTYPES[dtype]
        assert tensor.tolist() == [0, 1, 1]


@pytest.mark.parametrize("dtype", [DType.FLOAT64, DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16])
def test_floats_become_floats_rounded_as_torch_rounds(dtype: DType) -> None:
    values = np.array([0.1, -1 / 3, 2.5])
    assert torch.equal(convert(values, dtype), torch.from_numpy(values).float().to(TORCH_DTYPES[dtype])) or (
        dtype is DType.FLOAT64 and torch.equal(convert(values, dtype), torch.from_numpy(values))
    )


@pytest.mark.parametrize("dtype", [DType.INT64, DType.INT8, DType.BOOL])
def test_floats_never_become_whole_numbers_silently(dtype: DType) -> None:
    with pytest.raises(DataInvalid, match=rf"column 'a': it holds floats \(float64\), the manifest says {dtype}"):
        convert([0.0, 1.0], dtype)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0, 0, 128], DType.INT8),
        ([0, 0, -129], DType.INT8),
        ([0, 0, 2], DType.BOOL),
        ([0, 0, 2**24 + 1], DType.FLOAT32),
        ([0, 0, 2049], DType.FLOAT16),
        ([0, 0, 257], DType.BFLOAT16),
        (np.array([0, 0, 2**63], dtype=np.uint64), DType.INT64),
        (np.array([0, 0, -(2**63)], dtype=np.int64), DType.FLOAT64),
    ],
    ids=str,
)
def test_a_whole_number_that_would_change_is_told_with_its_row(values: Any, dtype: DType) -> None:
    with pytest.raises(DataInvalid, match=f"row 2, counted from 0: a whole number is out of range for {dtype}"):
        convert(values, dtype)


@pytest.mark.parametrize(
    ("number", "dtype"), [(70000.0, DType.FLOAT16), (3.4e38, DType.BFLOAT16), (1e39, DType.FLOAT32)]
)
def test_a_float_that_would_become_infinite_is_told_with_its_row(number: float, dtype: DType) -> None:
    with pytest.raises(DataInvalid, match=f"row 1, counted from 0: a number is too large for {dtype}"):
        convert([0.0, number], dtype)


@given(hnp.arrays(hnp.integer_dtypes(), st.integers(1, 4)), st.sampled_from(sorted(TORCH_DTYPES)))
def test_a_whole_number_is_kept_or_refused(values: np.ndarray, dtype: DType) -> None:
    try:
        tensor = convert(values, dtype)
    except DataInvalid:
        return
    assert [int(number) for number in tensor.tolist()] == values.tolist()


def test_texts_in_an_array_are_no_numbers() -> None:
    with pytest.raises(DataInvalid, match="column 'a': it holds texts"):
        convert(["1", "2"], DType.FLOAT32)


def test_an_array_that_may_not_be_written_is_copied() -> None:
    values = np.array([1.0, 2.0], dtype=np.float32)
    values.setflags(write=False)
    tensor = convert(values, DType.FLOAT32)
    tensor += 1
    assert values.tolist() == [1, 2]
