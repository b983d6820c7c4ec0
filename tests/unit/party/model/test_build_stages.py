"""Each topology is a list of stages."""

from __future__ import annotations

from typing import Any

import pytest

from splittraining.api.contract import Contract, ContractParty, Role
from splittraining.api.errors import SpecInvalid
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
        "schedule": {"mode": "Sequential" if topology in ("Vanilla", "UShaped") else "Joint"}
        | ({} if topology not in ("Vanilla", "UShaped") else {"sequential": {"turn": {"unit": "Epoch", "length": 1}}}),
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


CHAIN = (party("clinic", "x", "y", label=LABEL), party("lab"), party("center"))
HOPS = {"first": "clinic", "second": "lab", "third": "center"}


def hopped(topology: str, cuts: dict[str, str | None], *parties: ContractParty) -> Contract:
    document = contract(topology, parties=parties).as_agreed()
    document["model"]["cutPoints"] = [
        {"layer": layer, **({"owner": owner} if owner else {})} for layer, owner in cuts.items()
    ]
    return Contract.model_validate(document)


def test_a_chain_has_a_stage_for_each_cut_and_ends_at_the_server() -> None:
    labels_at_server = (party("server", label=LABEL), party("clinic", "x", "y"), *CHAIN[1:])

    assert build_stages(hopped("MultiHop", HOPS, *labels_at_server)) == (
        StageSpec("clinic", ("first",), ("x", "y")), StageSpec("lab", ("second",)), StageSpec("center", ("third",)),
        StageSpec("server", holds_label=True),
    )  # fmt: skip


def test_a_chain_whose_first_owner_has_the_labels_ends_there() -> None:
    assert build_stages(hopped("MultiHop", HOPS, party("server"), *CHAIN))[-2:] == (
        StageSpec("server"), StageSpec("clinic", receives_output=True, holds_label=True),
    )  # fmt: skip


def test_an_extended_training_has_towers_then_another_client_then_the_server() -> None:
    parties = (party("server"), *TOWERS, party("registry", label=LABEL), party("center"))

    assert build_stages(hopped("ExtendedVanilla", {"fusion": "center"}, *parties)) == (
        *EXPECTED_TOWERS, StageSpec("center", ("fusion",)),
        StageSpec("server"), StageSpec("registry", receives_output=True, holds_label=True),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("topology", "cuts", "message"),
    [
        pytest.param("MultiHop", HOPS | {"second": None}, "'second' has owner nobody", id="a cut without an owner"),
        pytest.param("MultiHop", HOPS | {"second": "server"}, "'second' has owner server", id="a cut of the server's"),
        pytest.param("MultiHop", HOPS | {"third": "lab"}, "lab would run .*'third' beside", id="two cuts of one owner"),
        pytest.param(
            "MultiHop", {"first": "lab", "second": "clinic"}, "clinic would run .*'second'", id="inputs in the middle"
        ),
        pytest.param("MultiHop", {}, "MultiHop with 0 model.cutPoints", id="no cut"),
        pytest.param("ExtendedVanilla", {"fusion": "a"}, "a would run .*'fusion' beside", id="a merge at a tower"),
        pytest.param(
            "ExtendedVanilla", {"fusion": "lab", "neck": "center"}, "with 2 model.cutPoints", id="two cuts of a merge"
        ),
    ],
)
def test_a_chain_that_no_engine_could_run_is_refused(topology: str, cuts: dict[str, str | None], message: str) -> None:
    others = TOWERS if topology == "ExtendedVanilla" else ()
    holders = CHAIN if topology == "MultiHop" else (party("clinic", label=LABEL), *CHAIN[1:])

    with pytest.raises(SpecInvalid, match=message):
        build_stages(hopped(topology, cuts, party("server"), *others, *holders))
