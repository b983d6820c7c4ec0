""".safetensors files: what is read, and what is refused with file and column."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from splittraining.api.errors import DataInvalid
from splittraining.api.spec.data import DataFormat
from splittraining.api.wire_plan import DType
from splittraining.party.dtypes import TORCH_DTYPES
from support.data_support import AParty


def a_party(root: Path, **tensors: torch.Tensor) -> AParty:
    save_file(tensors, root / "train.safetensors")
    return AParty(root).at("train.safetensors").with_format(DataFormat.SAFE_TENSORS)


@pytest.mark.parametrize("dtype", DType)
def test_every_element_type_of_the_wire_comes_back_as_it_was_written(tmp_path: Path, dtype: DType) -> None:
    written = torch.tensor([[0, 1], [1, 0]]).to(TORCH_DTYPES[dtype])
    dataset = a_party(tmp_path, a=written).with_input("a", dtype=dtype, shape=(2,)).load()
    assert dataset.inputs["x"].dtype is TORCH_DTYPES[dtype]
    assert torch.equal(dataset.inputs["x"], written)


def test_inputs_label_and_ids_come_from_tensors_of_one_length(tmp_path: Path) -> None:
    party = a_party(tmp_path, a=torch.ones(2, 1, 3), y=torch.tensor([1, 0]), i=torch.tensor([9, 7]))
    dataset = party.with_input("a", shape=(1, 3)).with_label("y").with_ids("i").load()
    assert dataset.label is not None
    assert (dataset.num_rows, dataset.label.tolist(), dataset.ids) == (2, [1, 0], ("9", "7"))


def test_a_number_that_is_not_finite_is_told_with_its_row(tmp_path: Path) -> None:
    values = torch.tensor([0.0, float("nan")], dtype=torch.bfloat16)
    with pytest.raises(DataInvalid, match="column 'a', row 1, counted from 0: it holds NaN"):
        a_party(tmp_path, a=values).with_input("a", dtype=DType.BFLOAT16).load()


def test_a_missing_tensor_is_told_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match=r"has no column 'imgae'. Allowed: one of 'age', 'image'"):
        a_party(tmp_path, image=torch.ones(1), age=torch.ones(1)).with_input("imgae").load()


@pytest.mark.parametrize(
    "tensor", [torch.tensor(3.0), torch.ones(2).to(torch.float8_e4m3fn), torch.ones(2, dtype=torch.complex64)], ids=str
)
def test_what_holds_no_rows_of_numbers_is_refused(tmp_path: Path, tensor: torch.Tensor) -> None:
    with pytest.raises(DataInvalid, match=r"train\.safetensors, column 'a': not an array of rows of numbers"):
        a_party(tmp_path, a=tensor).with_input("a").load()


@pytest.mark.parametrize("cut_at", [0, 4, 60, -3], ids=str)
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, cut_at: int) -> None:
    party = a_party(tmp_path, a=torch.arange(100.0)).with_input("a")
    whole = (tmp_path / party.path).read_bytes()
    with pytest.raises(DataInvalid, match=r"train\.safetensors cannot be read as \.safetensors"):
        party.with_bytes(whole[:cut_at]).load()


def test_a_header_that_promises_gigabytes_is_refused_before_any_is_asked_for(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
    party = a_party(tmp_path, a=torch.ones(1)).with_input("a")
    with pytest.raises(DataInvalid, match="cannot be read"):
        party.with_bytes(len(header).to_bytes(8, "little") + header).load()


def test_a_file_that_is_not_there_is_told_with_its_volume(tmp_path: Path) -> None:
    party = a_party(tmp_path, a=torch.ones(1)).at("absent.safetensors").with_input("a")
    with pytest.raises(DataInvalid, match=r"absent\.safetensors in volume 'xrays' cannot be read: No such file"):
        party.load()
