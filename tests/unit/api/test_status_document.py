"""The status: what an operator writes, and what a reader of another version makes of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from splittraining.api import errors
from splittraining.api.conditions import (
    ALWAYS_PRESENT,
    REASONS,
    ConditionStatus,
    ConditionType,
    FailedReason,
    ProgressingReason,
)
from splittraining.api.errors import SpecInvalid, SplitTrainingError
from splittraining.api.status import Condition, SplitTrainingStatus
from support.builders import a_vanilla_training

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Progressing",
            "status": "True",
            "observedGeneration": 1,
            "lastTransitionTime": "2030-01-01T12:00:00Z",
            "reason": "Running",
            "message": "",
        }
    ],
    "partiesSummary": "3/3",
    "roundsSummary": "12/50",
    "progress": {"round": 12, "rounds": 50, "percent": 24, "activeParty": "st-mary"},
    "metrics": [{"name": "loss", "value": "0.4321"}],
    "parties": [{"name": "server", "role": "Server", "ready": True}, {"name": "st-mary", "role": "Client"}],
    "checkpoints": [{"step": 30, "round": 11, "digests": {"server": "sha256:" + "0" * 64}}],
}


def test_a_manifest_with_a_status_is_read_as_a_cluster_prints_it():
    status = a_vanilla_training().with_value("status", STATUS).build().status
    assert status is not None
    assert status.conditions[0].status is ConditionStatus.TRUE
    assert status.conditions[0].last_transition_time == NOW
    assert [party.name for party in status.parties] == ["server", "st-mary"]


def test_a_status_is_written_as_it_was_read():
    status = SplitTrainingStatus.model_validate(STATUS)
    assert status.model_dump(mode="json", by_alias=True, exclude_unset=True) == STATUS


def test_fields_of_a_newer_operator_are_passed_over():
    newer = {**STATUS, "queue": "night", "progress": {**STATUS["progress"], "epoch": 3}}
    assert SplitTrainingStatus.model_validate(newer) == SplitTrainingStatus.model_validate(STATUS)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("status.conditions.0.lastTransitionTime", "2030-01-01T12:00:00"),
        ("status.conditions.0.reason", "not camel case"),
        ("status.progress.percent", 101),
        ("status.metrics.0.value", 0.4321),
        ("status.parties", [{"name": "server", "role": "Server"}] * 2),
        ("status.checkpoints", [{"step": step, "round": 1, "digests": {}} for step in range(11)]),
    ],
)
def test_a_status_that_breaks_its_bounds_is_refused(path: str, value: object):
    with pytest.raises(SpecInvalid, match=r"^status\."):
        a_vanilla_training().with_value("status", STATUS).with_value(path, value).build()


def test_every_condition_has_reasons_that_fit_a_condition():
    assert set(REASONS) == set(ConditionType)
    for kind, reasons in REASONS.items():
        for reason in reasons:
            Condition(type=kind, status=ConditionStatus.TRUE, reason=reason, last_transition_time=NOW)


def test_every_error_can_be_the_reason_of_a_failure():
    names = {name for name, error in vars(errors).items() if isinstance(error, type) and issubclass(error, Exception)}
    assert SplitTrainingError.__name__ in names
    assert names <= {reason.value for reason in FailedReason}


def test_the_state_that_is_printed_is_one_of_seven_words():
    assert [state.value for state in ProgressingReason] == [
        *("Pending", "AwaitingApproval", "Starting", "Running", "Suspended", "Completed", "Failed")
    ]


def test_all_conditions_but_two_are_there_from_the_beginning():
    assert set(ConditionType) - set(ALWAYS_PRESENT) == {ConditionType.DEGRADED, ConditionType.STALLED}
