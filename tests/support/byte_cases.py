"""One small training of every schedule, for counting bytes: clients of unequal size, last short batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from support.cases import (
    ADAM,
    MOMENTUM,
    Case,
    a_multi_hop_case,
    a_multi_task_case,
    a_u_shaped_case,
    a_vanilla_case,
    a_vertical_case,
    an_extended_case,
)
from support.together_cases import UNEQUAL, scheduled

AT_SERVER: Mapping[str, Any] = {"averaging": {"at": "Server"}}


def _together(mode: str, **member: Any) -> Case:
    return scheduled(a_vanilla_case(UNEQUAL, optimizer=ADAM), mode, 2, **member)


BYTE_CASES: Mapping[str, Case] = {
    "Sequential, ViaServer": a_vanilla_case(optimizer=MOMENTUM),
    "Sequential, PeerToPeer, Adam": a_vanilla_case(optimizer=ADAM, handoff="PeerToPeer").without_test_rows("north"),
    "Sequential, None": a_vanilla_case(optimizer=MOMENTUM, handoff="None"),
    "Sequential, UShaped, Adam": a_u_shaped_case(optimizer=ADAM),
    "Joint, Vertical": a_vertical_case(),
    "Joint, ExtendedVanilla": an_extended_case(),
    "Joint, MultiHop": a_multi_hop_case(label_at="clinic", skip=True),
    "Joint, MultiTask": a_multi_task_case(num_branches=2),
    "Parallel, Union, SumGradients": _together("Parallel"),
    "Parallel, Union, SumGradients at the server": _together("Parallel", **AT_SERVER),
    "Parallel, Global, SumGradients": _together("Parallel", batch="Global"),
    "Parallel, Union, Private": _together("Parallel", clientPolicy="Private"),
    "SplitFed v1, 2 local epochs": _together("SplitFed", everyRounds=2),
    "SplitFed v1, averaged at the server": _together("SplitFed", **AT_SERVER),
    "SplitFed v2": _together("SplitFed", serverPolicy="Shared"),
    "SplitFed v3": _together("SplitFed", clientPolicy="Private"),
}
"""By the name that docs/bytes.md gives it."""
