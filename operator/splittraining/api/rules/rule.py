"""The shape of a rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from splittraining.api.spec.data import DataSpec
from splittraining.api.spec.split_training import SplitTrainingSpec


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule on one place of the resource.

    Args:
        path: Where `self` is: dotted field names, `[]` for each item of a list; empty for the whole object.
        cel: The rule for the API server, true where the object is fine.
        message: What is allowed and what to do, for people.
        check: The same in Python, given the value at `path`.
        field: Field below `path` that the message is about, such as `.schedule.mode`; empty for `path` itself.
    """

    path: str
    cel: str
    message: str
    check: Callable[[Any], bool]
    field: str = ""


@dataclass(frozen=True, slots=True)
class ChangeRule:
    """One rule on a change: as `Rule`, but CEL knows `oldSelf` too, and `check` gets the new and the old value."""

    path: str
    cel: str
    message: str
    check: Callable[[Any, Any], bool]
    field: str


def list_data(spec: SplitTrainingSpec) -> list[DataSpec]:
    """Returns the data of every party that holds some, clients first."""
    held = [client.data for client in spec.clients] + [spec.server.data]
    return [data for data in held if data is not None]
