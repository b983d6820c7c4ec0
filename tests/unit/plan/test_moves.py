"""What moves beside the values, against numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from splittraining.api.plan_report import PlanReport, SegmentReport
from splittraining.api.spec.split_training import SplitTrainingSpec
from splittraining.api.wire_plan import Stage, WirePlan
from splittraining.plan.moves import (
    RoundSteps,
    compute_evaluation_moves,
    compute_finish_moves,
    compute_round_moves,
    count_parallel_steps,
)
from support.builders import a_training

W, G, NUM_TRAINED = 1000, 600, 3
STATE = W + 2 * G + 4 * NUM_TRAINED  # with Adam
REPORT = PlanReport(
    segments=(
        SegmentReport(
            stage=0,
            owner="client",
            num_parameters=200,
            num_buffers=50,
            weight_bytes=W,
            parameter_bytes=800,
            trained_bytes=G,
            num_trained=NUM_TRAINED,
        ),
        SegmentReport(stage=1, owner="server", num_parameters=9, num_buffers=0, weight_bytes=36, trained_bytes=36),
    ),
    wire_plan=WirePlan(stages=(Stage(index=0, owner="client"), Stage(index=1, owner="server")), loss_stage=1),
    wire_plan_digest="",
)
ROWS = {"a": 11, "b": 5, "c": 9}


def spec_of(mode: str, clients: Sequence[str] = "abc", **member: Any) -> SplitTrainingSpec:
    builder = a_training().with_value("spec.schedule", {"mode": mode, mode[0].lower() + mode[1:]: member})
    builder = builder.with_value("spec.training.optimizer", {"name": "Adam", "learningRate": "0.1"})
    for name in clients:
        builder = builder.with_client(name)
    return builder.with_value("spec.training.batchSize", 4).build().spec


@pytest.mark.parametrize("handoff", ["ViaServer", "PeerToPeer"])
def test_every_client_hands_its_state_to_the_next_one_but_nobody_to_the_very_first_turn(handoff: str) -> None:
    spec = spec_of("Sequential", handoff=handoff)
    first = {("a", "b"): STATE, ("b", "c"): STATE}
    assert compute_round_moves(REPORT, spec, None, is_first=True) == first
    assert compute_round_moves(REPORT, spec, None) == first | {("c", "a"): STATE}


def test_a_lone_client_and_one_that_keeps_its_own_hand_nothing_on() -> None:
    for spec in (spec_of("Sequential", "a", handoff="ViaServer"), spec_of("Sequential", handoff="None")):
        clients = [client.name for client in spec.clients]
        assert not compute_round_moves(REPORT, spec, None)
        assert not compute_evaluation_moves(REPORT, spec, clients)
        assert not compute_finish_moves(REPORT, spec, [])


@pytest.mark.parametrize(
    ("handoff", "evaluating", "evaluation", "finish"),
    [
        # The third client trained last, and the ring goes on with the first.
        ("ViaServer", "abc", [("c", "a"), ("a", "b")], []),
        ("ViaServer", "b", [("c", "b")], [("b", "a")]),
        ("ViaServer", "ac", [("c", "a")], [("a", "b")]),
        ("ViaServer", "c", [], [("c", "a"), ("a", "b")]),
        ("PeerToPeer", "abc", [("c", "a"), ("a", "b")], []),
        ("PeerToPeer", "b", [("c", "a"), ("a", "b")], []),
        ("PeerToPeer", "a", [("c", "a")], [("a", "b")]),
        ("PeerToPeer", "", [], [("c", "a"), ("a", "b")]),
    ],
)
def test_weights_go_to_whoever_evaluates_and_at_the_end_to_the_rest(
    handoff: str, evaluating: str, evaluation: list[tuple[str, str]], finish: list[tuple[str, str]]
) -> None:
    spec = spec_of("Sequential", handoff=handoff)
    assert compute_evaluation_moves(REPORT, spec, evaluating) == dict.fromkeys(evaluation, W)
    assert compute_finish_moves(REPORT, spec, evaluating) == dict.fromkeys(finish, W)


def test_gradients_go_to_the_first_client_in_steps_with_rows_and_the_sum_comes_back_in_every_step() -> None:
    spec = spec_of("Parallel")
    moves = compute_round_moves(REPORT, spec, count_parallel_steps(spec, ROWS))
    # Batches of 4: three steps, of which b has rows in two.
    assert moves == {("b", "a"): 2 * G, ("a", "b"): 3 * G, ("c", "a"): 3 * G, ("a", "c"): 3 * G}


def test_at_the_server_the_first_client_is_one_like_the_others() -> None:
    spec = spec_of("Parallel", averaging={"at": "Server"})
    moves = compute_round_moves(REPORT, spec, RoundSteps(2, {"a": 2, "b": 1, "c": 0}))
    up = {("a", "server"): 2 * G, ("b", "server"): G, ("c", "server"): 0}
    assert moves == up | {("server", name): 2 * G for name in "abc"}


def test_what_a_global_batch_draws_is_a_bound_and_without_rows_nothing_is_guessed() -> None:
    spec = spec_of("Parallel", batch="Global")
    assert count_parallel_steps(spec, ROWS) == RoundSteps(7, {"a": 7, "b": 5, "c": 7}, is_bound=True)
    assert count_parallel_steps(spec, {"a": 11}) is None
    assert compute_round_moves(REPORT, spec, None) is None
    assert count_parallel_steps(spec_of("SplitFed"), ROWS) is None


@pytest.mark.parametrize("mode", ["Parallel", "SplitFed"])
def test_private_segments_stay_where_they_are(mode: str) -> None:
    assert compute_round_moves(REPORT, spec_of(mode, clientPolicy="Private"), None) == {}


def test_weights_are_averaged_once_a_round_however_many_epochs_that_has() -> None:
    at_client = {("b", "a"): W, ("a", "b"): W, ("c", "a"): W, ("a", "c"): W}
    assert compute_round_moves(REPORT, spec_of("SplitFed", everyRounds=3), None) == at_client
    at_server = spec_of("SplitFed", "a", averaging={"at": "Server"})
    assert compute_round_moves(REPORT, at_server, None) == {("a", "server"): W, ("server", "a"): W}
    assert not compute_round_moves(REPORT, spec_of("SplitFed", "a"), None)
