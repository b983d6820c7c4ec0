"""A party sends and does what its contract names, and refuses all else, whoever asks for it."""

from __future__ import annotations

import pytest

from splittraining.api.contract import Cargo, Contract, ContractLink
from splittraining.api.errors import ModelInvalid, ProtocolViolation
from splittraining.party.training.consent import check_order, check_transfers
from splittraining.party.wire.message import Message
from splittraining.party.wire.orders import (
    AverageWeights,
    Evaluate,
    HandOff,
    ParallelTurn,
    SealedNotice,
    TakeOver,
    Turn,
    TurnSpan,
)
from splittraining.plan.contracts import build_contract
from support.builders import a_multi_hop_training, a_training
from support.hops import CHAIN, CONTRACT, SKIPPING, a_plan, a_value

# --- transfers --------------------------------------------------------------------------------------------------------


def test_a_chain_sends_what_was_agreed() -> None:
    check_transfers(CONTRACT, CHAIN)


def test_a_value_that_skips_an_owner_without_consent_is_refused_by_name() -> None:
    with pytest.raises(ModelInvalid, match=r"sends Activations 'value 0' from clinic to center.*extraCrossings"):
        check_transfers(CONTRACT, SKIPPING)


def test_a_value_that_reaches_the_server_past_the_last_hop_is_refused_as_well() -> None:
    with pytest.raises(ModelInvalid, match="sends Activations 'value 0' from clinic to server"):
        check_transfers(CONTRACT, a_plan(a_value(0, 0, 1, 3), a_value(1, 1, 2), a_value(2, 2, 3)))


def test_with_a_crossing_named_it_is_what_was_agreed() -> None:
    training = a_multi_hop_training().with_value("spec.model.extraCrossings", ["value 0"])
    check_transfers(build_contract(training.build(), source_digest=""), SKIPPING)


def test_gradients_need_consent_as_well() -> None:
    links = [link for link in CONTRACT.links if (link.sender, link.receiver) != ("lab", "clinic")]
    links.append(ContractLink(sender="lab", receiver="clinic", cargo=(Cargo.HAND_OFF,)))
    with pytest.raises(ModelInvalid, match="sends Gradients 'value 0' from lab to clinic"):
        check_transfers(CONTRACT.model_copy(update={"links": tuple(links)}), CHAIN)


# --- orders -----------------------------------------------------------------------------------------------------------

THREE = a_training().with_client("st-mary").with_client("st-luke").with_client("st-anne")
HANDS_ON = build_contract(THREE.build(), source_digest="")
HANDS_NEIGHBORS = build_contract(
    THREE.with_value("spec.schedule.sequential.handoff", "PeerToPeer").build(), source_digest=""
)
HANDS_NOTHING = build_contract(THREE.with_value("spec.schedule.sequential.handoff", "None").build(), source_digest="")


def a_contract(mode: str, **fields: object) -> Contract:
    key = mode[0].lower() + mode[1:]
    return build_contract(THREE.with_value("spec.schedule", {"mode": mode, key: fields}).build(), source_digest="")


SUMS = a_contract("Parallel")
AVERAGES = a_contract("SplitFed")
KEEPS_APART = a_contract("SplitFed", clientPolicy="Private")

TURN = Turn(round=1, first_step=1, spans=(TurnSpan(epoch=0, first_batch=0, num_batches=1),))
PARALLEL_TURN = ParallelTurn(round=1, epoch=0, first_step=1, train_rows=(("st-mary", 1),))
AVERAGE = AverageWeights(step=1, train_rows=(("st-mary", 1),))
TO_ST_LUKE = HandOff(recipient="st-luke", sequence=1, step=1)
TO_ST_ANNE = HandOff(recipient="st-anne", sequence=1, step=1)
FROM_ST_LUKE = TakeOver(sender="st-luke", sequence=1)
FROM_ST_ANNE = TakeOver(sender="st-anne", sequence=1)
SEALED_BY_ST_LUKE = SealedNotice(
    kind="HandOff", sender="st-luke", recipient="st-mary", sequence=1, piece_sizes=(1,), leaf="", signature=""
)


@pytest.mark.parametrize(
    ("contract", "order"),
    [
        pytest.param(HANDS_ON, TURN, id="a turn in Sequential"),
        pytest.param(AVERAGES, TURN, id="a turn in SplitFed"),
        pytest.param(SUMS, PARALLEL_TURN, id="a parallel turn in Parallel"),
        pytest.param(AVERAGES, AVERAGE, id="an average in SplitFed"),
        pytest.param(HANDS_ON, TO_ST_ANNE, id="a hand-off to any client through the server"),
        pytest.param(HANDS_ON, SEALED_BY_ST_LUKE, id="a hand-off of any client through the server"),
        pytest.param(HANDS_NEIGHBORS, TO_ST_LUKE, id="a hand-off to the next client of the ring"),
        pytest.param(HANDS_NEIGHBORS, FROM_ST_ANNE, id="a hand-off of the client before"),
        pytest.param(SUMS, Evaluate(round=1, step=1), id="an evaluation in any schedule"),
    ],
)
def test_an_order_of_the_contracts_schedule_is_followed(contract: Contract, order: Message) -> None:
    check_order(contract, "st-mary", order)


@pytest.mark.parametrize(
    ("contract", "order", "told"),
    [
        pytest.param(SUMS, TURN, "Turn", id="a turn of one client in Parallel"),
        pytest.param(HANDS_ON, PARALLEL_TURN, "ParallelTurn", id="a parallel turn in Sequential"),
        pytest.param(AVERAGES, PARALLEL_TURN, "ParallelTurn", id="a parallel turn in SplitFed"),
        pytest.param(HANDS_ON, AVERAGE, "AverageWeights", id="an average in Sequential"),
        pytest.param(KEEPS_APART, AVERAGE, "AverageWeights", id="an average of private weights"),
        pytest.param(HANDS_NOTHING, TO_ST_LUKE, "HandOff to st-luke", id="a hand-off where weights stay"),
        pytest.param(AVERAGES, TO_ST_LUKE, "HandOff to st-luke", id="one client's weights to another in SplitFed"),
        pytest.param(AVERAGES, SEALED_BY_ST_LUKE, "SealedNotice from st-luke", id="another client's weights"),
        pytest.param(HANDS_NEIGHBORS, TO_ST_ANNE, "HandOff to st-anne", id="a hand-off past the next of the ring"),
        pytest.param(HANDS_NEIGHBORS, FROM_ST_LUKE, "TakeOver from st-luke", id="a hand-off against the ring"),
    ],
)
def test_an_order_that_the_contract_does_not_know_is_refused_before_anything_is_done(
    contract: Contract, order: Message, told: str
) -> None:
    with pytest.raises(ProtocolViolation, match=rf"the server ordered {told}\. Allowed: orders of schedule"):
        check_order(contract, "st-mary", order)
