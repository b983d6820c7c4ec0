"""The party's own loader: what it may return, and how its failures are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from splittraining.api.errors import DataInvalid, ModelCodeFailed
from splittraining.api.wire_plan import DType
from support.data_support import CANARY, AParty


def test_arrays_and_tensors_are_taken_by_name(tmp_path: Path) -> None:
    seen = []

    def load(path: str) -> dict[str, Any]:
        seen.append(path)
        return {"a": torch.tensor([1.0, 2.0], requires_grad=True), "b": np.array([3, 4]), "id": np.array(["p", "q"])}

    dataset = AParty(tmp_path).with_loader(load).with_input("a", "b", shape=(2,)).with_ids("id").load()
    assert seen == [str(tmp_path / "train.npz")]
    assert dataset.inputs["x"].tolist() == [[1, 3], [2, 4]]
    assert not dataset.inputs["x"].requires_grad


def test_a_tensor_that_numpy_has_no_type_for_is_taken_too(tmp_path: Path) -> None:
    tensor = torch.tensor([0.5, 1.5], dtype=torch.bfloat16)
    party = AParty(tmp_path).with_loader(lambda _: {"a": tensor}).with_input("a", dtype=DType.BFLOAT16)
    assert torch.equal(party.load().inputs["x"], tensor)


def test_a_loader_that_raises_is_told_with_its_line_and_without_its_text(tmp_path: Path) -> None:
    def load(_: str) -> dict[str, Any]:
        return {"a": np.array([float(CANARY)])}

    with pytest.raises(ModelCodeFailed) as failed:
        AParty(tmp_path).with_loader(load).with_input("a").load()
    line = load.__code__.co_firstlineno + 1
    assert f"data.loader raised ValueError for train.npz at {__file__}, line {line}" in str(failed.value)
    assert CANARY not in str(failed.value)
    assert CANARY in str(failed.value.__cause__)


@pytest.mark.parametrize("returned", [None, [1, 2], {1: np.ones(2)}, {"a": [1.0, 2.0]}, {"a": None}], ids=str)
def test_anything_but_a_mapping_of_arrays_is_refused(tmp_path: Path, returned: object) -> None:
    with pytest.raises(DataInvalid, match=r"data\.loader returned .*a mapping from column names to NumPy arrays"):
        AParty(tmp_path).with_loader(lambda _: returned).with_input("a").load()


def test_a_column_that_is_not_returned_is_told_with_near_names(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match="did you mean 'image'"):
        AParty(tmp_path).with_loader(lambda _: {"image": np.ones(2)}).with_input("imagee").load()


def test_a_missing_file_is_told_before_the_loader_is_called(tmp_path: Path) -> None:
    def load(_: str) -> dict[str, Any]:
        raise AssertionError("called")

    with pytest.raises(DataInvalid, match="cannot be read: No such file"):
        AParty(tmp_path).with_loader(load).at("absent").with_input("a").load()
