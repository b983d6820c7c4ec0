"""Who may talk to a party on a real node: its peers, and nobody else, by the network and by the certificate."""

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
from support.installation import RELEASE, SYSTEM, Installation, Room, begin_lasting, get_state
from support.pki_support import Site, current_time

pytestmark = pytest.mark.xdist_group("isolation")  # one training for all of them

PORT = 7443
DOMAIN = "cluster.local"
DIAL = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5); print('open')"


@pytest.fixture(scope="module")
def room(installation: Installation) -> Iterator[Room]:
    """One namespace for all tests of this file: they look at one training that goes on."""
    room = installation.make_room()
    yield room
    room.leave()


@pytest.fixture(scope="module")
def training(room: Room) -> dict[str, Any]:
    return begin_lasting(room)


def find_address(room: Room) -> str:
    return str(room.list_pods(party="server")[0]["status"]["podIP"])


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


def test_a_stranger_in_the_namespace_does_not_reach_the_server_party(room: Room, training: dict[str, Any]) -> None:
    address = find_address(room)
    assert "open" not in room.run_pod("stranger", DIAL, address, str(PORT))
    # The same pod with a client's labels gets through: it is the policy that kept the other one out.
    client = {
        "splitlearning.dev/training-uid": training["metadata"]["uid"],
        "splitlearning.dev/party": "st-mary",
        "app.kubernetes.io/managed-by": "splittraining",
        "app.kubernetes.io/name": "splittraining-party",
        "splitlearning.dev/training": training["metadata"]["name"],
    }
    assert "open" in room.run_pod("impostor", DIAL, address, str(PORT), labels=client)
    assert get_state(room.get(training["metadata"]["name"])) == "Running"


@pytest.mark.usefixtures("training")
def test_a_party_reaches_nothing_but_its_peers_the_intake_and_names(room: Room) -> None:
    pod = room.list_pods(party="st-luke")[0]["metadata"]["name"]
    mary = room.list_pods(party="st-mary")[0]["status"]["podIP"]
    api = json.loads(room.kubectl("get", "service", "kubernetes", "-n", "default", "-o", "json"))["spec"]["clusterIP"]
    for host, port in ((api, 443), (mary, PORT)):
        done = room.kubectl("exec", pod, "--", "python3", "-c", DIAL, host, str(port), check=False)
        assert "open" not in done
    assert "open" in room.kubectl("exec", pod, "--", "python3", "-c", DIAL, find_address(room), str(PORT))


def test_a_leaf_of_another_training_opens_no_stream(room: Room, training: dict[str, Any]) -> None:
    run_id = training["metadata"]["uid"]
    stranger = read_site(room.installation).admit("st-mary", run_id="another-run")
    pod = room.list_pods(party="server")[0]["metadata"]["name"]
    with (
        forwarded(room, pod, PORT) as port,
        pytest.raises(IdentityRefused, match=rf"run/another-run/party/st-mary.*Allowed:.*run/{run_id}/party/st-mary"),
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
    client = site.admit("st-mary", run_id=run_id)
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
