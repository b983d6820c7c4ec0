"""The listening end: one generic method on bytes, and nobody admitted who is not exactly one of those expected."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from datetime import UTC, datetime

import grpc

from splittraining.api.errors import ProtocolViolation, SplitTrainingError, StartTimeout
from splittraining.api.identity import PartyIdentity
from splittraining.api.party_document import Endpoint
from splittraining.party.wire.channel import Alarm, Channel, ChannelSettings
from splittraining.party.wire.goodbye import build_goodbye
from splittraining.party.wire.grpc_common import (
    COMMON_OPTIONS,
    LEAF_METADATA,
    METHOD,
    NONCE_METADATA,
    SERVICE,
    render_address,
)
from splittraining.party.wire.progress import Progress
from splittraining.party.wire.renewal import (
    StreamIdentity,
    build_binding,
    build_expiry,
    draw_nonce,
    follow_credentials,
)
from splittraining.party.wire.stream import StreamChannel
from splittraining.party.wire.tls import AdmittedPeer, require_grpc_environment, verify_client
from splittraining.pki.credentials import Credentials
from splittraining.pki.live import LiveCredentials

_LOGGER = logging.getLogger(__name__)
_SPARE_STREAMS = 4  # to refuse a stream one is needed, too
_STOP_S = 5.0


def _now() -> datetime:
    return datetime.now(UTC)


class GrpcServer:
    """Accepts one stream of each expected client.

    Args:
        credentials: The server party's key, leaf and trust bundle.
        endpoint: Address and port to listen on. The port may be held by a socket with SO_REUSEPORT.
        expected: The clients of this run by name.
        progress: What this party is doing, for the heartbeats.
        settings: Times and bounds of every channel.
        alarm: Shared with channels of this party that are not this server's; one of its own by default.
        now: The time certificates are looked at with.
    """

    def __init__(
        self,
        credentials: LiveCredentials,
        endpoint: Endpoint,
        expected: Mapping[str, PartyIdentity],
        *,
        progress: Progress,
        settings: ChannelSettings | None = None,
        alarm: Alarm | None = None,
        now: Callable[[], datetime] = _now,
    ) -> None:
        require_grpc_environment()
        self._credentials = credentials
        self._endpoint = endpoint
        self._expected = dict(expected)
        self._progress = progress
        self._settings = settings or ChannelSettings()
        self._now = now
        self._alarm = alarm or Alarm()
        self._lock = threading.Lock()
        self._live: dict[str, StreamChannel] = {}
        self._arrived: queue.SimpleQueue[StreamChannel | None] = queue.SimpleQueue()
        self._alarm.listen(lambda: self._arrived.put(None))
        credentials.listen(self._heed_credentials)
        self._heed_credentials()
        self._seen: set[str] = set()
        self._server = self._build_server()

    def start(self) -> None:
        """Binds the port and listens.

        Raises:
            StartTimeout: if the port cannot be bound.
        """
        first = self._credentials.current
        credentials = grpc.dynamic_ssl_server_credentials(
            _build_certificates(first), _NewCertificates(self._credentials, first), require_client_authentication=True
        )
        address = render_address(self._endpoint.host, self._endpoint.port)
        try:
            self._server.add_secure_port(address, credentials)
        except RuntimeError:
            raise StartTimeout(
                f"{self._credentials.current.identity.party} cannot listen on {address}",
                allowed="an address of this machine and a port that is free",
                remedy="end the process that has the port, or give another one",
            ) from None
        self._server.start()

    def accept(self, timeout_s: float) -> Channel:
        """Returns the channel of the next client, in order of arrival.

        Raises:
            StartTimeout: if none comes in time; names those that never came.
            SplitTrainingError: if a client that has come is lost meanwhile.
        """
        if self._alarm.error is not None:
            raise self._alarm.error
        try:
            channel = self._arrived.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            missing = ", ".join(name for name in self._expected if name not in self._seen)
            raise StartTimeout(
                f"no stream came from {missing or 'any further client'} within {timeout_s:g} s",
                allowed=f"streams of {', '.join(self._expected)}",
                remedy="look why the named parties never came, or raise startup.readyTimeoutSeconds",
            ) from None
        if channel is None:
            return self.accept(0.0)  # the alarm rang
        self._seen.add(channel.peer)
        return channel

    def close(self) -> None:
        """Stops listening. Channels that are still open are cut: say Goodbye on each first."""
        with self._lock:
            channels = tuple(self._live.values())
        for channel in channels:
            channel.abort()
        self._server.stop(grace=_STOP_S).wait(_STOP_S)

    # --- streams ------------------------------------------------------------------------------------------------------

    def _build_server(self) -> grpc.Server:
        num_streams = len(self._expected) + _SPARE_STREAMS
        # Each live stream keeps a thread; one stream more than threads would hang without a word.
        pool = futures.ThreadPoolExecutor(max_workers=num_streams, thread_name_prefix="wire-writer")
        server = grpc.server(
            pool,
            maximum_concurrent_rpcs=num_streams,
            options=(
                *COMMON_OPTIONS,
                ("grpc.so_reuseport", 1),
                # With the defaults a server ends a client that pings through a long step ("too many pings").
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
                ("grpc.http2.max_ping_strikes", 0),
            ),
        )
        handler = grpc.stream_stream_rpc_method_handler(self._serve)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
        return server

    def _serve(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Handles one stream; the pool thread that iterates this is the stream's writer."""
        shown, nonce = self._credentials.current, draw_nonce()
        try:
            peer = verify_client(context.auth_context(), expected=self._expected, bundle=shown.bundle, now=self._now())
            binding = build_binding(dict(context.invocation_metadata()).get(NONCE_METADATA), nonce)
            identity = StreamIdentity(self._credentials, peer.identity, binding, self._now)
            channel = self._admit(peer, context, identity)
        except SplitTrainingError as error:
            self._refuse(error, context)
            raise  # never reached: gRPC's abort raises
        name = peer.identity.party
        try:
            if not context.add_callback(lambda: channel.feed_end("")):
                channel.feed_end("")
            context.send_initial_metadata(((LEAF_METADATA, shown.leaf_pem), (NONCE_METADATA, nonce)))
            follow_credentials(channel, identity, shown)
            reader = threading.Thread(target=_read, args=(requests, channel), name=f"wire-reader-{name}", daemon=True)
            reader.start()
            self._arrived.put(channel)
            yield from channel.iterate_outgoing()
            channel.wait_over()
        finally:
            with self._lock:
                del self._live[name]

    def _admit(self, peer: AdmittedPeer, context: grpc.ServicerContext, identity: StreamIdentity) -> StreamChannel:
        name = peer.identity.party
        with self._lock:
            if name in self._live:
                raise ProtocolViolation(
                    f"a second stream of {name}, from {context.peer()}, while its first one lives",
                    allowed="one live stream per party",
                    remedy=f"look whether {name} was started twice",
                )
            self._live[name] = channel = StreamChannel(
                name,
                progress=self._progress,
                settings=self._settings,
                cancel=context.cancel,
                alarm=self._alarm,
                expiry=build_expiry(peer.leaf.not_after, self._now()),
                verify_renewal=identity.verify_renewal,
            )
        return channel

    def _heed_credentials(self) -> None:
        """Ends waiting for clients, too, when this party may not go on."""
        if self._credentials.error is not None:
            self._alarm.ring(self._credentials.error)

    def _refuse(self, error: SplitTrainingError, context: grpc.ServicerContext) -> None:
        _LOGGER.warning("refused a stream from %s: %s", context.peer(), error)
        goodbye = build_goodbye(error, self._credentials.current.identity.party)
        context.abort(grpc.StatusCode.PERMISSION_DENIED, goodbye.model_dump_json(by_alias=True))


class _NewCertificates:
    """Asked by gRPC at every handshake for what has changed since the last one."""

    def __init__(self, credentials: LiveCredentials, first: Credentials) -> None:
        self._credentials = credentials
        self._shown = first

    def __call__(self) -> object | None:
        current = self._credentials.current
        if current is self._shown:
            return None
        self._shown = current
        return _build_certificates(current)


def _build_certificates(credentials: Credentials) -> object:
    return grpc.ssl_server_certificate_configuration(
        [(credentials.key_pem, credentials.leaf_pem)], root_certificates=credentials.bundle.render_pem()
    )


def _read(requests: Iterator[bytes], channel: StreamChannel) -> None:
    """Feeds a channel until its stream ends; the only thing its thread does."""
    try:
        for frame in requests:
            channel.feed(frame)
    except grpc.RpcError:
        pass  # a cut stream: what that means is decided by whether a Goodbye came
    channel.feed_end("")
