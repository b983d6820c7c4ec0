"""A hand-off from client to client equals one through the server to the bit, and the server carries none of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from splittraining.api.party_document import PartyDocument
from splittraining.api.report import LinkBytes
from splittraining.api.wire_plan import CLIENT_OWNER
from splittraining.party.training.client_secret import SECRET_BYTES
from splittraining.party.training.share import ModelShare
from splittraining.party.wire.frame import HEADER_BYTES
from splittraining.pki.sealing import PIECE_OVERHEAD_BYTES
from support.cases import ADAM, MOMENTUM, Case, a_u_shaped_case, a_vanilla_case
from support.oracle import train_centrally
from support.runs import FinishedRun, run_case

CLIENTS = ("north", "south", "west")
RING = (("north", "south"), ("south", "west"), ("west", "north"))
SEALED_BYTES = PIECE_OVERHEAD_BYTES + HEADER_BYTES
"""What sealing and framing add to a blob of at most 1 MiB."""


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


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Three clients of 3, 2 and 3 batches, two rounds, Adam; all of them evaluate after each round."""
    return succeed(directly(a_vanilla_case(optimizer=ADAM)), tmp_path_factory.mktemp("observed"))


def measure_states(run: FinishedRun) -> dict[tuple[bool, int], int]:
    """Returns the bytes of a packed client segment, by whether weights travel alone and by the digits of the step."""
    document = PartyDocument.model_validate_json((run.folder / "north" / "party.json").read_bytes())
    share = ModelShare(
        document.contract, owner=CLIENT_OWNER, source_path=document.source_path, device=torch.device("cpu")
    )
    for parameter in share.parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    share.optimizer.step()
    sizes = {}
    for weights_only in (False, True):
        for step in (5, 16):
            sizes[weights_only, len(str(step))] = len(share.export_state(step=step, weights_only=weights_only))
    return sizes


def test_each_pair_carries_its_hand_offs_to_the_byte_and_nothing_else(observed: FinishedRun) -> None:
    sizes = measure_states(observed)
    # By pair and step boundary: K state passes a round (but for the first turn of all), K - 1 of weights.
    states = [("north", 3), ("south", 5), ("west", 8), ("north", 11), ("south", 13)]
    weights = [("west", 8), ("north", 8), ("west", 16), ("north", 16)]
    expected = Counter[str]()
    for passes, weights_only in ((states, False), (weights, True)):
        for sender, step in passes:
            expected[sender] += sizes[weights_only, len(str(step))] + SEALED_BYTES
    links = list_links(observed)
    for sender, receiver in RING:
        there, back = links[sender, receiver], links[receiver, sender]
        assert there.sealed_sent == back.sealed_received == expected[sender]
        assert (there.sealed_received, back.sealed_sent) == (0, 0)
        assert not {there.payload_sent, there.payload_received, there.framing_sent, there.framing_received} - {0}


def test_the_server_carries_the_clients_secret_and_no_hand_off(observed: FinishedRun) -> None:
    links = list_links(observed)
    secret = SECRET_BYTES + SEALED_BYTES
    received = {client: links["server", client].sealed_received for client in CLIENTS}
    assert received == {"north": 2 * secret, "south": 0, "west": 0}
    assert {client: links["server", client].sealed_sent for client in CLIENTS} == {
        "north": 0,
        "south": secret,
        "west": secret,
    }
