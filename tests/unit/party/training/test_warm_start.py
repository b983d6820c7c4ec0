"""First weights from a file: by digest, without pickle, and only what fits."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from splittraining.api.errors import ContractMismatch, DataInvalid
from splittraining.api.resource import parse_split_training
from splittraining.api.spec.warm_start import WarmStartSpec
from splittraining.party.training.share import ModelShare
from splittraining.party.training.warm_start import load_warm_start
from splittraining.plan.contracts import build_contract
from support import small_models
from support.cases import a_vanilla_case

OWN = {"bottom.weight": torch.zeros(2, 3), "bottom.bias": torch.zeros(2)}
KNOWN = [*OWN, "top.weight"]
WHOLE = {"bottom.weight": torch.ones(2, 3), "bottom.bias": torch.ones(2), "top.weight": torch.ones(4)}


def write(folder: Path, tensors: Mapping[str, Tensor]) -> str:
    save_file(dict(tensors), folder / "first.safetensors")
    return digest_of(folder)


def digest_of(folder: Path) -> str:
    return "sha256:" + hashlib.sha256((folder / "first.safetensors").read_bytes()).hexdigest()


def load(folder: Path, digest: str, *parameters: str) -> dict[str, Tensor]:
    spec = WarmStartSpec(path="first.safetensors", digest=digest, parameters=parameters)
    return load_warm_start(spec, str(folder), own=OWN, known=KNOWN)


def test_a_party_takes_what_it_owns_from_a_file_of_the_whole_model(tmp_path: Path) -> None:
    taken = load(tmp_path, write(tmp_path, WHOLE))
    assert taken.keys() == OWN.keys()
    assert all(torch.equal(tensor, WHOLE[name]) for name, tensor in taken.items())


def test_a_party_takes_only_what_its_patterns_name(tmp_path: Path) -> None:
    digest = write(tmp_path, {"bottom.weight": torch.ones(2, 3)})
    assert load(tmp_path, digest, "*.weight").keys() == {"bottom.weight"}
    with pytest.raises(DataInvalid, match=r"'top\.\*' matches nothing that this party owns"):
        load(tmp_path, digest, "top.*")


def test_another_file_than_the_contract_names_is_refused(tmp_path: Path) -> None:
    write(tmp_path, WHOLE)
    with pytest.raises(ContractMismatch, match="sha256:0000"):
        load(tmp_path, "sha256:" + "0" * 64)


def start_a_server(folder: Path, digest: str, *parameters: str) -> ModelShare:
    """The server's share of the Vanilla case, which starts from a file."""
    contract = build_contract(parse_split_training(a_vanilla_case().documents()[0]), source_digest="")
    source_path = str(Path(small_models.__file__).parent)
    share = ModelShare(contract, owner="server", source_path=source_path, device=torch.device("cpu"))
    share.start_from(WarmStartSpec(path="first.safetensors", digest=digest, parameters=parameters), str(folder))
    return share


def test_a_server_starts_from_a_pretrained_top_and_keeps_what_it_does_not_take(tmp_path: Path) -> None:
    whole = {name: torch.full_like(tensor, 0.5) for name, tensor in a_vanilla_case().build_model().state_dict().items()}
    digest = write(tmp_path, whole)
    taken = start_a_server(tmp_path, digest)
    assert taken.parameters.keys() == {name for name in whole if name.startswith("top.")}
    assert all(torch.equal(parameter, whole[name]) for name, parameter in taken.parameters.items())
    partly = start_a_server(tmp_path, digest, "*.bias")
    assert {name for name, tensor in partly.parameters.items() if torch.equal(tensor, whole[name])} == {
        name for name in taken.parameters if name.endswith(".bias")
    }


def test_what_a_server_cannot_start_from_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataInvalid, match=r"first\.safetensors cannot be read: No such file .* warmStart\.volume names"
    ):
        start_a_server(tmp_path, "sha256:" + "0" * 64)
    digest = write(tmp_path, {"bottom.0.weight": torch.ones(1)})
    with pytest.raises(DataInvalid, match=r"first\.safetensors lacks top\..* under warmStart\.parameters"):
        start_a_server(tmp_path, digest)
    with pytest.raises(DataInvalid, match=r"warmStart\.parameters: 'bottom\.\*' matches nothing .* top\."):
        start_a_server(tmp_path, digest, "bottom.*")
    with pytest.raises(ContractMismatch, match=r"has digest .* the file that the contract names, sha256:0000"):
        start_a_server(tmp_path, "sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({"bottom.weight": torch.ones(2, 3)}, "lacks bottom.bias"),
        ({**WHOLE, "bottom.wieght": torch.ones(1)}, "holds bottom.wieght, which the model has not"),
        ({**WHOLE, "bottom.bias": torch.ones(3)}, "bottom.bias has shape"),
        ({**WHOLE, "bottom.bias": torch.ones(2, dtype=torch.float64)}, "of torch.float64"),
    ],
    ids=["a missing name", "an unknown name", "another shape", "another dtype"],
)
def test_what_does_not_fit_is_refused(tensors: dict[str, Tensor], told: str, tmp_path: Path) -> None:
    digest = write(tmp_path, tensors)
    with pytest.raises(DataInvalid) as refused:
        load(tmp_path, digest)
    assert told in str(refused.value)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "first.safetensors").write_bytes(pickle.dumps({"bottom.bias": 1}))
    with pytest.raises(DataInvalid, match="cannot be read as safetensors"):
        load(tmp_path, digest_of(tmp_path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match=r"first\.safetensors cannot be read: No such file"):
        load(tmp_path, "sha256:" + "0" * 64)
