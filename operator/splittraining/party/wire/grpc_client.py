"""The dialing end: finds the listening party, proves who it is, and turns what gRPC says into named errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import grpc

from splittraining.api.errors import IdentityRefused, ProtocolViolation, SplitTrainingError, StartTimeout
from splittraining.api.identity import PartyIdentity
from splittraining.api.party_document import Endpoint
from splittraining.party.wire.channel import Alarm, Channel, ChannelSettings
from splittraining.party.wire.goodbye import build_refusal, parse_goodbye_json
from splittraining.party.wire.grpc_common import (
    COMMON_OPTIONS,
    LEAF_METADATA,
    METHOD,
    NONCE_METADATA,
    SERVICE,
    is_loopback,
    render_address,
)
from splittraining.party.wire.probe import fetch_tls_refusal
from splittraining.party.wire.progress import Progress
from splittraining.party.wire.renewal import (
    StreamIdentity,
    build_binding,
    build_expiry,
    draw_nonce,
    follow_credentials,
)
from splittraining.party.wire.stream import StreamChannel
from splittraining.party.wire.tls import require_grpc_environment
from splittraining.pki.credentials import Credentials
from splittraining.pki.live import LiveCredentials
from splittraining.pki.verify import verify_leaf

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_REFUSED_HANDSHAKE = (
    "handshake failed",
    "certificate",
    "ssl_error",
    "tls_error",
    "hostname verification",
    "peer name",
    "wrong_version_number",
)
"""What gRPC's details hold, in lower case, when TLS and not the network is why there is no connection."""


_SILENT_END = "Socket closed"
"""What they hold when the server may have refused this party's certificate, or may just have gone."""


def _now() -> datetime:
    return datetime.now(UTC)


def dial(
    credentials: LiveCredentials,
    endpoint: Endpoint,
    server: PartyIdentity,
    *,
    progress: Progress,
    ready_timeout_s: float,
    settings: ChannelSettings | None = None,
    alarm: Alarm | None = None,
    now: Callable[[], datetime] = _now,
) -> Channel:
    """Opens the stream to the server party, waiting for it to come up.

    Args:
        credentials: This party's key, leaf and trust bundle.
        endpoint: Where the server party listens.
        server: Who must answer there.
        progress: What this party is doing, for the heartbeats.
        ready_timeout_s: Longest wait for the server.
        settings: Times and bounds of the channel.
        alarm: Shared with other channels of this party; when it rings, waiting here ends, too.
        now: The time certificates are looked at with.

    Raises:
        IdentityRefused: if either side refuses the other's certificate, name or TLS session, or this party's own
            certificate is not renewed meanwhile.
        ProtocolViolation: if the server refuses the stream for another reason.
        StartTimeout: if no server answers in time.
        SplitTrainingError: what the alarm rang for.
    """
    require_grpc_environment()
    _check_own_leaf(credentials.current, now())
    deadline_s = time.monotonic() + ready_timeout_s
    alarm = alarm or Alarm()
    waiting, pause_s = _Waiting(), _FIRST_PAUSE_S
    alarm.listen(waiting.end)
    last_words = "no answer"
    while True:
        if credentials.error is not None:
            raise credentials.error
        attempt = _Attempt(credentials, endpoint, server, progress, settings or ChannelSettings(), alarm, now)
        waiting.attempt = attempt
        channel = attempt.open(0.0 if alarm.error else max(0.0, deadline_s - time.monotonic()))
        waiting.attempt = None
        if channel is not None:
            return channel
        if alarm.error is not None:
            raise alarm.error
        failure = attempt.fetch_failure()
        error = decide_refusal(failure, server)
        if error is not None:
            raise error
        if failure.code != "CANCELLED":  # else this attempt was cut short by the deadline, and knows nothing
            last_words = str(failure)
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise StartTimeout(
                f"{server.party} did not answer at {endpoint.host}:{endpoint.port} for {ready_timeout_s:g} s: "
                + last_words,
                allowed=f"a listening {server.spiffe_id}",
                remedy=f"look at {server.party}'s log, or raise startup.readyTimeoutSeconds",
            )
        waiting.pause.wait(min(pause_s, left_s))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


@dataclass(frozen=True, slots=True)
class DialFailure:
    """How gRPC says that there is no stream."""

    code: str
    details: str
    tls_refusal: str = ""
    host: str = ""

    def __str__(self) -> str:
        return f"{self.code} {self.details} {self.tls_refusal}".rstrip()


def decide_refusal(failure: DialFailure, server: PartyIdentity) -> SplitTrainingError | None:
    """Decides whether a failed dial is a refusal, or None where the server may just not be there yet."""
    goodbye = parse_goodbye_json(failure.details)
    if goodbye is not None:
        return build_refusal(goodbye)
    # A name that does not resolve yet stands in gRPC's words, and may itself hold any of the marks.
    words = failure.details.replace(failure.host, "") if failure.host else failure.details
    if failure.tls_refusal or any(mark in words.lower() for mark in _REFUSED_HANDSHAKE):
        return IdentityRefused(
            f"the TLS handshake with {server.party} failed: {failure.tls_refusal or failure.details}",
            allowed=f"TLS 1.3 with exactly {server.spiffe_id}, and a certificate of this run at this side",
            remedy="let both parties get their certificates for this run; look at the trust bundle and the clocks",
        )
    if failure.code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED", "DEADLINE_EXCEEDED"):
        return None
    return ProtocolViolation(
        f"{server.party} answered {failure}",
        allowed=f"a stream of /{SERVICE}/{METHOD}",
        remedy="look what listens at the server party's address",
    )


class _Waiting:
    """What a dial waits for, so that an alarm can end it: the attempt under way, or the pause before the next one."""

    def __init__(self) -> None:
        self.pause = threading.Event()
        self.attempt: _Attempt | None = None

    def end(self) -> None:
        self.pause.set()
        attempt = self.attempt
        if attempt is not None:
            attempt.cancel()


class _Attempt:
    """One dial. The thread that waits for the answer becomes the stream's reader."""

    def __init__(
        self,
        credentials: LiveCredentials,
        endpoint: Endpoint,
        server: PartyIdentity,
        progress: Progress,
        settings: ChannelSettings,
        alarm: Alarm,
        now: Callable[[], datetime],
    ) -> None:
        self._credentials = credentials
        self._shown = credentials.current
        self._nonce = draw_nonce()
        self._endpoint = endpoint
        self._server = server
        self._progress = progress
        self._settings = settings
        self._alarm = alarm
        self._now = now
        self._channel: StreamChannel | None = None
        self._error: SplitTrainingError | None = None
        self._answered = threading.Event()
        self._transport = _build_transport(self._shown, endpoint, server)
        stub = self._transport.stream_stream(f"/{SERVICE}/{METHOD}")
        self._call = stub(self._iterate_requests(), metadata=((NONCE_METADATA, self._nonce),))
        self._reader = threading.Thread(target=self._read, name=f"wire-reader-{server.party}", daemon=True)

    def open(self, timeout_s: float) -> StreamChannel | None:
        """Returns the channel, or None when there is no stream: `fetch_failure` says why.

        Raises:
            IdentityRefused: if the leaf that the server shows is not the expected one.
            ProtocolViolation: if the server does not name the stream.
        """
        self._reader.start()
        if not self._answered.wait(timeout_s):
            self._call.cancel()
            self._answered.wait()
        if self._error is not None:
            raise self._error
        return self._channel

    def cancel(self) -> None:
        """Ends it, whatever it waits for."""
        self._call.cancel()

    def fetch_failure(self) -> DialFailure:
        """Returns why there is no stream; asks TLS once more where gRPC's words leave it open."""
        details, refusal = self._call.details() or "", ""
        if _SILENT_END in details:
            refusal = fetch_tls_refusal(self._shown, self._endpoint.host, self._endpoint.port, self._server)
        return DialFailure(self._call.code().name, details, refusal, self._endpoint.host)

    def _read(self) -> None:
        answer = dict(self._call.initial_metadata() or ())
        if LEAF_METADATA in answer:
            self._admit(answer[LEAF_METADATA], answer.get(NONCE_METADATA))
        self._answered.set()
        try:
            for frame in self._call:
                if self._channel is not None:
                    self._channel.feed(frame)
        except grpc.RpcError:
            pass  # told below, with gRPC's own words
        if self._channel is not None:
            self._end(self._channel)
        self._transport.close()

    def _end(self, channel: StreamChannel) -> None:
        details = self._call.details() or ""
        if self._call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:  # what gRPC says to too long a message
            channel.fail(ProtocolViolation(f"the stream to {channel.peer} ended: {details}", allowed="docs/wire.md"))
        channel.feed_end(details)

    def _admit(self, leaf_pem: bytes, server_nonce: object) -> None:
        now = self._now()
        try:
            # TLS has checked the DNS name; this leaf tells until when, and its SPIFFE id must be the server's, too.
            leaf = verify_leaf(leaf_pem, bundle=self._shown.bundle, expected=self._server, now=now)
            binding = build_binding(self._nonce, server_nonce)
        except (IdentityRefused, ProtocolViolation) as error:
            self._error = error
            self._call.cancel()
            return
        identity = StreamIdentity(self._credentials, self._server, binding, self._now)
        self._channel = StreamChannel(
            self._server.party,
            progress=self._progress,
            settings=self._settings,
            cancel=self._call.cancel,
            alarm=self._alarm,
            expiry=build_expiry(leaf.not_after, now),
            verify_renewal=identity.verify_renewal,
        )
        follow_credentials(self._channel, identity, self._shown)

    def _iterate_requests(self) -> Iterator[bytes]:
        self._answered.wait()
        if self._channel is not None:
            yield from self._channel.iterate_outgoing()


def _build_transport(credentials: Credentials, endpoint: Endpoint, server: PartyIdentity) -> grpc.Channel:
    options: list[tuple[str, str | int]] = [
        *COMMON_OPTIONS,
        ("grpc.ssl_target_name_override", server.dns_name),
        # Each attempt makes its own connection: a shared one would keep an older attempt's back-off.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
    ]
    if is_loopback(endpoint.host):
        options.append(("grpc.enable_http_proxy", 0))
    return grpc.secure_channel(
        render_address(endpoint.host, endpoint.port),
        grpc.ssl_channel_credentials(
            root_certificates=b"".join(credentials.bundle[server.trust_domain]),
            private_key=credentials.key_pem,
            certificate_chain=credentials.leaf_pem,
        ),
        options=options,
    )


def _check_own_leaf(credentials: Credentials, now: datetime) -> None:
    verify_leaf(credentials.leaf_pem, bundle=credentials.bundle, expected=credentials.identity, now=now)
