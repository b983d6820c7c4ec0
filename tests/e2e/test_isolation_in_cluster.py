"""Who may talk to a party on a real node: its peers, and nobody else, by the network and by the certificate.

All tests look at one training that goes on: three clients in a ring, each dialed by its predecessor, and the server.
"""

from __future__ import annotations

import json
import socket
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from splittraining.api.errors import IdentityRefused
from splittraining.api.identity import PartyIdentity
from splittraining.api.party_document import Endpoint
from splittraining.party.wire.grpc_client import dial
from splittraining.party.wire.progress import Progress
from splittraining.pki.bundle import TrustBundle
from splittraining.pki.ca import SiteCA
from splittraining.pki.live import LiveCredentials
from splittraining.pki.tls import build_client_context
from support.house_support import ROOT
from support.installation import (
    RELEASE,
    SYSTEM,
    Installation,
    Room,
    get_state,
    is_training,
    make_data,
    make_lasting,
    read_example,
)
from support.pki_support import Site, current_time

PORT = 7443
DOMAIN = "cluster.local"
EXAMPLE = ROOT / "examples" / "09-peer-to-peer-three-clinics"
RING = [("lisbon", "porto"), ("porto", "braga"), ("braga", "lisbon")]
DIAL = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3); print('open')"


@pytest.fixture(scope="module")
def room(installation: Installation) -> Iterator[Room]:
    """One namespace for all tests of this file: they look at one training that goes on."""
    room = installation.make_room()
    yield room
    room.leave()


@pytest.fixture(scope="module")
def training(room: Room) -> dict[str, Any]:
    *others, training = sorted(read_example(EXAMPLE), key=lambda document: document["kind"] == "SplitTraining")
    make_lasting([*others, training])
    room.offer(make_data(EXAMPLE))
    room.apply(*others, training)
    name = training["metadata"]["name"]
    return room.wait_for(name, "a trained step", is_training, patience_s=240)


def find_address(room: Room, party: str) -> str:
    return str(room.list_pods(party=party)[0]["status"]["podIP"])


@contextmanager
def forwarded(room: Room, pod: str, port: int) -> Iterator[int]:
    """Forwards a port of this machine to one of a pod: it comes from the node, which policies let pass."""
    command = ["kubectl", "--namespace", room.namespace, "port-forward", f"pod/{pod}", f":{port}"]
    with subprocess.Popen(command, env=room.installation.environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().split(":")[1].split()[0])
        finally:
            process.kill()


def read_site(installation: Installation) -> Site:
    """Reads the operator's CA as only a cluster's administrator can."""
    secret = installation.client.get(f"/api/v1/namespaces/{SYSTEM}/secrets/{RELEASE}-ca")["data"]
    key, certificate = (b64decode(secret[name]) for name in ("ca.key", "ca.crt"))
    ca = SiteCA.parse(DOMAIN, key_pem=key, certificate_pem=certificate)
    return Site(ca, TrustBundle({DOMAIN: (certificate,)}), current_time())


def as_party(training: dict[str, Any], party: str) -> dict[str, str]:
    """Returns the labels that a party's pod has."""
    return {
        "splitlearning.dev/training-uid": training["metadata"]["uid"],
        "splitlearning.dev/party": party,
        "app.kubernetes.io/managed-by": "splittraining",
        "app.kubernetes.io/name": "splittraining-party",
        "splitlearning.dev/training": training["metadata"]["name"],
    }


def test_a_stranger_in_the_namespace_does_not_reach_the_server_party(room: Room, training: dict[str, Any]) -> None:
    address = find_address(room, "server")
    assert "open" not in room.run_pod("stranger-to-server", DIAL, address, str(PORT))
    # The same pod with a client's labels gets through: it is the policy that kept the other one out.
    assert "open" in room.run_pod("impostor", DIAL, address, str(PORT), labels=as_party(training, "lisbon"))
    assert get_state(room.get(training["metadata"]["name"])) == "Running"


@pytest.mark.usefixtures("training")
def test_a_party_reaches_the_server_party_and_not_the_api_server(room: Room) -> None:
    pod = room.list_pods(party="porto")[0]["metadata"]["name"]
    api = json.loads(room.kubectl("get", "service", "kubernetes", "-n", "default", "-o", "json"))["spec"]["clusterIP"]
    dial = ("exec", pod, "--", "python3", "-c", DIAL)
    assert "open" not in room.kubectl(*dial, api, "443", check=False)
    assert "open" in room.kubectl(*dial, find_address(room, "server"), str(PORT))


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


def test_a_leaf_of_another_training_opens_no_stream(room: Room, training: dict[str, Any]) -> None:
    run_id = training["metadata"]["uid"]
    stranger = read_site(room.installation).admit("lisbon", run_id="another-run")
    pod = room.list_pods(party="server")[0]["metadata"]["name"]
    with (
        forwarded(room, pod, PORT) as port,
        pytest.raises(IdentityRefused, match=rf"run/another-run/party/lisbon.*Allowed:.*run/{run_id}/party/lisbon"),
    ):
        dial(
            LiveCredentials(stranger),
            Endpoint(host="127.0.0.1", port=port),
            PartyIdentity(DOMAIN, run_id, "server"),
            progress=Progress(),
            ready_timeout_s=20,
        )
    assert get_state(room.get(training["metadata"]["name"])) == "Running"


@pytest.mark.parametrize("is_admitted", [True, False], ids=["the client itself", "somebody without a certificate"])
def test_tls_lets_nobody_in_without_a_certificate(room: Room, training: dict[str, Any], *, is_admitted: bool) -> None:
    run_id = training["metadata"]["uid"]
    site = read_site(room.installation)
    client = site.admit("lisbon", run_id=run_id)
    leaf = {"leaf_pem": client.leaf_pem, "key_pem": client.key_pem} if is_admitted else {}
    context = build_client_context(site.ca.certificate_pem, **leaf)
    context.set_alpn_protocols(["h2"])
    pod = room.list_pods(party="server")[0]["metadata"]["name"]
    with (
        forwarded(room, pod, PORT) as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=PartyIdentity(DOMAIN, run_id, "server").dns_name) as secure,
    ):
        try:
            answer = secure.recv(1)  # an HTTP/2 server speaks first
        except OSError:
            answer = b""
    assert bool(answer) is is_admitted
