"""A PeerToPeer hand-off on a real node: each client is dialed by its predecessor in the ring, and by nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.house_support import ROOT
from support.installation import (
    FOR_A_WHILE,
    Installation,
    Room,
    get_state,
    is_training,
    make_data,
    read_example,
)

pytestmark = pytest.mark.xdist_group("ring")  # one training for all of them

PORT = 7443
EXAMPLE = ROOT / "examples" / "09-peer-to-peer-three-clinics"
RING = [("lisbon", "porto"), ("porto", "braga"), ("braga", "lisbon")]
DIAL = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5); print('open')"


@pytest.fixture(scope="module")
def room(installation: Installation) -> Iterator[Room]:
    """One namespace for all tests of this file: they look at one training that goes on."""
    room = installation.make_room()
    yield room
    room.leave()


@pytest.fixture(scope="module")
def training(room: Room) -> dict[str, Any]:
    *others, training = sorted(read_example(EXAMPLE), key=lambda document: document["kind"] == "SplitTraining")
    training["spec"]["rounds"] = FOR_A_WHILE
    room.offer(make_data(EXAMPLE))
    room.apply(*others, training)
    name = training["metadata"]["name"]
    return room.wait_for(name, "a trained step", is_training, patience_s=240)


def find_address(room: Room, party: str) -> str:
    return str(room.list_pods(party=party)[0]["status"]["podIP"])


@pytest.mark.parametrize(("sender", "receiver"), RING)
@pytest.mark.usefixtures("training")
def test_a_client_reaches_its_successor_and_no_other_client(room: Room, sender: str, receiver: str) -> None:
    pod = room.list_pods(party=sender)[0]["metadata"]["name"]
    (other,) = {"lisbon", "porto", "braga"} - {sender, receiver}
    dial = ("exec", pod, "--", "python3", "-c", DIAL)
    assert "open" in room.kubectl(*dial, find_address(room, receiver), str(PORT))
    assert "open" not in room.kubectl(*dial, find_address(room, other), str(PORT), check=False)


@pytest.mark.usefixtures("training")
def test_the_server_party_reaches_no_client(room: Room) -> None:
    pod = room.list_pods(party="server")[0]["metadata"]["name"]
    for client in ("lisbon", "porto", "braga"):
        address = find_address(room, client)
        done = room.kubectl("exec", pod, "--", "python3", "-c", DIAL, address, str(PORT), check=False)
        assert "open" not in done


def test_in_the_place_of_a_party_without_a_link_nobody_reaches_a_client(room: Room, training: dict[str, Any]) -> None:
    address = find_address(room, "porto")
    run = {"splitlearning.dev/training-uid": training["metadata"]["uid"]}
    places = {
        "stranger": {},
        "as-server": {**run, "splitlearning.dev/party": "server"},
        "as-successor": {**run, "splitlearning.dev/party": "braga"},
        "as-namesake": {"splitlearning.dev/training-uid": "another-run", "splitlearning.dev/party": "lisbon"},
    }
    for name, labels in places.items():
        assert "open" not in room.run_pod(name, DIAL, address, str(PORT), labels=labels), name
    # The same pod in the predecessor's place gets through: it is the policy that kept the others out.
    assert "open" in room.run_pod(
        "as-predecessor", DIAL, address, str(PORT), labels={**run, "splitlearning.dev/party": "lisbon"}
    )
    assert get_state(room.get(training["metadata"]["name"])) == "Running"
