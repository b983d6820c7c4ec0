"""A training that early stopping ended is Complete, and says after which round and whose weights it kept."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from splittraining.api.conditions import ConditionStatus, ConditionType
from splittraining.api.report import PartyState, Report
from splittraining.plan.ended import build_last_statements
from splittraining.plan.endings import Ending, EndingKind
from splittraining.plan.progress import build_progress, fill_progress

NOW = datetime(2026, 1, 2, tzinfo=UTC)
STOPPED = Report(
    party="server",
    generation=1,
    sequence=9,
    state=PartyState.SUCCEEDED,
    round=7,
    rounds=20,
    step=70,
    steps=70,
    stopped_early=True,
    kept_round=4,
)
RUNNING = STOPPED.model_copy(update={"steps": 200, "stopped_early": False, "kept_round": 0})


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (None, "every party has written its result"),
        (RUNNING, "every party has written its result"),
        (
            STOPPED,
            (
                "every party has written its result, the weights of round 4, the best one;"
                " early stopping ended the training after round 7 of 20"
            ),
        ),
    ],
)
def test_the_condition_says_why_rounds_are_missing(report: Report | None, message: str) -> None:
    statement = build_last_statements(Ending(EndingKind.COMPLETE), report)[ConditionType.COMPLETE]
    assert (statement.status, statement.message) == (ConditionStatus.TRUE, message)


def test_nothing_is_left_to_do_once_it_has_stopped_although_rounds_are_missing() -> None:
    before = build_progress(None, RUNNING, rounds=20, running_since=None, now=NOW)
    assert before is not None
    assert before.percent == 35
    after = build_progress(before, STOPPED, rounds=20, running_since=None, now=NOW)
    assert after is not None
    assert (after.percent, after.round, after.rounds) == (100, 7, 20)


def test_where_it_may_have_stopped_early_the_last_round_that_was_heard_of_stands() -> None:
    before = build_progress(None, RUNNING, rounds=20, running_since=None, now=NOW)
    after = fill_progress(before, rounds=20, may_stop_early=True)
    assert (after.percent, after.round, after.step) == (100, 7, 70)
