"""CSV files: what is read, and what is refused with file, column and line, but never with a cell's content."""

from __future__ import annotations

from pathlib import Path

import pytest

from splittraining.api.errors import DataInvalid
from splittraining.api.wire_plan import DType
from support.data_support import CANARY, AParty


def refuse(party: AParty) -> str:
    with pytest.raises(DataInvalid) as refused:
        party.load()
    assert CANARY not in str(refused.value)
    return str(refused.value)


def test_columns_are_taken_by_name_in_the_order_listed(tmp_path: Path) -> None:
    party = AParty(tmp_path).with_csv("id,b,a,y\np1,1.5,-2e1,0\np2, 3 ,.25,1\n")
    dataset = party.with_input("a", "b", shape=(2,)).with_label("y").with_ids("id").load()
    assert dataset.inputs["x"].tolist() == [[-20, 1.5], [0.25, 3]]
    assert dataset.label is not None
    assert dataset.label.tolist() == [0, 1]
    assert dataset.ids == ("p1", "p2")


def test_a_label_of_one_number_may_be_declared_with_an_axis_of_its_own(tmp_path: Path) -> None:
    party = (
        AParty(tmp_path).with_csv("a,y\n1,0\n2,1\n").with_input("a").with_label("y", dtype=DType.FLOAT32, shape=(1,))
    )
    label = party.load().label
    assert label is not None
    assert label.tolist() == [[0], [1]]


@pytest.mark.parametrize(
    "text",
    ["\ufeffa,y\r\n1,0\r\n2,1\r\n", 'a,"y"\n"1",0\n2,1', "a,y\n1,0\n2,1\n\n\n"],
    ids=["byte order mark and CRLF", "quotes and no last line end", "empty lines at the end"],
)
def test_what_spreadsheets_write_is_read(tmp_path: Path, text: str) -> None:
    dataset = AParty(tmp_path).with_csv(text).with_input("a").with_label("y").load()
    assert dataset.inputs["x"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        (CANARY, "the cell is no number"),
        ("", "the cell is empty"),
        ("  ", "the cell is empty"),
        ("1_000", "the cell is no number"),
        ("１２", "the cell is no number"),  # noqa: RUF001  # full-width digits, which Python's float() takes
        ("nan", "it holds NaN or infinity"),
        ("-inf", "it holds NaN or infinity"),
        ("1e999", "it holds NaN or infinity"),
        ("1e39", "a number is too large for Float32"),
    ],
)
def test_a_cell_that_is_no_number_is_told_with_column_and_line(tmp_path: Path, cell: str, what: str) -> None:
    message = refuse(AParty(tmp_path).with_csv(f"b,a\n1,2\n3,{cell}\n").with_input("a"))
    assert message.startswith(f"train.csv, column 'a', line 3: {what}.")


@pytest.mark.parametrize("cell", ["1.0", "1e3", "yes", CANARY])
def test_a_whole_number_is_written_as_one(tmp_path: Path, cell: str) -> None:
    message = refuse(AParty(tmp_path).with_csv(f"y\n{cell}\n").with_input("y", dtype=DType.INT64))
    assert message.startswith("train.csv, column 'y', line 2: the cell is no whole number.")


@pytest.mark.parametrize("cell", ["256", "-1", "9" * 30])
def test_a_whole_number_out_of_range_is_refused(tmp_path: Path, cell: str) -> None:
    message = refuse(AParty(tmp_path).with_csv(f"y\n0\n{cell}\n").with_input("y", dtype=DType.UINT8))
    assert message.startswith("train.csv, column 'y', line 3: a")
    assert "out of range for UInt8" in message


def test_booleans_are_zero_one_false_or_true(tmp_path: Path) -> None:
    party = AParty(tmp_path).with_csv("m\n0\n1\nTrue\nfalse\n").with_input("m", dtype=DType.BOOL)
    assert party.load().inputs["x"].tolist() == [False, True, True, False]
    assert "line 2: the cell is no Bool" in refuse(party.with_csv(f"m\n{CANARY}\n"))


def test_lines_are_counted_as_an_editor_does_also_after_a_cell_of_several(tmp_path: Path) -> None:
    message = refuse(AParty(tmp_path).with_csv(f'note,a\n"one\ntwo",1\nthree,{CANARY}\n').with_input("a"))
    assert "line 4" in message


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a,b\n1,2\n3\n", "train.csv, line 3: it has 1 cells"),
        ("a,b\n1,2,3\n", "train.csv, line 2: it has 3 cells"),
        ("a,b\n\n1,2\n", "train.csv, line 3: the line before it is empty"),
        ('a,b\n1,"2"x\n', "train.csv, line 2: ',' expected after '\"'"),
        ("", "train.csv is empty"),
        ("a,b\n", "train.csv has no rows"),
        ("a,a,b\n1,2,3\n", "train.csv has 2 columns 'a'"),
        (b"a,b\n1,2\n\xff\xfe,3\n", "train.csv is not UTF-8"),
    ],
    ids=["short line", "long line", "empty line", "stray quote", "empty file", "no rows", "name twice", "not UTF-8"],
)
def test_a_file_that_is_no_table_is_told_with_its_line(tmp_path: Path, text: str | bytes, what: str) -> None:
    assert refuse(AParty(tmp_path).with_csv(text).with_input("a", "b", shape=(2,))).startswith(what)


def test_a_missing_column_is_told_with_near_names_and_those_there_are(tmp_path: Path) -> None:
    message = refuse(AParty(tmp_path).with_csv("age,diagnosis\n1,0\n").with_input("age").with_label("diagnosys"))
    assert "has no column 'diagnosys'" in message
    assert "'age', 'diagnosis'" in message
    assert "did you mean 'diagnosis'?" in message


def test_a_file_without_a_header_does_not_have_its_first_patient_shown(tmp_path: Path) -> None:
    message = refuse(AParty(tmp_path).with_csv(f"{CANARY},male,54\nJones,male,60\n").with_input("age"))
    assert "has no column 'age'" in message
    assert "male" not in message


def test_a_table_of_thousands_of_columns_is_not_listed_whole(tmp_path: Path) -> None:
    header = ",".join(f"gene{index}" for index in range(5000))
    message = refuse(AParty(tmp_path).with_csv(f"{header}\n").with_input("gene1", "age", shape=(2,)))
    assert "and 4960 more" in message
    assert len(message) < 1000
