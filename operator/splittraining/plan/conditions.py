"""Conditions: which statements a status makes, and since when each one holds."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from splittraining.api.conditions import REASONS, ConditionStatus, ConditionType
from splittraining.api.status import Condition, SplitTrainingStatus


@dataclass(frozen=True, slots=True)
class Statement:
    """What a condition is to say now."""

    status: ConditionStatus
    reason: enum.StrEnum
    message: str = ""

    @classmethod
    def yes(cls, reason: enum.StrEnum, message: str = "") -> Statement:
        """It holds."""
        return cls(ConditionStatus.TRUE, reason, message)

    @classmethod
    def no(cls, reason: enum.StrEnum, message: str = "") -> Statement:
        """It does not hold."""
        return cls(ConditionStatus.FALSE, reason, message)

    @classmethod
    def unknown(cls, reason: enum.StrEnum, message: str = "") -> Statement:
        """Nobody can tell yet."""
        return cls(ConditionStatus.UNKNOWN, reason, message)


def build_conditions(
    statements: Mapping[ConditionType, Statement], old: Iterable[Condition], *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """Builds the list of conditions, in the order of their types; the time of a transition stays while the status does.

    Args:
        statements: What to say.
        old: The conditions as they stand.
        generation: Of the spec that was looked at.
        now: The moment.
    """
    before = {condition.type: condition for condition in old}
    moment = now.replace(microsecond=0)  # as the API server stores it
    conditions = []
    for kind in ConditionType:
        if kind not in statements:
            continue
        said, known = statements[kind], before.get(kind)
        stays = known is not None and known.status is said.status
        conditions.append(
            Condition(
                type=kind,
                status=said.status,
                observed_generation=generation,
                last_transition_time=known.last_transition_time if known is not None and stays else moment,
                reason=said.reason,
                message=said.message,
            )
        )
    return tuple(conditions)


def find_reason(kind: ConditionType, name: str) -> enum.StrEnum | None:
    """Returns a reason that a condition may give, or None where it has none of that name."""
    return next((reason for reason in REASONS[kind] if reason == name), None)


def find_condition(status: SplitTrainingStatus | None, kind: ConditionType) -> Condition | None:
    """Returns a condition, or None where the status does not have it."""
    return next((condition for condition in (status.conditions if status else ()) if condition.type == kind), None)


def is_true(status: SplitTrainingStatus | None, kind: ConditionType) -> bool:
    """Returns whether a condition holds."""
    condition = find_condition(status, kind)
    return condition is not None and condition.status is ConditionStatus.TRUE


def is_terminal(status: SplitTrainingStatus | None) -> bool:
    """Returns whether nothing more will happen to a training."""
    return is_true(status, ConditionType.COMPLETE) or is_true(status, ConditionType.FAILED)
