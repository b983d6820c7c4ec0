"""A hand-off from client to client equals one through the server to the bit, and the server carries none of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from splittraining.api.report import LinkBytes
from support.cases import ADAM, MOMENTUM, Case, a_u_shaped_case, a_vanilla_case
from support.oracle import train_centrally
from support.runs import FinishedRun, run_case

PARTIES = ("server", "north", "south", "west")
RING = {("north", "south"), ("south", "west"), ("west", "north")}


def directly(case: Case) -> Case:
    return case.changed(lambda spec: spec["schedule"]["sequential"].update(handoff="PeerToPeer"))


def succeed(case: Case, folder: Path) -> FinishedRun:
    run = run_case(case, folder)
    assert run.outcome.exit_code == 0, run.outcome
    return run


def assert_same_bits(given: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    assert given.keys() == expected.keys()
    assert not [name for name in expected if not torch.equal(given[name], expected[name])]


def list_links(run: FinishedRun) -> dict[tuple[str, str], LinkBytes]:
    return {(report.party, link.peer): link for report in run.record.reports for link in report.links}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(a_vanilla_case(optimizer=MOMENTUM), id="momentum, turns of an epoch"),
        pytest.param(
            a_vanilla_case(optimizer=ADAM, turn=("Steps", 2)).without_test_rows("north"),
            id="Adam, turns of steps, one client evaluates nothing",
        ),
        pytest.param(
            a_vanilla_case(optimizer=MOMENTUM, turn=("Steps", 2)), id="momentum, steps", marks=pytest.mark.slow
        ),
        pytest.param(a_vanilla_case(optimizer=ADAM), id="Adam, turns of an epoch", marks=pytest.mark.slow),
        pytest.param(a_vanilla_case({"north": 11}, optimizer=ADAM), id="nobody to hand on to", marks=pytest.mark.slow),
        pytest.param(a_u_shaped_case(), id="two clients in a U-shape", marks=pytest.mark.slow),
    ],
)
def test_from_client_to_client_equals_through_the_server_and_plain_pytorch(case: Case, tmp_path: Path) -> None:
    relayed, direct = succeed(case, tmp_path / "relayed"), succeed(directly(case), tmp_path / "direct")
    expected = train_centrally(case.build_model, case.rows, case.plan, test_rows=case.test_rows)
    assert direct.read_losses() == relayed.read_losses() == expected.losses
    assert [each["metrics"] for each in direct.read_rounds()] == [each["metrics"] for each in relayed.read_rounds()]
    for client in (each["name"] for each in case.spec["clients"]):
        assert_same_bits(direct.merge_segments(["server", client]), expected.state)
        for party in ("server", client):
            assert_same_bits(direct.read_segments(party), relayed.read_segments(party))
