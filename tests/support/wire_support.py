"""Channels between two parties of one run, over loopback or real mTLS, and transfers to send over them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from splittraining.api.identity import SERVER_PARTY
from splittraining.api.party_document import Endpoint
from splittraining.api.wire_plan import Direction, DType, Transfer, Value, ValueSource
from splittraining.party.wire.channel import Channel, ChannelSettings
from splittraining.party.wire.frame import Flags, FrameType, Header, render_frame
from splittraining.party.wire.grpc_client import dial
from splittraining.party.wire.grpc_server import GrpcServer
from splittraining.party.wire.link import Link
from splittraining.party.wire.loopback import build_loopback_pair
from splittraining.party.wire.progress import Progress
from splittraining.pki.credentials import Credentials
from splittraining.pki.live import LiveCredentials
from support.pki_support import Site, a_site, an_identity

CLIENT = "st-mary"
MAX_ROWS = 64
T = TypeVar("T")


@dataclass(frozen=True)
class ChannelPair:
    """The client's channel to the server, and the server's to the client."""

    client: Channel
    server: Channel


@contextmanager
def open_pair(
    kind: str, *, settings: ChannelSettings | None = None, client_progress: Progress | None = None
) -> Iterator[ChannelPair]:
    """Yields two connected channels of one kind, `loopback` or `grpc`."""
    if kind == "loopback":
        to_server, to_client = build_loopback_pair(CLIENT, SERVER_PARTY, settings=settings, progress_a=client_progress)
        pair = ChannelPair(to_server, to_client)
        try:
            yield pair
        finally:
            pair.client.abort()
        return
    with a_server(a_site(), CLIENT, settings=settings) as listening:
        dialed = dial(
            LiveCredentials(listening.site.admit(CLIENT)),
            listening.endpoint,
            an_identity(SERVER_PARTY),
            progress=client_progress or Progress(),
            settings=settings,
            ready_timeout_s=10,
        )
        try:
            yield ChannelPair(dialed, listening.server.accept(10))
        finally:
            dialed.abort()


@dataclass(frozen=True)
class Listening:
    """A server party that listens."""

    site: Site
    endpoint: Endpoint
    server: GrpcServer

    def dial(self, credentials: Credentials | LiveCredentials, *, ready_timeout_s: float = 10) -> Channel:
        """Dials it with some credentials, through the product's own client."""
        return dial(
            as_live(credentials),
            self.endpoint,
            an_identity(SERVER_PARTY),
            progress=Progress(),
            ready_timeout_s=ready_timeout_s,
        )


def as_live(credentials: Credentials | LiveCredentials) -> LiveCredentials:
    """Returns credentials as parties hold them; only tests that renew them need to hold them themselves."""
    return credentials if isinstance(credentials, LiveCredentials) else LiveCredentials(credentials)


@contextmanager
def a_server(
    site: Site,
    *clients: str,
    settings: ChannelSettings | None = None,
    credentials: Credentials | LiveCredentials | None = None,
    progress: Progress | None = None,
) -> Iterator[Listening]:
    """Yields a listening server party that expects some clients of the site."""
    with a_held_endpoint() as endpoint:
        server = GrpcServer(
            as_live(credentials or site.admit(SERVER_PARTY)),
            endpoint,
            {name: an_identity(name) for name in clients},
            progress=progress or Progress(),
            settings=settings,
        )
        server.start()
        try:
            yield Listening(site, endpoint, server)
        finally:
            server.close()


@contextmanager
def a_held_endpoint() -> Iterator[Endpoint]:
    """Yields a port of this machine that stays reserved: bound, but not listened on."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield Endpoint(host="127.0.0.1", port=holder.getsockname()[1])


def in_thread(work: Callable[[], T]) -> Future[T]:
    """Starts work in a thread of its own."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done


def a_link(channel: Channel, *, generation: int = 1, max_rows: int = MAX_ROWS) -> Link:
    """Builds a link over a channel."""
    return Link(channel, generation=generation, max_rows=max_rows)


def a_transfer(
    direction: Direction = Direction.FORWARD,
    *,
    value_id: int = 3,
    dtype: DType = DType.FLOAT32,
    shape: tuple[int, ...] = (1, 4),
) -> Transfer:
    """Builds the transfer of one value between the client's stage 0 and the server's stage 1."""
    value = Value(
        id=value_id,
        name=f"layer{value_id}",
        source=ValueSource.CUT,
        dtype=dtype,
        shape=shape,
        differentiable=dtype in (DType.FLOAT64, DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16),
        producer=0,
        consumers=(1,),
    )
    if direction is Direction.FORWARD:
        return Transfer(value, direction, 0, 1, CLIENT, SERVER_PARTY)
    return Transfer(value, direction, 1, 0, SERVER_PARTY, CLIENT)


def a_control_frame(text: str = "{}") -> bytes:
    """Renders a control frame with any body."""
    body = text.encode()
    return render_frame(Header(FrameType.CONTROL, flags=Flags.LAST, size_bytes=len(body), generation=1), body)
