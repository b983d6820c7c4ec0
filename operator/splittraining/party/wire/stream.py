"""What every channel does, whatever carries it: queue, inbox, heartbeats, credits, the end.

A transport drives a `StreamChannel` from two threads: its writer iterates `iterate_outgoing`, its reader calls `feed`
and finally `feed_end`. `feed` never blocks: two parties that write before they read would wait for each other for ever.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from splittraining.api.errors import IdentityRefused, PeerLost, ProtocolViolation, SplitTrainingError, Stalled
from splittraining.party.wire.channel import CREDIT_FRAMES, WINDOW_FRAMES, Alarm, ChannelSettings
from splittraining.party.wire.counters import Counters
from splittraining.party.wire.frame import FrameType, Header, parse_header
from splittraining.party.wire.goodbye import (
    Goodbye,
    PeerFinished,
    PeerSaidGoodbye,
    build_goodbye,
    parse_goodbye,
    render_goodbye,
)
from splittraining.party.wire.liveness import Heartbeat, Liveness, decide_liveness, parse_heartbeat, render_heartbeat
from splittraining.party.wire.progress import Progress

_CREDITED = (FrameType.TENSOR, FrameType.BLOB, FrameType.RELAY)
_FRAME_OVERHEAD_BYTES = 256  # what an empty frame costs in the inbox: many small ones must meet the bound as well


@dataclass(frozen=True, slots=True)
class Expiry:
    """Until when the peer's certificate speaks for it."""

    in_s: float
    text: str


class StreamChannel:
    """The part of a channel that loopback and gRPC share.

    Args:
        peer: Name of the party at the other end.
        progress: What this party is doing, for the heartbeats.
        settings: Times and bounds.
        cancel: Cuts the transport's stream; safe to call at any time and twice.
        alarm: Shared by channels that end together.
        expiry: Of the peer's certificate.
        verify_renewal: Takes a RENEWAL frame of the peer, returns the expiry of the certificate that it vouches with.
    """

    def __init__(
        self,
        peer: str,
        *,
        progress: Progress,
        settings: ChannelSettings,
        cancel: Callable[[], object],
        alarm: Alarm | None = None,
        expiry: Expiry | None = None,
        verify_renewal: Callable[[bytes], Expiry] | None = None,
    ) -> None:
        self.peer = peer
        self.counters = Counters(peer)
        self._progress = progress
        self._settings = settings
        self._cancel = cancel
        self._alarm = alarm or Alarm()
        self._verify_renewal = verify_renewal or _refuse_renewal
        self._lock = threading.Lock()
        self._writable = threading.Condition(self._lock)  # the writer has something to do
        self._changed = threading.Condition(self._lock)  # a caller of send or recv should look again
        self._outgoing: deque[bytes] = deque()
        self._inbox: deque[tuple[FrameType, bytes]] = deque()
        self._inbox_bytes = 0
        self._frames_sent = self._frames_consumed = self._frames_credited = 0  # of those that need credit
        self._heartbeat_due = True
        self._renewal_due: bytes | None = None
        self._expires_at_s, self._expires_text = math.inf, ""
        self._heartbeat: Heartbeat | None = None
        self._heard_at_s = self._progressed_at_s = time.monotonic()
        self._error: SplitTrainingError | None = None
        self._peer_goodbye: Goodbye | None = None
        self._closing = False
        self._over = threading.Event()  # the transport's stream has ended
        if expiry is not None:
            self._note_expiry(expiry)
        self._alarm.listen(self._wake)
        threading.Thread(target=self._beat, name=f"heartbeat-{peer}", daemon=True).start()

    # --- the trainer's side -------------------------------------------------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Queues one frame; see `Channel.send`."""
        header = parse_header(frame)
        kind = header.type
        waiting_since_s = time.monotonic()
        with self._lock:
            while True:
                recheck_s = self._raise_if_over(waiting_since_s)
                if self._peer_goodbye is not None:
                    raise self._build_finished()
                has_credit = kind not in _CREDITED or self._frames_sent < self._frames_credited + WINDOW_FRAMES
                if has_credit and len(self._outgoing) < self._settings.queue_frames:
                    break
                self._changed.wait(recheck_s)
            self._outgoing.append(frame)
            self._frames_sent += kind in _CREDITED
            self._writable.notify_all()
        self.counters.count_sent(header, len(frame))

    def recv(self, timeout_s: float | None = None) -> bytes:
        """Returns the next frame; see `Channel.recv`."""
        waiting_since_s = time.monotonic()
        with self._lock:
            while not self._inbox:
                recheck_s = self._raise_if_over(waiting_since_s)
                if self._peer_goodbye is not None:
                    raise self._build_finished()
                if timeout_s is not None:
                    left_s = waiting_since_s + timeout_s - time.monotonic()
                    if left_s <= 0:
                        raise Stalled(f"{self.peer} sent nothing within {timeout_s:g} s; {self._describe_peer()}")
                    recheck_s = min(recheck_s, left_s)
                self._changed.wait(recheck_s)
            self._raise_if_over(time.monotonic())
            kind, frame = self._inbox.popleft()
            self._inbox_bytes -= len(frame) + _FRAME_OVERHEAD_BYTES
            if kind in _CREDITED:
                self._frames_consumed += 1
                if self._frames_consumed % CREDIT_FRAMES == 0:
                    self._heartbeat_due = True
                    self._writable.notify_all()
        return frame

    def close(self, goodbye: Goodbye) -> None:
        """Says Goodbye and waits for the peer's end; see `Channel.close`."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            frame = render_goodbye(goodbye)
            self._outgoing.append(frame)
            self._writable.notify_all()
        self.counters.count_sent(Header(FrameType.GOODBYE), len(frame))
        self._over.wait(self._settings.drain_timeout_s)
        self.abort()

    def abort(self) -> None:
        """Cuts the stream; see `Channel.abort`."""
        with self._lock:
            self._closing = True
        self._cancel()
        self.feed_end("")

    def renew(self, frame: bytes) -> None:
        """Sends a RENEWAL frame ahead of whatever is queued; a newer one replaces one that has not gone yet."""
        with self._lock:
            self._renewal_due = frame
            self._writable.notify_all()

    # --- the transport's side -----------------------------------------------------------------------------------------

    def iterate_outgoing(self) -> Iterator[bytes]:
        """Yields frames for the writer until this side has said Goodbye, or nobody listens any more."""
        while (frame := self._take()) is not None:
            yield frame

    def wait_over(self) -> None:
        """Waits, for a bounded time, until the peer has ended its side."""
        self._over.wait(self._settings.drain_timeout_s)

    def feed(self, frame: bytes) -> None:
        """Takes one frame from the reader thread. Never blocks and never raises."""
        try:
            header = parse_header(frame)
            self.counters.count_received(header, len(frame))
            heartbeat = parse_heartbeat(header, frame) if header.type is FrameType.HEARTBEAT else None
            goodbye = parse_goodbye(frame) if header.type is FrameType.GOODBYE else None
            expiry = self._verify_renewal(frame) if header.type is FrameType.RENEWAL else None
        except (ProtocolViolation, IdentityRefused) as error:
            self.fail(error)
            return
        if goodbye is not None and goodbye.exit_code != 0:
            self.fail(PeerSaidGoodbye(goodbye))
        with self._lock:
            self._heard_at_s = time.monotonic()
            if heartbeat is not None:
                self._heartbeat = heartbeat
                self._progressed_at_s = self._heard_at_s - heartbeat.idle_milliseconds / 1000
                # Never more than was sent: a lie about credits opens no larger window.
                credited = min(heartbeat.consumed_frames, self._frames_sent)
                self._frames_credited = max(self._frames_credited, credited)
            elif goodbye is not None:
                self._peer_goodbye = goodbye
            elif expiry is not None:
                self._note_expiry(expiry)
            elif self._error is None:
                self._inbox.append((header.type, frame))
                self._inbox_bytes += len(frame) + _FRAME_OVERHEAD_BYTES
            too_much = self._inbox_bytes > self._settings.inbox_limit_bytes
            self._notify()
        if too_much:
            limit = f"{self._settings.inbox_limit_bytes} bytes that wait to be read"
            self.fail(ProtocolViolation(f"{self.peer} sent more than it was asked for", allowed=limit))

    def feed_end(self, detail: str) -> None:
        """Tells that the stream is over; without a Goodbye of either side that is a loss."""
        with self._lock:
            lost = not self._closing and self._peer_goodbye is None
        if lost:
            self.fail(
                PeerLost(
                    f"the connection to {self.peer} ended without a Goodbye{': ' + detail if detail else ''}; "
                    + self._describe_peer(),
                    remedy=f"look at {self.peer}'s log: it was killed, or the network to it is gone",
                )
            )
        self._over.set()
        with self._lock:
            self._notify()

    def fail(self, error: SplitTrainingError) -> None:
        """Records the error that this and all channels of the same alarm raise from now on."""
        with self._lock:
            if self._error is not None or self._closing:
                return
            self._error = error
            self._inbox.clear()
            self._inbox_bytes = 0
            self._notify()
        self._alarm.ring(error)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _take(self) -> bytes | None:
        with self._lock:
            while not self._over.is_set():
                if self._renewal_due is not None and not self._closing:
                    renewal, self._renewal_due = self._renewal_due, None
                    self.counters.count_sent(Header(FrameType.RENEWAL), len(renewal))
                    return renewal
                if self._heartbeat_due and not self._closing:
                    self._heartbeat_due = False
                    frame = render_heartbeat(self._progress, self._frames_consumed)
                    self.counters.count_sent(Header(FrameType.HEARTBEAT), len(frame))
                    return frame
                if self._outgoing:
                    self._changed.notify_all()
                    return self._outgoing.popleft()
                if self._closing or self._peer_goodbye is not None:
                    return None
                self._writable.wait()
        return None

    def _note_expiry(self, expiry: Expiry) -> None:
        self._expires_at_s, self._expires_text = time.monotonic() + expiry.in_s, expiry.text

    def _beat(self) -> None:
        while True:
            if self._over.wait(max(0.0, min(self._settings.heartbeat_s, self._expires_at_s - time.monotonic()))):
                return
            with self._lock:
                expired = time.monotonic() >= self._expires_at_s
                self._heartbeat_due = True
                self._writable.notify_all()
            if expired:
                self._end_expired()
                return

    def _end_expired(self) -> None:
        error = IdentityRefused(
            f"the certificate of {self.peer} expired at {self._expires_text}",
            allowed="a stream as long as the peer's newest certificate is valid",
            remedy=f"look in {self.peer}'s log why it was not renewed, and at the clocks of both parties",
        )
        self.fail(error)
        self.close(build_goodbye(error, self.peer))

    def _raise_if_over(self, waiting_since_s: float) -> float:
        """Raises what ends waiting, or returns after how many seconds silence could."""
        error = self._error or self._alarm.error
        if error is not None:
            raise error
        if self._closing:
            raise PeerLost(f"the channel to {self.peer} was closed by this party")
        if self._peer_goodbye is not None:
            return 0.0
        verdict = decide_liveness(
            now_s=time.monotonic(),
            waiting_since_s=waiting_since_s,
            heard_at_s=self._heard_at_s,
            progressed_at_s=self._progressed_at_s,
            silence_timeout_s=self._settings.silence_timeout_s,
            stall_timeout_s=self._settings.stall_timeout_s,
        )
        if verdict.liveness is Liveness.SILENT:
            raise PeerLost(
                f"nothing came from {self.peer} for {self._settings.silence_timeout_s:g} s; {self._describe_peer()}",
                remedy=f"look whether {self.peer} runs and whether the network to it lets packets through",
            )
        if verdict.liveness is Liveness.STALLED:
            raise Stalled(
                f"{self.peer} is connected and made no progress for {self._settings.stall_timeout_s:g} s; "
                + self._describe_peer(),
                remedy=f"look at {self.peer}'s log; raise faultTolerance.stallTimeoutSeconds for very long steps",
            )
        return verdict.recheck_s

    def _describe_peer(self) -> str:
        if self._heartbeat is None:
            return "it had told nothing of itself yet"
        return f"it was last at step {self._heartbeat.step}, {self._heartbeat.phase or 'in no phase'}"

    def _build_finished(self) -> PeerFinished:
        return PeerFinished(
            f"{self.peer} said a clean Goodbye while more was expected of it; {self._describe_peer()}",
            remedy=f"look at {self.peer}'s log",
        )

    def _wake(self) -> None:
        with self._lock:
            self._notify()

    def _notify(self) -> None:
        self._changed.notify_all()
        self._writable.notify_all()


def _refuse_renewal(_frame: bytes) -> Expiry:
    raise ProtocolViolation("a RENEWAL frame on a stream without certificates", allowed="docs/wire.md section 8")
