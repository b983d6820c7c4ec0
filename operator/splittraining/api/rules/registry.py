"""All rules in one list, and their Python side applied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic.alias_generators import to_snake

from splittraining.api.errors import SpecInvalid
from splittraining.api.resource import SplitTraining
from splittraining.api.rules.change import CHANGE_RULES
from splittraining.api.rules.data import DATA_RULES
from splittraining.api.rules.hops import HOP_RULES
from splittraining.api.rules.operation import OPERATION_RULES
from splittraining.api.rules.rule import Rule
from splittraining.api.rules.schedule import SCHEDULE_RULES
from splittraining.api.rules.tasks import TASK_RULES
from splittraining.api.rules.topology import TOPOLOGY_RULES
from splittraining.api.rules.training import TRAINING_RULES
from splittraining.api.rules.update import UPDATE_RULES

RULES: tuple[Rule, ...] = (
    *TOPOLOGY_RULES,
    *HOP_RULES,
    *TASK_RULES,
    *SCHEDULE_RULES,
    *DATA_RULES,
    *TRAINING_RULES,
    *UPDATE_RULES,
    *OPERATION_RULES,
)

"""Rules on one object, in the order in which they are told."""


def find_violations(training: SplitTraining) -> list[SpecInvalid]:
    """Returns every rule that a training breaks, with the place where it does."""
    return [
        _build_refusal(place + rule.field, rule.message)
        for rule in RULES
        for place, value in _iterate_places(training, rule.path)
        if not rule.check(value)
    ]


def find_forbidden_changes(new: SplitTraining, old: SplitTraining) -> list[SpecInvalid]:
    """Returns every rule that a change of a training breaks.

    A default that comes to be written out inside a list item is no change here; the API server, which compares what was
    written, refuses it.
    """
    return [
        _build_refusal(rule.path + rule.field, rule.message)
        for rule in CHANGE_RULES
        if not (rule.check(new.spec, old.spec) if rule.path else rule.check(new, old))
    ]


def _build_refusal(place: str, message: str) -> SpecInvalid:
    return SpecInvalid(f"{place.removeprefix('.')}: {message}" if place else message)


def _iterate_places(training: SplitTraining, path: str) -> Iterator[tuple[str, Any]]:
    """Yields every place of the object that a rule's path names, with the value there; absent ones are left out."""
    found: list[tuple[str, Any]] = [("", training)]
    for part in path.split(".") if path else ():
        name = part.removesuffix("[]")
        stepped: list[tuple[str, Any]] = []
        for place, value in found:
            below = f"{place}.{name}" if place else name
            item = getattr(value, to_snake(name))
            if part.endswith("[]"):
                stepped += [(f"{below}[{index}]", member) for index, member in enumerate(item)]
            elif item is not None:
                stepped.append((below, item))
        found = stepped
    yield from found
