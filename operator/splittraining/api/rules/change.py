"""Rules on changes: the spec is immutable from its creation, but for what does not touch the training itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from splittraining.api.conditions import ConditionStatus, ConditionType
from splittraining.api.rules.rule import ChangeRule
from splittraining.api.spec.split_training import SplitTrainingSpec
from splittraining.api.status import SplitTrainingStatus

_FIXED = (
    "topology",
    "imagePullSecrets",
    "model",
    "training",
    "schedule",
    "server",
    "tasks",
    "startup",
    "faultTolerance",
    "network",
    "tls",
    "mode",
)
_FIXED_OPTIONAL = ("image", "checkpoint")


def _is_terminal(status: SplitTrainingStatus | None) -> bool:
    return status is not None and any(
        condition.type in (ConditionType.COMPLETE, ConditionType.FAILED) and condition.status is ConditionStatus.TRUE
        for condition in status.conditions
    )


def _is_unchanged(field: str) -> Callable[[SplitTrainingSpec, SplitTrainingSpec], bool]:
    name = next(name for name, info in SplitTrainingSpec.model_fields.items() if info.alias == field)

    def check(new: SplitTrainingSpec, old: SplitTrainingSpec) -> bool:
        given: Any = getattr(new, name)
        return bool(given == getattr(old, name))

    return check


def _build_fixed(field: str) -> ChangeRule:
    return ChangeRule(
        "spec",
        f"self.{field} == oldSelf.{field}",
        f"{field} cannot be changed; create a new training",
        _is_unchanged(field),
        f".{field}",
    )


def _build_fixed_optional(field: str) -> ChangeRule:
    # A plain comparison would not run where an optional field is added or removed.
    return ChangeRule(
        "spec",
        f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
        f"{field} cannot be changed, added or removed; create a new training",
        _is_unchanged(field),
        f".{field}",
    )


CHANGE_RULES = (
    *(_build_fixed(field) for field in _FIXED),
    *(_build_fixed_optional(field) for field in _FIXED_OPTIONAL),
    # The API server compares a list-map without regard to its order, and the order of clients is the order of turns.
    ChangeRule(
        "spec",
        "self.clients == oldSelf.clients && self.clients.map(c, c.name) == oldSelf.clients.map(c, c.name)",
        "clients cannot be changed, added, removed or moved; create a new training",
        _is_unchanged("clients"),
        ".clients",
    ),
    ChangeRule(
        "spec",
        "self.rounds >= oldSelf.rounds",
        "rounds may only grow; create a new training for fewer",
        lambda new, old: new.rounds >= old.rounds,
        ".rounds",
    ),
    ChangeRule(
        "",
        "self.spec.rounds == oldSelf.spec.rounds || !has(oldSelf.status) || !has(oldSelf.status.conditions)"
        " || !oldSelf.status.conditions.exists(c, c.type in ['Complete', 'Failed'] && c.status == 'True')",
        "rounds cannot grow once the training has completed or failed; create a new training",
        lambda new, old: new.spec.rounds == old.spec.rounds or not _is_terminal(old.status),
        ".spec.rounds",
    ),
)
"""What is not named here may change: suspend, activeDeadlineSeconds, ttlSecondsAfterFinished."""
