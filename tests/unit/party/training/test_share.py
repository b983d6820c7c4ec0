"""One owner's share of a model: what it holds, how its first weights are drawn, and how it travels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from splittraining.api.contract import Contract
from splittraining.api.errors import ContractMismatch, ProtocolViolation
from splittraining.api.resource import parse_split_training
from splittraining.party.training.share import ModelShare
from splittraining.plan.contracts import build_contract
from support import small_models
from support.cases import MOMENTUM, Case, a_u_shaped_case

SOURCE = str(Path(small_models.__file__).parent)


def a_case() -> Case:
    return a_u_shaped_case(optimizer=MOMENTUM)


def a_contract(case: Case) -> Contract:
    return build_contract(parse_split_training(case.documents()[0]), source_digest="")


def a_share(owner: str = "client", case: Case | None = None) -> ModelShare:
    contract = a_contract(case or a_case())
    return ModelShare(contract, owner=owner, source_path=SOURCE, device=torch.device("cpu"))


def copy_weights(share: ModelShare) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in share.parameters.items()}


def are_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def train_a_little(share: ModelShare) -> None:
    for _ in range(2):
        for parameter in share.parameters.values():
            parameter.grad = torch.ones_like(parameter)
        share.optimizer.step()


def test_the_owners_share_the_model_and_no_weight() -> None:
    client, server = a_share("client"), a_share("server")
    assert not client.parameters.keys() & server.parameters.keys()
    assert client.parameters.keys() | server.parameters.keys() == dict(a_case().build_model().named_parameters()).keys()


def test_clients_that_share_a_secret_draw_the_same_first_weights_and_nobody_else_does() -> None:
    public = copy_weights(a_share())
    first, second, other = a_share(), a_share(), a_share()
    first.initialize(123)
    second.initialize(123)
    other.initialize(124)
    assert are_equal(copy_weights(first), copy_weights(second))
    assert not are_equal(copy_weights(first), public)
    assert not are_equal(copy_weights(first), copy_weights(other))


def test_a_share_goes_on_elsewhere_as_if_it_had_never_moved() -> None:
    stays, leaves, arrives = a_share(), a_share(), a_share()
    train_a_little(stays)
    train_a_little(leaves)
    data = leaves.export_state(step=2, weights_only=False)
    assert len(data) <= arrives.count_state_bytes()
    arrives.import_state(data)
    train_a_little(stays)
    train_a_little(arrives)
    assert are_equal(copy_weights(stays), copy_weights(arrives))


def test_weights_alone_leave_no_optimizer_state_behind() -> None:
    trained, evaluates = a_share(), a_share()
    train_a_little(trained)
    train_a_little(evaluates)
    evaluates.import_state(trained.export_state(step=2, weights_only=True))
    assert are_equal(copy_weights(trained), copy_weights(evaluates))
    assert not evaluates.optimizer.state


def test_another_owners_state_is_refused() -> None:
    with pytest.raises(ProtocolViolation, match="lacks the parameters"):
        a_share("client").import_state(a_share("server").export_state(step=1, weights_only=True))


def test_a_pinned_wire_plan_is_held_to() -> None:
    derived = a_share().wire_plan.compute_digest()

    def pin(digest: str) -> Case:
        def change(spec: dict[str, Any]) -> None:
            spec["model"]["wirePlanDigest"] = digest

        return a_case().changed(change)

    assert a_share(case=pin(derived)).wire_plan.compute_digest() == derived
    with pytest.raises(ContractMismatch, match="plan --pin"):
        a_share(case=pin("sha256:" + "0" * 64))


def test_what_is_written_is_the_owners_alone(tmp_path: Path) -> None:
    share = a_share("server")
    digest = share.write_result(
        tmp_path, party="server", contract_digest="sha256:1", generation=1, step=3, round_number=2
    )
    assert digest.startswith("sha256:")
    assert {path.name for path in tmp_path.iterdir()} == {"segments.safetensors", "manifest.json"}
