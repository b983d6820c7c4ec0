"""Parquet files: what is read, and what is refused with file, column and row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from splittraining.api.errors import DataInvalid
from splittraining.api.spec.data import DataFormat
from splittraining.api.wire_plan import DType
from support.data_support import CANARY, AParty


def a_party(root: Path, columns: dict[str, Any], **options: Any) -> AParty:
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    parquet.write_table(table, root / "train.parquet", **options)
    return AParty(root).at("train.parquet").with_format(DataFormat.PARQUET)


def test_numbers_booleans_and_texts_are_read_in_the_order_of_the_file(tmp_path: Path) -> None:
    columns = {
        "a": [1.5, 2.5, 3.5],
        "b": [True, False, True],
        "y": pa.array([2, 0, 1], pa.int8()),
        "i": ["r", "p", "q"],
    }
    party = a_party(tmp_path, columns, row_group_size=1)
    dataset = party.with_input("a", "b", shape=(2,)).with_label("y").with_ids("i").load()
    assert dataset.inputs["x"].tolist() == [[1.5, 1], [2.5, 0], [3.5, 1]]
    assert dataset.label is not None
    assert (dataset.label.tolist(), dataset.label.dtype) == ([2, 0, 1], torch.int64)
    assert dataset.ids == ("r", "p", "q")


def test_lists_of_equal_length_make_rows_of_the_declared_shape(tmp_path: Path) -> None:
    images = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    loose = pa.array(images.tolist(), pa.list_(pa.list_(pa.float32())))
    fixed = pa.array(images.tolist(), pa.list_(pa.list_(pa.float32(), 4), 3))
    for column in (loose, fixed):
        party = a_party(tmp_path, {"image": column}).with_input("image", shape=(3, 4))
        assert torch.equal(party.load().inputs["x"], torch.from_numpy(images))


def test_a_column_stored_as_a_dictionary_is_what_it_stands_for(tmp_path: Path) -> None:
    columns = {"a": pa.array([7, 8, 7]).dictionary_encode(), "i": pa.array(["r", "p", "q"]).dictionary_encode()}
    dataset = a_party(tmp_path, columns).with_input("a", dtype=DType.INT32).with_ids("i").load()
    assert (dataset.inputs["x"].tolist(), dataset.ids) == ([7, 8, 7], ("r", "p", "q"))


def test_a_missing_column_is_told_with_near_names(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match=r"train\.parquet has no column 'imgae'.*did you mean 'image'"):
        a_party(tmp_path, {"image": [1.0], "age": [2.0]}).with_input("imgae").load()


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["a", "a"])
    with pytest.raises(DataInvalid, match="has 2 columns 'a'"):
        a_party(tmp_path, table).with_input("a").load()


@pytest.mark.parametrize("column", [[1.0, 2.0, None], [[1.0], [2.0], None], [[1.0], [2.0], [None]]], ids=str)
def test_a_gap_is_told_with_its_row(tmp_path: Path, column: list[Any]) -> None:
    with pytest.raises(DataInvalid, match=r"column 'a', row 2, counted from 0: the cell is empty \(null\)"):
        a_party(tmp_path, {"a": column}).with_input("a").load()


def test_lists_of_unequal_length_are_told_with_the_row(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match="column 'a', row 1, counted from 0: its lists are not equally long"):
        a_party(tmp_path, {"a": [[[1.0, 2.0]], [[1.0]]]}).with_input("a", shape=(1, 2)).load()


@pytest.mark.parametrize(
    "column",
    [
        pa.array([CANARY.encode()]),
        pa.array([{"name": CANARY}]),
        pa.array([1], pa.timestamp("s")),
        pa.array([1], pa.decimal128(5)),
        pa.array([None]),
    ],
    ids=["bytes", "records", "dates", "decimals", "nothing"],
)
def test_what_makes_no_numbers_is_refused_and_never_shown(tmp_path: Path, column: pa.Array) -> None:
    with pytest.raises(DataInvalid, match=r"train\.parquet, column 'a'") as refused:
        a_party(tmp_path, {"a": column}).with_input("a").load()
    assert CANARY not in str(refused.value)


def test_texts_are_no_input(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match="column 'a': it holds texts") as refused:
        a_party(tmp_path, {"a": [CANARY]}).with_input("a").load()
    assert CANARY not in str(refused.value)


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match="has no rows"):
        a_party(tmp_path, {"a": pa.array([], pa.float32())}).with_input("a").load()
    with pytest.raises(DataInvalid, match="has no rows"):
        a_party(tmp_path, {"a": pa.array([], pa.list_(pa.float32()))}).with_input("a", shape=(1,)).load()


@pytest.mark.parametrize("cut_at", [0, 10, 200, -10], ids=str)
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, cut_at: int) -> None:
    party = a_party(tmp_path, {"a": np.arange(100.0)}).with_input("a")
    whole = (tmp_path / party.path).read_bytes()
    with pytest.raises(DataInvalid, match=r"train\.parquet cannot be read as Parquet"):
        party.with_bytes(whole[:cut_at]).load()


def test_a_file_that_is_not_there_is_told_with_its_volume(tmp_path: Path) -> None:
    party = a_party(tmp_path, {"a": [1.0]}).at("absent.parquet")
    with pytest.raises(DataInvalid, match=r"absent\.parquet in volume 'xrays' cannot be read: No such file"):
        party.with_input("a").load()
