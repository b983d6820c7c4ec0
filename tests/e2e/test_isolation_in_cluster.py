"""Who may talk to a party on a real node: its peers, and nobody else, by the network and by the certificate.

All tests look at one training that goes on: three clients in a ring, each dialed by its predecessor, and the server.
"""

from __future__ import annotations

import ast
import json
import socket
import subprocess
from base64 import b64decode
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
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

pytestmark = pytest.mark.outlasts_operator

PORT = 7443
DOMAIN = "cluster.local"
EXAMPLE = ROOT / "examples" / "09-peer-to-peer-three-clinics"
RING = [("lisbon", "porto"), ("porto", "braga"), ("braga", "lisbon")]
DIAL = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor

def is_open(address):
    try:
        socket.create_connection((address, int(sys.argv[1])), timeout=3).close()
    except OSError:
        return False
    return True

addresses = sys.argv[2:]
with ThreadPoolExecutor() as pool:
    print([address for address, known in zip(addresses, pool.map(is_open, addresses)) if known])
"""
"""Prints which of some addresses let a port be dialed; all are tried at once, since a policy answers with silence."""


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


def dial_from(room: Room, party: str, *addresses: str, port: int = PORT) -> set[str]:
    """Dials addresses from a party's pod; returns those that it reached."""
    pod = room.list_pods(party=party)[0]["metadata"]["name"]
    return set(ast.literal_eval(room.kubectl("exec", pod, "--", "python3", "-c", DIAL, str(port), *addresses)))


def dial_from_new_pods(room: Room, address: str, pods: Mapping[str, Mapping[str, str]]) -> set[str]:
    """Dials an address from new pods with labels, all at once; returns the names of those that reached it."""

    def reaches(name: str) -> bool:
        return address in ast.literal_eval(room.run_pod(name, DIAL, str(PORT), address, labels=pods[name]))

    with ThreadPoolExecutor() as pool:
        return {name for name, is_reached in zip(pods, pool.map(reaches, pods), strict=True) if is_reached}


def test_a_stranger_in_the_namespace_does_not_reach_the_server_party(room: Room, training: dict[str, Any]) -> None:
    # The same pod with a client's labels gets through: it is the policy that keeps the other one out.
    pods = {"stranger-to-server": {}, "impostor": as_party(training, "lisbon")}
    assert dial_from_new_pods(room, find_address(room, "server"), pods) == {"impostor"}
    assert get_state(room.get(training["metadata"]["name"])) == "Running"


@pytest.mark.usefixtures("training")
def test_a_party_reaches_the_server_party_and_not_the_api_server(room: Room) -> None:
    api = json.loads(room.kubectl("get", "service", "kubernetes", "-n", "default", "-o", "json"))["spec"]["clusterIP"]
    assert dial_from(room, "porto", api, port=443) == set()
    server = find_address(room, "server")
    assert dial_from(room, "porto", server) == {server}


@pytest.mark.parametrize(("sender", "receiver"), RING)
@pytest.mark.usefixtures("training")
def test_a_client_reaches_the_server_and_its_successor_and_no_other_client(
    room: Room, sender: str, receiver: str
) -> None:
    (other,) = {"lisbon", "porto", "braga"} - {sender, receiver}
    server, successor, stranger = (find_address(room, party) for party in ("server", receiver, other))
    assert dial_from(room, sender, server, successor, stranger) == {server, successor}


@pytest.mark.usefixtures("training")
def test_the_server_party_reaches_no_client(room: Room) -> None:
    assert dial_from(room, "server", *(find_address(room, client) for client in ("lisbon", "porto", "braga"))) == set()


def test_in_the_place_of_a_party_without_a_link_nobody_reaches_a_client(room: Room, training: dict[str, Any]) -> None:
    run = {"splitlearning.dev/training-uid": training["metadata"]["uid"]}
    pods = {
        "stranger": {},
        "as-server": {**run, "splitlearning.dev/party": "server"},
        "as-successor": {**run, "splitlearning.dev/party": "braga"},
        "as-namesake": {"splitlearning.dev/training-uid": "another-run", "splitlearning.dev/party": "lisbon"},
        # The same pod in the predecessor's place gets through: it is the policy that keeps the others out.
        "as-predecessor": {**run, "splitlearning.dev/party": "lisbon"},
    }
    assert dial_from_new_pods(room, find_address(room, "porto"), pods) == {"as-predecessor"}
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
