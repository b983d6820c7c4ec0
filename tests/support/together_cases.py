"""Trainings in which clients of unequal size train at once: Parallel and SplitFed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from support.cases import ADAM, Case, a_u_shaped_case, a_vanilla_case

UNEQUAL = {"north": 11, "south": 5, "west": 9}
"""With batches of 4: short last batches, and steps in which south has no row any more."""


def in_double(case: Case, entrypoint: str) -> Case:
    """Returns a copy in double precision."""

    def change(spec: dict[str, Any]) -> None:
        spec["model"]["entrypoint"] = f"small_models:{entrypoint}"
        spec["model"]["inputs"][0]["dtype"] = "Float64"
        if spec["model"]["label"]["dtype"] == "Float32":
            spec["model"]["label"]["dtype"] = "Float64"

    changed = case.changed(change)
    for parts in changed.tables.values():
        for table in parts.values():
            for name, column in table.items():
                table[name] = column.astype(np.float64) if column.dtype == np.float32 else column
    return changed


def scheduled(case: Case, mode: str, rounds: int, **member: object) -> Case:
    """Returns a copy with another schedule."""
    name = mode[0].lower() + mode[1:]
    return case.changed(lambda spec: spec.update(rounds=rounds, schedule={"mode": mode, name: member}))


def a_parallel_case(optimizer: Mapping[str, str] = ADAM, *, rounds: int = 2, **member: object) -> Case:
    """Returns the classifier in double precision, trained by all three clients in every step."""
    case = in_double(a_vanilla_case(UNEQUAL, optimizer=optimizer), "build_double_classifier")
    return scheduled(case, "Parallel", rounds, **member)


def a_parallel_u_shape(optimizer: Mapping[str, str] = ADAM, *, rounds: int = 2, **member: object) -> Case:
    """Returns the U-shape in double precision: every client has the loss of its own rows."""
    return scheduled(
        in_double(a_u_shaped_case(optimizer=optimizer), "build_double_binary"), "Parallel", rounds, **member
    )


def a_split_fed_case(
    optimizer: Mapping[str, str] = ADAM, *, rounds: int = 3, double: bool = False, **member: object
) -> Case:
    """Returns the classifier, trained in local epochs."""
    case = a_vanilla_case(UNEQUAL, optimizer=optimizer)
    return scheduled(in_double(case, "build_double_classifier") if double else case, "SplitFed", rounds, **member)


def a_split_fed_u_shape(optimizer: Mapping[str, str] = ADAM, *, rounds: int = 3, **member: object) -> Case:
    """Returns the U-shape, trained in local epochs: the first layers and the last ones are the clients'."""
    return scheduled(a_u_shaped_case(optimizer=optimizer), "SplitFed", rounds, **member)
