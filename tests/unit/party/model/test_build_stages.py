"""Each topology is a list of stages."""

from __future__ import annotations

from typing import Any

import pytest

from splittraining.api.contract import Contract, ContractParty, Role
from splittraining.api.errors import NotSupported, SpecInvalid
from splittraining.api.spec.data import DataInput, DataLabel
from splittraining.api.spec.model import CutPoint, InputSpec
from splittraining.api.wire_plan import DType
from splittraining.party.model.stages import StageSpec
from splittraining.party.model.topology import build_stages

LABEL = DataLabel(columns=("y",))


def contract(topology: str, *cuts: str, parties: tuple[ContractParty, ...] = ()) -> Contract:
    inputs = [InputSpec(name=name, dtype=DType.FLOAT32, shape=(2,)) for name in ("x", "y")]
    server = ContractParty(name="server", role=Role.SERVER, namespace="trial")
    document: dict[str, Any] = {
        "topology": topology,
        "model": {"entrypoint": "m:f", "inputs": inputs, "cutPoints": [CutPoint(layer=cut) for cut in cuts]},
        "training": {
            "batchSize": 4, "seed": 1, "loss": {"name": "CrossEntropy"},
            "optimizer": {"name": "SGD", "learningRate": "0.1"},
        },
        "schedule": {"mode": "Joint" if topology == "Vertical" else "Sequential"}
        | ({} if topology == "Vertical" else {"sequential": {"turn": {"unit": "Epoch", "length": 1}}}),
        "parties": parties or (server, party("a", "x", label=LABEL)),
    }  # fmt: skip
    return Contract.model_validate(document)


def party(name: str, *inputs: str, cut: str = "", label: DataLabel | None = None) -> ContractParty:
    return ContractParty(
        name=name,
        role=Role.SERVER if name == "server" else Role.CLIENT,
        namespace="trial",
        inputs=tuple(DataInput(name=item, columns=(item,)) for item in inputs),
        cut_points=(CutPoint(layer=cut),) if cut else (),
        label=label,
    )


def test_vanilla_is_client_then_server_and_the_client_has_the_labels() -> None:
    assert build_stages(contract("Vanilla", "low")) == (
        StageSpec("client", ("low",), ("x", "y"), holds_label=True), StageSpec("server"),
    )  # fmt: skip


def test_a_u_shape_ends_where_it_began() -> None:
    assert build_stages(contract("UShaped", "low", "high")) == (
        StageSpec("client", ("low",), ("x", "y")),
        StageSpec("server", ("high",)),
        StageSpec("client", (), ("x", "y"), holds_label=True),
    )


TOWERS = (party("a", "x", cut="left"), party("b", "y", cut="right"))
EXPECTED_TOWERS = (StageSpec("a", ("left",), ("x",)), StageSpec("b", ("right",), ("y",)))


def test_a_vertical_training_has_a_tower_for_each_client_with_inputs() -> None:
    parties = (party("server"), *TOWERS, party("registry", label=LABEL))

    assert build_stages(contract("Vertical", parties=parties)) == (
        *EXPECTED_TOWERS, StageSpec("server"), StageSpec("registry", receives_output=True, holds_label=True),
    )  # fmt: skip


def test_a_server_with_the_labels_computes_the_loss_itself() -> None:
    parties = (party("server", label=LABEL), *TOWERS)

    assert build_stages(contract("Vertical", parties=parties)) == (
        *EXPECTED_TOWERS, StageSpec("server", holds_label=True),
    )  # fmt: skip


def test_a_vertical_training_needs_exactly_one_label_holder() -> None:
    with pytest.raises(SpecInvalid, match="0 label holders"):
        build_stages(contract("Vertical", parties=(party("server"), *TOWERS)))


def test_a_client_with_inputs_needs_a_cut_point() -> None:
    parties = (party("server", label=LABEL), party("a", "x"), TOWERS[1])

    with pytest.raises(SpecInvalid, match="client a has inputs but no cutPoints"):
        build_stages(contract("Vertical", parties=parties))


@pytest.mark.parametrize(("topology", "cuts"), [("Vanilla", ()), ("Vanilla", ("a", "b")), ("UShaped", ("a",))])
def test_another_number_of_cut_points_is_refused(topology: str, cuts: tuple[str, ...]) -> None:
    with pytest.raises(SpecInvalid, match=rf"topology {topology} with {len(cuts)} model\.cutPoints"):
        build_stages(contract(topology, *cuts))


def test_a_topology_of_a_later_version_is_refused_by_name() -> None:
    with pytest.raises(NotSupported, match="topology MultiHop"):
        build_stages(contract("MultiHop", "a"))
