"""Turns: who trains on which batches, when."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splittraining.api.spec.schedule import HandOff, ScheduleMode, ScheduleSpec, SequentialSpec, TurnSpec, TurnUnit
from splittraining.party.training.schedule import (
    PlannedTurn,
    Span,
    count_batch_rows,
    count_batches,
    count_steps,
    plan_turns,
)

ROWS = {"st-mary": 10, "st-luke": 3}
CLIENTS = ("st-mary", "st-luke")


def sequential(unit: TurnUnit, length: int) -> ScheduleSpec:
    turn = TurnSpec(unit=unit, length=length)
    return ScheduleSpec(mode=ScheduleMode.SEQUENTIAL, sequential=SequentialSpec(turn=turn, handoff=HandOff.VIA_SERVER))


def plan(schedule: ScheduleSpec, rounds: int = 2) -> list[PlannedTurn]:
    return list(plan_turns(schedule, rounds=rounds, batch_size=4, train_rows=ROWS, clients=CLIENTS))


def test_the_last_short_batch_of_an_epoch_is_kept() -> None:
    assert [count_batch_rows(10, 4, batch) for batch in range(count_batches(10, 4))] == [4, 4, 2]


def test_a_turn_of_one_epoch_is_each_clients_own_epoch() -> None:
    assert plan(sequential(TurnUnit.EPOCH, 1)) == [
        PlannedTurn(1, ("st-mary",), 1, (Span(0, 0, 3),)),
        PlannedTurn(1, ("st-luke",), 4, (Span(0, 0, 1),)),
        PlannedTurn(2, ("st-mary",), 5, (Span(1, 0, 3),)),
        PlannedTurn(2, ("st-luke",), 8, (Span(1, 0, 1),)),
    ]


def test_a_turn_of_two_steps_goes_on_where_the_clients_last_turn_ended() -> None:
    turns = plan(sequential(TurnUnit.STEPS, 2))
    assert [turn.spans for turn in turns if turn.clients == ("st-mary",)] == [
        (Span(0, 0, 2),),
        (Span(0, 2, 1), Span(1, 0, 1)),
    ]
    assert [turn.spans for turn in turns if turn.clients == ("st-luke",)] == [
        (Span(0, 0, 1), Span(1, 0, 1)),
        (Span(2, 0, 1), Span(3, 0, 1)),
    ]


def test_a_joint_round_is_one_pass_over_the_aligned_rows_by_all() -> None:
    turns = list(
        plan_turns(
            ScheduleSpec(mode=ScheduleMode.JOINT),
            rounds=2,
            batch_size=4,
            train_rows={"imaging": 9, "registry": 9},
            clients=("imaging", "registry"),
        )
    )
    assert turns == [
        PlannedTurn(1, ("imaging", "registry"), 1, (Span(0, 0, 3),)),
        PlannedTurn(2, ("imaging", "registry"), 4, (Span(1, 0, 3),)),
    ]


@pytest.mark.parametrize(("unit", "length"), [(TurnUnit.EPOCH, 1), (TurnUnit.EPOCH, 3), (TurnUnit.STEPS, 5)])
def test_the_counted_steps_are_those_that_are_planned(unit: TurnUnit, length: int) -> None:
    schedule = sequential(unit, length)
    counted = count_steps(schedule, rounds=4, batch_size=4, train_rows=ROWS, clients=CLIENTS)
    assert counted == sum(turn.num_steps for turn in plan(schedule, rounds=4))


@given(
    rows=st.integers(1, 40),
    batch_size=st.integers(1, 9),
    length=st.integers(1, 7),
    turns=st.integers(1, 12),
)
def test_the_spans_of_a_client_are_its_stream_without_gap_or_repeat(
    rows: int, batch_size: int, length: int, turns: int
) -> None:
    planned = plan_turns(
        sequential(TurnUnit.STEPS, length),
        rounds=turns,
        batch_size=batch_size,
        train_rows={"only": rows},
        clients=("only",),
    )
    batches = [
        (span.epoch, batch)
        for turn in planned
        for span in turn.spans
        for batch in range(span.first_batch, span.first_batch + span.num_batches)
    ]
    per_epoch = count_batches(rows, batch_size)
    stream = ((index // per_epoch, index % per_epoch) for index in range(turns * length))
    assert batches == list(islice(stream, turns * length))
