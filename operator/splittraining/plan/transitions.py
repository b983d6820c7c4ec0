"""Events: what is worth a line in `kubectl describe`, told once, when it comes to be so."""

from __future__ import annotations

from splittraining.api.conditions import ConditionStatus, ConditionType
from splittraining.api.status import Condition, SplitTrainingStatus
from splittraining.plan.decision import EventKind, TrainingEvent

_TOLD = (
    ConditionType.ACCEPTED,
    ConditionType.PARTIES_READY,
    ConditionType.NETWORK_ISOLATED,
    ConditionType.SUSPENDED,
    ConditionType.COMPLETE,
    ConditionType.FAILED,
)
_GOOD_WHEN_FALSE = frozenset({ConditionType.FAILED, ConditionType.SUSPENDED})
_QUIET = frozenset(
    {"NotStarted", "AwaitingParties", "NotSuspended", "Suspending", "NotCompleted", "NotFailed", "Pending"}
)
"""Reasons that say no more than that something else has not happened yet."""


def list_events(old: SplitTrainingStatus | None, new: SplitTrainingStatus) -> tuple[TrainingEvent, ...]:
    """Returns what changed between two statuses, for people: conditions with another status or reason."""
    before = {condition.type: (condition.status, condition.reason) for condition in (old.conditions if old else ())}
    events = [
        _build_event(condition)
        for condition in new.conditions
        if condition.type in _TOLD
        and condition.reason not in _QUIET
        and before.get(condition.type) != (condition.status, condition.reason)
    ]
    if new.attempt > max(old.attempt if old else 0, 0):
        note = "all parties are started" if new.attempt == 1 else f"all parties are started over, attempt {new.attempt}"
        events.append(TrainingEvent(EventKind.NORMAL, "Starting", note))
    return tuple(events)


def _build_event(condition: Condition) -> TrainingEvent:
    holds = condition.status is ConditionStatus.TRUE
    is_good = holds != (condition.type in _GOOD_WHEN_FALSE) or condition.type == ConditionType.SUSPENDED
    note = condition.message or f"{condition.type} is {condition.status.value}"
    return TrainingEvent(EventKind.NORMAL if is_good else EventKind.WARNING, condition.reason, note)
