"""NPZ files: what is read, and what is refused with file, column and row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from splittraining.api.errors import DataInvalid
from splittraining.api.spec.model import InputSpec
from splittraining.api.wire_plan import DType
from support.data_support import CANARY, AParty


def test_one_array_of_the_declared_shape_becomes_the_input(tmp_path: Path) -> None:
    images = np.arange(2 * 1 * 3 * 3, dtype=np.float32).reshape(2, 1, 3, 3)
    party = AParty(tmp_path).with_npz(image=images, finding=np.array([1, 0])).with_input("image", shape=(1, 3, 3))
    dataset = party.with_label("finding").load()
    assert torch.equal(dataset.inputs["x"], torch.from_numpy(images))
    assert dataset.label is not None
    assert dataset.label.tolist() == [1, 0]
    assert (dataset.label.dtype, dataset.num_rows, dataset.ids) == (torch.int64, 2, None)


def test_several_columns_are_stacked_in_the_order_listed_and_shaped_as_declared(tmp_path: Path) -> None:
    party = AParty(tmp_path).with_npz(a=np.array([1, 2]), b=np.array([[3], [4]]), c=np.array([5, 6]), d=np.ones(2))
    dataset = party.with_input("c", "a", "b", "d", shape=(2, 2)).load()
    assert dataset.inputs["x"].tolist() == [[[5, 1], [3, 1]], [[6, 2], [4, 1]]]


def test_only_the_inputs_that_the_party_names_are_read(tmp_path: Path) -> None:
    party = AParty(tmp_path).with_npz(a=np.ones(3)).with_input("a")
    others = [InputSpec(name="other", dtype=DType.FLOAT32, shape=(9,))]
    assert list(party.load(extra_inputs=others).inputs) == ["x"]


@pytest.mark.parametrize("values", [np.array(["b", "a"]), np.array([[7], [9]])], ids=["texts", "whole numbers"])
def test_ids_are_texts(tmp_path: Path, values: np.ndarray) -> None:
    dataset = AParty(tmp_path).with_npz(a=np.ones(2), patient=values).with_input("a").with_ids("patient").load()
    assert dataset.ids == tuple(str(value) for value in values.reshape(-1))


def test_taken_rows_come_in_the_order_asked_for(tmp_path: Path) -> None:
    party = AParty(tmp_path).with_npz(
        a=np.array([10.0, 11.0, 12.0]), y=np.array([0, 1, 2]), i=np.array(["p", "q", "r"])
    )
    batch = party.with_input("a").with_label("y").with_ids("i").load().take(np.array([2, 0]))
    assert batch.inputs["x"].tolist() == [12, 10]
    assert batch.label is not None
    assert batch.label.tolist() == [2, 0]
    assert (batch.ids, batch.num_rows) == (("r", "p"), 2)


def test_a_missing_column_is_told_with_near_names_and_those_there_are(tmp_path: Path) -> None:
    party = AParty(tmp_path).with_npz(image=np.ones(2), finding=np.ones(2)).with_input("imgae")
    with pytest.raises(DataInvalid) as refused:
        party.load()
    assert str(refused.value) == (
        "train.npz has no column 'imgae'. Allowed: one of 'image', 'finding'. To do: did you mean 'image'?"
    )


def test_a_missing_file_is_told_with_its_volume(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match=r"absent\.npz in volume 'xrays' cannot be read: No such file"):
        AParty(tmp_path).at("absent.npz").with_input("a").load()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataInvalid, match="cannot be read: Is a directory"):
        AParty(tmp_path).at("folder").with_input("a").load()


def test_a_path_out_of_the_volume_is_refused(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    np.savez(tmp_path / "secret.npz", a=np.ones(2))
    with pytest.raises(DataInvalid, match="leaves the volume"):
        AParty(tmp_path / "volume").at("../secret.npz").with_input("a").load()


@pytest.mark.parametrize("cut_at", [0, 10, 200, -30], ids=str)
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, cut_at: int) -> None:
    party = AParty(tmp_path).with_npz(a=np.arange(100.0)).with_input("a")
    whole = (tmp_path / party.path).read_bytes()
    with pytest.raises(DataInvalid, match=r"train\.npz cannot be read as \.npz"):
        party.with_bytes(whole[:cut_at]).load()


def test_a_flipped_bit_is_found_by_the_checksum(tmp_path: Path) -> None:
    party = AParty(tmp_path).with_npz(a=np.arange(100.0)).with_input("a")
    damaged = bytearray((tmp_path / party.path).read_bytes())
    damaged[500] ^= 1
    with pytest.raises(DataInvalid, match="BadZipFile"):
        party.with_bytes(bytes(damaged)).load()


def test_a_pickled_array_is_refused_and_never_run(tmp_path: Path) -> None:
    party = AParty(tmp_path).with_npz(a=np.array([{"name": CANARY}, None], dtype=object)).with_input("a")
    with pytest.raises(DataInvalid, match="column 'a': it holds pickled Python objects") as refused:
        party.load()
    assert CANARY not in str(refused.value)


def test_a_single_array_without_a_name_is_refused(tmp_path: Path) -> None:
    party = AParty(tmp_path).at("train.npy").with_input("a")
    np.save(tmp_path / "train.npy", np.ones(3))
    with pytest.raises(DataInvalid, match="one array without a name"):
        party.load()


def test_a_single_number_is_no_column(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match="column 'a': not an array of rows"):
        AParty(tmp_path).with_npz(a=np.float32(3)).with_input("a").load()


def test_rows_of_another_shape_than_declared_are_refused(tmp_path: Path) -> None:
    party = AParty(tmp_path).with_npz(image=np.ones((2, 8, 8))).with_input("image", shape=(1, 8, 8))
    with pytest.raises(DataInvalid, match=r"column 'image': its rows have shape \[8, 8\].*rows of shape \[1, 8, 8\]"):
        party.load()


def test_too_few_columns_for_the_declared_shape_are_refused(tmp_path: Path) -> None:
    party = AParty(tmp_path).with_npz(a=np.ones(2), b=np.ones(2)).with_input("a", "b", shape=(3,))
    with pytest.raises(DataInvalid, match=r"2 columns of one number a row cannot make rows of shape \[3\]"):
        party.load()


def test_columns_of_different_lengths_are_refused(tmp_path: Path) -> None:
    party = AParty(tmp_path).with_npz(a=np.ones(3), y=np.array([0, 1])).with_input("a").with_label("y")
    with pytest.raises(DataInvalid, match="column 'y': it has 2 rows, column 'a' has 3"):
        party.load()


def test_an_empty_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match=r"train\.npz has no rows"):
        AParty(tmp_path).with_npz(a=np.ones((0, 4))).with_input("a", shape=(4,)).load()


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_told_with_its_row(tmp_path: Path, number: float) -> None:
    values = np.ones((5, 2))
    values[3, 1] = number
    with pytest.raises(DataInvalid, match="column 'a', row 3, counted from 0: it holds NaN or infinity"):
        AParty(tmp_path).with_npz(a=values).with_input("a", shape=(2,)).load()


def test_a_label_that_is_not_finite_is_refused_too(tmp_path: Path) -> None:
    party = AParty(tmp_path).with_npz(a=np.ones(2), y=np.array([0, np.nan])).with_input("a")
    with pytest.raises(DataInvalid, match="column 'y', row 1"):
        party.with_label("y", dtype=DType.FLOAT32).load()


def test_an_id_that_is_there_twice_is_told_by_rows_and_not_by_name(tmp_path: Path) -> None:
    party = AParty(tmp_path).with_npz(a=np.ones(3), i=np.array([CANARY, "b", CANARY])).with_input("a").with_ids("i")
    with pytest.raises(DataInvalid, match="'i', row 2, counted from 0: the same id as in row 0") as refused:
        party.load()
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [(np.array(["a", ""]), "row 1, counted from 0: the id is empty"), (np.array([1.0, 2.0]), "which are no ids")],
    ids=["empty", "floats"],
)
def test_values_that_are_no_ids_are_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    with pytest.raises(DataInvalid, match=message):
        AParty(tmp_path).with_npz(a=np.ones(2), i=values).with_input("a").with_ids("i").load()


def test_an_input_that_the_model_does_not_have_is_told_with_near_names(tmp_path: Path) -> None:
    party = AParty(tmp_path).with_npz(a=np.ones(2)).with_input("a", name="imagee")
    party._inputs[0] = (party._inputs[0][0], InputSpec(name="image", dtype=DType.FLOAT32, shape=()))
    with pytest.raises(DataInvalid, match="did you mean 'image'"):
        party.load()
