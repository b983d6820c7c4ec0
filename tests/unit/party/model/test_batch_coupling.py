"""What a plan says of BatchNorm at clients that train at once."""

from __future__ import annotations

import pytest

from splittraining.api.resource import parse_split_training
from splittraining.party.model.topology import cut_for_contract
from splittraining.plan.contracts import build_contract
from support.cases import Case, a_norm_case, a_vanilla_case
from support.together_cases import scheduled

OWN_ROWS = "bottom.1 of the clients' segment normalizes over each client's own rows: "
LARGE_BATCH = "a parallel step is then not equal to one large batch, and "
OWN_STATISTICS = "running statistics stay with each client"


def list_notes(case: Case) -> tuple[str, ...]:
    contract = build_contract(parse_split_training(case.documents()[0]), source_digest="")
    return cut_for_contract(case.build_model(), contract).report.notes


@pytest.mark.parametrize(
    ("mode", "member", "said"),
    [
        ("Parallel", {}, LARGE_BATCH + OWN_STATISTICS),
        ("Parallel", {"clientPolicy": "Private"}, OWN_STATISTICS),
        ("SplitFed", {}, "running statistics are averaged with the weights, by rows"),
        ("SplitFed", {"clientPolicy": "Private"}, OWN_STATISTICS),
    ],
)
def test_running_statistics_at_clients_are_explained(mode: str, member: dict[str, str], said: str) -> None:
    assert list_notes(scheduled(a_norm_case(dropout="0"), mode, 2, **member)) == (OWN_ROWS + said,)


def test_nothing_is_said_where_there_is_nothing_to_say() -> None:
    assert list_notes(a_norm_case(dropout="0")) == ()  # a hand-off carries buffers with the weights
    assert list_notes(scheduled(a_vanilla_case(), "SplitFed", 2)) == ()
