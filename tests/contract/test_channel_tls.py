"""Who may have a stream, over real TLS, and what the refused are told."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from grpc.experimental import session_cache

from splittraining.api.errors import IdentityRefused, PeerFailed, PeerLost, ProtocolViolation, StartTimeout
from splittraining.api.party_document import Endpoint
from splittraining.party.wire.frame import FRAME_LIMIT_BYTES, FrameType, parse_header
from splittraining.party.wire.goodbye import build_finished
from splittraining.party.wire.grpc_client import dial
from splittraining.party.wire.grpc_common import METHOD, NONCE_METADATA, SERVICE
from splittraining.party.wire.grpc_server import GrpcServer
from splittraining.party.wire.progress import Progress
from splittraining.pki.bundle import TrustBundle
from splittraining.pki.credentials import Credentials
from splittraining.pki.keys import build_alternative_names
from splittraining.pki.live import LiveCredentials
from support.pki_support import a_site, an_identity, join_bundles
from support.wire_support import (
    CLIENT,
    Listening,
    a_control_frame,
    a_held_endpoint,
    a_server,
    in_thread,
)

PATH = f"/{SERVICE}/{METHOD}"
NAMED = ((NONCE_METADATA, bytes(32)),)


@pytest.fixture
def listening() -> Iterator[Listening]:
    with a_server(a_site(), CLIENT, "north") as server:
        yield server


def _open_raw(listening: Listening, credentials: Credentials, *options: tuple[str, object]) -> grpc.Channel:
    """Opens a gRPC channel without this project's client, which would refuse by itself."""
    return grpc.secure_channel(
        f"{listening.endpoint.host}:{listening.endpoint.port}",
        grpc.ssl_channel_credentials(listening.site.ca.certificate_pem, credentials.key_pem, credentials.leaf_pem),
        options=(
            ("grpc.ssl_target_name_override", an_identity("server").dns_name),
            ("grpc.enable_http_proxy", 0),
            *options,
        ),
    )


def test_the_right_client_is_admitted_and_reaches_the_server(listening: Listening) -> None:
    channel = listening.dial(listening.site.admit(CLIENT))
    accepted = listening.server.accept(10)
    channel.send(a_control_frame())
    assert (accepted.peer, channel.peer) == (CLIENT, "server")
    assert accepted.recv(10) == a_control_frame()
    channel.close(build_finished(CLIENT))


def test_clients_are_accepted_in_order_of_arrival(listening: Listening) -> None:
    listening.dial(listening.site.admit("north"))
    first = listening.server.accept(10)
    listening.dial(listening.site.admit(CLIENT))
    assert [first.peer, listening.server.accept(10).peer] == ["north", CLIENT]


def test_a_leaf_of_a_wrong_ca_is_refused_by_the_server(listening: Listening) -> None:
    foreign = a_site()
    roots = (foreign.ca.certificate_pem, listening.site.ca.certificate_pem)
    stranger = replace(foreign.admit(CLIENT), bundle=TrustBundle({foreign.ca.trust_domain: roots}))
    with pytest.raises(IdentityRefused, match="closed the connection when it saw this party's certificate"):
        listening.dial(stranger)


def test_a_server_of_a_wrong_ca_is_refused_by_the_client(listening: Listening) -> None:
    with pytest.raises(IdentityRefused, match=r"TLS handshake with server failed.*CERTIFICATE_VERIFY_FAILED"):
        listening.dial(a_site().admit(CLIENT))


def test_a_leaf_of_a_wrong_ca_is_refused_before_the_dial_if_the_bundle_shows_it(listening: Listening) -> None:
    with pytest.raises(IdentityRefused, match="not issued by a CA of trust domain"):
        listening.dial(replace(a_site().admit(CLIENT), bundle=listening.site.bundle))


def test_another_party_of_the_right_ca_is_refused_by_name(listening: Listening) -> None:
    with pytest.raises(IdentityRefused, match=r"party/mallory.*Allowed:.*party/st-mary.*party/north"):
        listening.dial(listening.site.admit("mallory"))


def test_the_leaf_of_another_run_is_refused_by_name(listening: Listening) -> None:
    with pytest.raises(IdentityRefused, match=r"run/run-2/party/st-mary.*Allowed:.*run/run-1/party/st-mary"):
        listening.dial(listening.site.admit(CLIENT, run_id="run-2"))


def test_a_server_of_another_run_is_refused_by_the_client() -> None:
    site = a_site()
    refused = pytest.raises(IdentityRefused, match="Hostname Verification Check failed")
    with a_server(site, CLIENT, credentials=site.admit("server", run_id="run-0")) as listening, refused:
        listening.dial(site.admit(CLIENT))


def test_an_expired_leaf_is_refused_by_the_server() -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    site = a_site(now=yesterday)
    expired = site.admit(CLIENT, duration=timedelta(hours=1))
    server_leaf = site.admit("server", now=yesterday, duration=timedelta(days=3))
    refused = pytest.raises(IdentityRefused, match="closed the connection when it saw this party's certificate")
    with a_server(site, CLIENT, credentials=server_leaf) as listening, refused:
        dial(
            LiveCredentials(expired),
            listening.endpoint,
            an_identity("server"),
            progress=Progress(),
            ready_timeout_s=10,
            now=lambda: yesterday,  # a client whose clock is behind would dial with it
        )


def test_a_client_does_not_dial_with_an_expired_leaf(listening: Listening) -> None:
    site = a_site(now=datetime.now(UTC) - timedelta(days=1))
    with pytest.raises(IdentityRefused, match="expired at"):
        listening.dial(site.admit(CLIENT, duration=timedelta(hours=1)))


def test_a_second_site_cannot_speak_for_the_first_though_both_are_trusted() -> None:
    first, second = a_site("alpha.example"), a_site("beta.example")
    bundle = join_bundles(first, second)
    known = first.admit(CLIENT)
    forged = replace(
        known, leaf_pem=second.forge(build_alternative_names(known.identity), key=known.key), bundle=bundle
    )
    server = replace(first.admit("server"), bundle=bundle)
    with a_server(first, CLIENT, credentials=server) as listening:
        call = _open_raw(listening, forged).stream_stream(PATH)(iter(()))
        with pytest.raises(grpc.RpcError) as refused:
            next(call)
    assert "not issued by a CA of trust domain 'alpha.example'" in str(refused.value.details())


def test_plaintext_is_refused(listening: Listening) -> None:
    address = f"127.0.0.1:{listening.endpoint.port}"
    with (
        grpc.insecure_channel(address, options=(("grpc.enable_http_proxy", 0),)) as raw,
        pytest.raises(grpc.RpcError) as refused,
    ):
        next(raw.stream_stream(PATH)(iter(())))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_client_meets_no_server_in_plaintext() -> None:
    with a_held_endpoint() as endpoint:
        server = grpc.server(ThreadPoolExecutor(1), options=(("grpc.so_reuseport", 1),))
        server.add_insecure_port(f"127.0.0.1:{endpoint.port}")
        server.start()
        site = a_site()
        with pytest.raises(IdentityRefused, match="TLS handshake with server failed"):
            dial(
                LiveCredentials(site.admit(CLIENT)),
                endpoint,
                an_identity("server"),
                progress=Progress(),
                ready_timeout_s=10,
            )
        server.stop(None).wait()


def _shake_hands(listening: Listening, folder: Path, version: ssl.TLSVersion) -> bytes:
    """Connects with one version of TLS and a valid leaf; returns the first byte of what the server says."""
    credentials = listening.site.admit(CLIENT)
    chain = folder / "chain.pem"
    chain.write_bytes(credentials.key_pem + credentials.leaf_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    context.load_verify_locations(cadata=listening.site.ca.certificate_pem.decode())
    context.load_cert_chain(chain)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", listening.endpoint.port), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname=an_identity("server").dns_name) as connection,
    ):
        return connection.recv(1)


def test_tls_1_2_is_refused(listening: Listening, tmp_path: Path) -> None:
    assert _shake_hands(listening, tmp_path, ssl.TLSVersion.TLSv1_3)
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        _shake_hands(listening, tmp_path, ssl.TLSVersion.TLSv1_2)


def test_a_resumed_session_is_refused(listening: Listening) -> None:
    credentials = listening.site.admit(CLIENT)
    cache = ("grpc.ssl_session_cache", session_cache.ssl_session_cache_lru(1))
    requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    with _open_raw(listening, credentials, cache, ("grpc.use_local_subchannel_pool", 1)) as first:
        call = first.stream_stream(PATH)(iter(requests.get, None), metadata=NAMED)
        assert parse_header(next(call)).type is FrameType.HEARTBEAT  # with data came the session's ticket
        requests.put(None)
    with (
        _open_raw(listening, credentials, cache, ("grpc.use_local_subchannel_pool", 1)) as second,
        pytest.raises(grpc.RpcError) as refused,
    ):
        next(second.stream_stream(PATH)(iter(())))
    assert "session reused: true" in str(refused.value.details())


def test_a_second_stream_of_the_same_party_is_refused_by_name(listening: Listening) -> None:
    first = listening.dial(listening.site.admit(CLIENT))
    with pytest.raises(ProtocolViolation, match=f"a second stream of {CLIENT}.*one live stream per party"):
        listening.dial(listening.site.admit(CLIENT))
    first.send(a_control_frame())
    assert listening.server.accept(10).recv(10) == a_control_frame()


def test_a_party_may_come_again_after_its_stream_has_ended(listening: Listening) -> None:
    listening.dial(listening.site.admit(CLIENT)).close(build_finished(CLIENT))
    listening.server.accept(10)
    listening.dial(listening.site.admit(CLIENT))
    assert listening.server.accept(10).peer == CLIENT


def test_a_stream_that_nothing_names_is_refused(listening: Listening) -> None:
    with _open_raw(listening, listening.site.admit(CLIENT)) as raw, pytest.raises(grpc.RpcError) as refused:
        next(raw.stream_stream(PATH)(iter(())))
    assert "without the random number that names it" in str(refused.value.details())


def test_a_frame_longer_than_allowed_is_refused_by_name(listening: Listening) -> None:
    with _open_raw(listening, listening.site.admit(CLIENT)) as raw:
        call = raw.stream_stream(PATH)(iter((bytes(FRAME_LIMIT_BYTES + 1),)), metadata=NAMED)
        with pytest.raises(ProtocolViolation, match=f"a frame of {FRAME_LIMIT_BYTES + 1} bytes.*{FRAME_LIMIT_BYTES}"):
            listening.server.accept(10).recv(10)
        call.cancel()


def test_a_frame_much_longer_than_allowed_does_not_reach_the_server_at_all(listening: Listening) -> None:
    with _open_raw(listening, listening.site.admit(CLIENT)) as raw:
        call = raw.stream_stream(PATH)(iter((bytes(2 * FRAME_LIMIT_BYTES),)), metadata=NAMED)
        with pytest.raises(PeerLost):
            listening.server.accept(10).recv(10)
        with pytest.raises(grpc.RpcError):
            list(call)
    assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_stream_ends_when_the_peers_certificate_expires() -> None:
    site = a_site()
    short = timedelta(seconds=4)
    with a_server(site, CLIENT) as listening:
        client = listening.dial(site.admit(CLIENT, duration=short))
        with pytest.raises(IdentityRefused, match=f"the certificate of {CLIENT} expired at"):
            listening.server.accept(10).recv(30)
        with pytest.raises(PeerFailed, match=r"ended with IdentityRefused.*expired"):
            client.recv(10)


def test_the_client_ends_the_stream_when_the_servers_certificate_expires() -> None:
    site = a_site()
    with a_server(site, CLIENT, credentials=site.admit("server", duration=timedelta(seconds=4))) as listening:
        client = listening.dial(site.admit(CLIENT))
        with pytest.raises(IdentityRefused, match="the certificate of server expired at"):
            client.recv(30)


def test_a_dial_waits_for_a_server_that_comes_later() -> None:
    site = a_site()
    with a_held_endpoint() as endpoint:
        dialing = in_thread(
            lambda: dial(
                LiveCredentials(site.admit(CLIENT)),
                endpoint,
                an_identity("server"),
                progress=Progress(),
                ready_timeout_s=30,
            )
        )
        server = GrpcServer(
            LiveCredentials(site.admit("server")), endpoint, {CLIENT: an_identity(CLIENT)}, progress=Progress()
        )
        server.start()
        channel = dialing.result(30)
        assert server.accept(10).peer == CLIENT
        channel.abort()
        server.close()


def test_a_dial_that_nobody_answers_ends_with_a_start_timeout() -> None:
    refused = pytest.raises(StartTimeout, match=r"server did not answer at 127.0.0.1:.*Connection refused")
    with a_held_endpoint() as endpoint, refused:
        dial(
            LiveCredentials(a_site().admit(CLIENT)),
            endpoint,
            an_identity("server"),
            progress=Progress(),
            ready_timeout_s=0.5,
        )


def test_a_name_that_does_not_resolve_is_waited_for_whatever_it_is_called() -> None:
    endpoint = Endpoint(host="certificate-study.invalid", port=7443)
    with pytest.raises(StartTimeout, match=r"server did not answer at certificate-study\.invalid:7443 for 0\.3 s"):
        dial(
            LiveCredentials(a_site().admit(CLIENT)),
            endpoint,
            an_identity("server"),
            progress=Progress(),
            ready_timeout_s=0.3,
        )


def test_a_relay_that_closes_every_connection_is_no_refusal() -> None:
    with socket.socket() as relay:
        relay.bind(("127.0.0.1", 0))
        relay.listen()

        def close_all() -> None:
            with contextlib.suppress(OSError):
                while True:
                    relay.accept()[0].close()

        in_thread(close_all)
        endpoint = Endpoint(host="127.0.0.1", port=relay.getsockname()[1])
        with pytest.raises(StartTimeout, match="server did not answer"):
            dial(
                LiveCredentials(a_site().admit(CLIENT)),
                endpoint,
                an_identity("server"),
                progress=Progress(),
                ready_timeout_s=0.5,
            )
        relay.shutdown(socket.SHUT_RDWR)


def test_a_server_that_waits_in_vain_names_who_never_came(listening: Listening) -> None:
    listening.dial(listening.site.admit(CLIENT))
    listening.server.accept(10)
    with pytest.raises(StartTimeout, match=r"no stream came from north within 0.1 s"):
        listening.server.accept(0.1)


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = Endpoint(host="127.0.0.1", port=taken.getsockname()[1])
        server = GrpcServer(LiveCredentials(a_site().admit("server")), endpoint, {}, progress=Progress())
        with pytest.raises(StartTimeout, match=r"cannot listen on 127.0.0.1"):
            server.start()


def test_the_loss_of_one_client_ends_waiting_for_another(listening: Listening) -> None:
    doomed, other = listening.dial(listening.site.admit(CLIENT)), listening.dial(listening.site.admit("north"))
    channels = {channel.peer: channel for channel in (listening.server.accept(10), listening.server.accept(10))}
    waiting = in_thread(lambda: channels["north"].recv(30))
    doomed.abort()
    with pytest.raises(PeerLost, match=f"the connection to {CLIENT} ended"):
        waiting.result(10)
    other.abort()


_CLIENT_PROCESS = """
import json, sys
from splittraining.party.wire.tls import prepare_grpc_environment
prepare_grpc_environment()
from datetime import UTC, datetime
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from splittraining.api.identity import PartyIdentity
from splittraining.api.party_document import Endpoint
from splittraining.party.wire.grpc_client import dial
from splittraining.party.wire.progress import Progress
from splittraining.pki.bundle import parse_trust_bundle
from splittraining.pki.credentials import build_credentials
from splittraining.pki.live import LiveCredentials
given = json.load(sys.stdin)
identity = PartyIdentity(given["domain"], given["run"], given["party"])
key = load_pem_private_key(given["key"].encode(), None)
credentials = build_credentials(
    key, given["leaf"].encode(), bundle=parse_trust_bundle(given["bundle"]), identity=identity, now=datetime.now(UTC)
)
server = PartyIdentity(given["domain"], given["run"], "server")
endpoint = Endpoint(host="127.0.0.1", port=given["port"])
dial(LiveCredentials(credentials), endpoint, server, progress=Progress(), ready_timeout_s=20).recv()
"""


def test_a_killed_client_process_is_lost_at_once(listening: Listening) -> None:
    credentials = listening.site.admit(CLIENT)
    given = {
        "domain": credentials.identity.trust_domain,
        "run": credentials.identity.run_id,
        "party": CLIENT,
        "key": credentials.key_pem.decode(),
        "leaf": credentials.leaf_pem.decode(),
        "bundle": credentials.bundle.as_json_object(),
        "port": listening.endpoint.port,
    }
    with subprocess.Popen([sys.executable, "-c", _CLIENT_PROCESS], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(given).encode())
        process.stdin.close()
        channel = listening.server.accept(30)
        os.kill(process.pid, signal.SIGKILL)
        killed_at_s = time.monotonic()
        with pytest.raises(PeerLost, match=f"the connection to {CLIENT} ended without a Goodbye"):
            channel.recv(15)
        assert time.monotonic() - killed_at_s < 5


def test_waiting_for_clients_ends_when_one_that_came_is_lost(listening: Listening) -> None:
    doomed = listening.dial(listening.site.admit(CLIENT))
    listening.server.accept(10)
    waiting = in_thread(lambda: listening.server.accept(30))
    doomed.abort()
    with pytest.raises(PeerLost, match=f"the connection to {CLIENT} ended"):
        waiting.result(10)
