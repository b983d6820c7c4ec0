"""The raw channel beside a plain TLS 1.3 socket: two processes, one connection of each kind, rounds that alternate.

`run.py` starts this file with an OpenSSL configuration that leaves AES-128-GCM alone, since Python 3.11 cannot choose a
suite of TLS 1.3 itself; gRPC chooses the same one. It prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from splittraining.party.wire.tls import prepare_grpc_environment

prepare_grpc_environment()  # before gRPC is imported, as in a party

import torch  # noqa: E402

from splittraining.api.identity import SERVER_PARTY  # noqa: E402
from splittraining.api.party_document import Endpoint  # noqa: E402
from splittraining.api.wire_plan import Direction, DType, Transfer, Value, ValueSource  # noqa: E402
from splittraining.party.wire.goodbye import build_finished  # noqa: E402
from splittraining.party.wire.grpc_client import dial  # noqa: E402
from splittraining.party.wire.grpc_server import GrpcServer  # noqa: E402
from splittraining.party.wire.link import Link  # noqa: E402
from splittraining.party.wire.progress import Progress  # noqa: E402
from splittraining.pki.live import LiveCredentials  # noqa: E402
from support.pki_support import Site, a_site, an_identity  # noqa: E402
from support.wire_support import a_held_endpoint  # noqa: E402

CLIENT = "a"
ROWS = 64
SIZES_BYTES = (64 << 10, 1 << 20, 4 << 20, 16 << 20)
REPEATS = {64 << 10: 20, 1 << 20: 8, 4 << 20: 4, 16 << 20: 2}
"""Round trips of each size in one round; the first round warms up and is not counted."""
SUITE = ("TLS_AES_128_GCM_SHA256", "TLSv1.3", 128)


def measure(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Returns the seconds of every round trip, by kind and size."""
    site = a_site()
    with a_held_endpoint() as endpoint, socket.create_server(("127.0.0.1", 0)) as listener:
        # Forked before gRPC has started anything: the only time at which it may be.
        peer = os.fork()
        if peer == 0:
            _answer(site, endpoint, listener, rounds=rounds)
            os._exit(0)
        seconds = _ask(site, endpoint, listener.getsockname(), rounds=rounds)
        os.waitpid(peer, 0)
    return seconds


def _ask(site: Site, endpoint: Endpoint, address: tuple[str, int], *, rounds: int) -> dict[str, dict[str, list[float]]]:
    torch.set_num_threads(1)
    channel = dial(
        LiveCredentials(site.admit(CLIENT)),
        endpoint,
        an_identity(SERVER_PARTY),
        progress=Progress(),
        ready_timeout_s=60,
    )
    link = Link(channel, generation=1, max_rows=ROWS)
    seconds: dict[str, dict[str, list[float]]] = {kind: {str(size): [] for size in SIZES_BYTES} for kind in KINDS}
    with _tls_context(site, CLIENT, ssl.PROTOCOL_TLS_CLIENT) as context:
        tls = context.wrap_socket(_without_delay(socket.create_connection(address)))
    assert tls.cipher() == SUITE, tls.cipher()
    for round_number in range(rounds + 1):
        for size in SIZES_BYTES:
            tensor = torch.randn(ROWS, size // ROWS // 4)
            trips = {"tls": _TlsTrip(tls, size), "link": _LinkTrip(link, size)}
            for kind, trip in trips.items():
                taken = [_time(trip, tensor, step) for step in range(REPEATS[size])]
                if round_number:
                    seconds[kind][str(size)] += taken
    channel.close(build_finished(CLIENT))
    tls.close()
    return seconds


def _answer(site: Site, endpoint: Endpoint, listener: socket.socket, *, rounds: int) -> None:
    torch.set_num_threads(1)
    server = GrpcServer(
        LiveCredentials(site.admit(SERVER_PARTY)), endpoint, {CLIENT: an_identity(CLIENT)}, progress=Progress()
    )
    server.start()
    channel = server.accept(60)
    link = Link(channel, generation=1, max_rows=ROWS)
    with _tls_context(site, SERVER_PARTY, ssl.PROTOCOL_TLS_SERVER) as context:
        tls = context.wrap_socket(_without_delay(listener.accept()[0]), server_side=True)
    for _ in range(rounds + 1):
        for size in SIZES_BYTES:
            for trip in (_TlsTrip(tls, size), _LinkTrip(link, size)):
                for step in range(REPEATS[size]):
                    trip.answer(step)
    channel.close(build_finished(SERVER_PARTY))
    server.close()


class _TlsTrip:
    """There and back over a TLS socket: the least that anything in Python can do."""

    def __init__(self, tls: ssl.SSLSocket, size_bytes: int) -> None:
        self._tls = tls
        self._memory = memoryview(bytearray(size_bytes))

    def go(self, tensor: torch.Tensor, _step: int) -> None:
        self._tls.sendall(tensor.numpy().reshape(-1).data.cast("B"))
        self._receive()

    def answer(self, _step: int) -> None:
        self._receive()
        self._tls.sendall(self._memory)

    def _receive(self) -> None:
        filled = 0
        while filled < len(self._memory):
            received = self._tls.recv_into(self._memory[filled:])
            if not received:
                raise EOFError("the other process has gone")
            filled += received


class _LinkTrip:
    """There and back from link to link, as in a step: a value, and its gradient."""

    def __init__(self, link: Link, size_bytes: int) -> None:
        self._link = link
        shape = (1, size_bytes // ROWS // 4)
        value = Value(
            id=0, name="x", source=ValueSource.CUT, dtype=DType.FLOAT32, shape=shape, producer=0, consumers=(1,)
        )
        self._forward = Transfer(value, Direction.FORWARD, 0, 1, CLIENT, SERVER_PARTY)
        self._backward = Transfer(value, Direction.BACKWARD, 1, 0, SERVER_PARTY, CLIENT)

    def go(self, tensor: torch.Tensor, step: int) -> None:
        self._link.send_tensor(self._forward, tensor, step=step, rows=ROWS, training=True)
        self._receive(self._backward, step)

    def answer(self, step: int) -> None:
        tensor = self._receive(self._forward, step)
        self._link.send_tensor(self._backward, tensor, step=step, rows=ROWS, training=True)

    def _receive(self, transfer: Transfer, step: int) -> torch.Tensor | None:
        return self._link.recv_tensor(transfer, step=step, rows=ROWS, training=True, batch_digest=None).tensor


KINDS = ("tls", "link")


def _time(trip: _TlsTrip | _LinkTrip, tensor: torch.Tensor, step: int) -> float:
    started_s = time.perf_counter()
    trip.go(tensor, step)
    return time.perf_counter() - started_s


@contextmanager
def _tls_context(site: Site, party: str, protocol: int) -> Iterator[ssl.SSLContext]:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    credentials = site.admit(party)
    context.load_verify_locations(cadata=site.ca.certificate_pem.decode())
    with TemporaryDirectory() as folder:
        path = Path(folder) / "identity.pem"
        path.write_bytes(credentials.key_pem + credentials.leaf_pem)
        context.load_cert_chain(path)
    yield context


def _without_delay(connection: socket.socket) -> socket.socket:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(int(sys.argv[1]))) + "\n")
