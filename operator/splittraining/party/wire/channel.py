"""The channel interface: frames in, frames out, and the certainty that the peer lives."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from splittraining.api.errors import SplitTrainingError
from splittraining.party.wire.counters import Counters
from splittraining.party.wire.goodbye import Goodbye

WINDOW_FRAMES = 64
"""TENSOR and BLOB frames that a sender may be ahead of the receiver's count."""
CREDIT_FRAMES = 16
"""After how many consumed ones the receiver tells its count at once."""


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """Times and bounds of a channel.

    Attributes:
        heartbeat_s: Time between two heartbeats.
        silence_timeout_s: Longest time without any frame of the peer.
        stall_timeout_s: Longest time that a peer which is waited for may make no progress.
        drain_timeout_s: Longest wait at the end for the peer to have read the Goodbye.
        queue_frames: Frames that may wait for the writer: more would only take memory.
        inbox_limit_bytes: Most that may wait for `recv`: the window of frames, and room for control messages.
    """

    heartbeat_s: float = 2.0
    silence_timeout_s: float = 15.0
    stall_timeout_s: float = 600.0
    drain_timeout_s: float = 5.0
    queue_frames: int = 8
    inbox_limit_bytes: int = 96 << 20


class Channel(Protocol):
    """One stream of frames to one peer. loopback and gRPC are held to one contract (tests/contract/test_channel*)."""

    @property
    def peer(self) -> str:
        """Name of the party at the other end."""

    @property
    def counters(self) -> Counters:
        """Bytes sent and received so far."""

    def send(self, frame: bytes) -> None:
        """Queues one frame; blocks only while the queue is full.

        Raises:
            PeerLost: if the peer is gone.
            PeerFailed: if the peer, or another party that shares the alarm, ended with an error.
        """

    def recv(self, timeout_s: float | None = None) -> bytes:
        """Returns the peer's next frame, in the order of sending.

        Raises:
            PeerFinished: if the peer said a clean Goodbye.
            PeerFailed: if the peer, or another party that shares the alarm, ended with an error.
            PeerLost: if the stream ended without a Goodbye, or the network fell silent.
            Stalled: if the peer lives and gets nowhere, or nothing came within `timeout_s`.
            IdentityRefused: if the peer's certificate expired, or this party's own is not renewed any more.
            ProtocolViolation: if the peer sent what cannot be a frame.
        """

    def close(self, goodbye: Goodbye) -> None:
        """Says Goodbye and waits, for a bounded time, until the peer has read it. Later calls do nothing."""

    def abort(self) -> None:
        """Cuts the stream without a Goodbye: the peer sees a loss."""


class Alarm:
    """Ends waiting on all channels of one party when one peer is lost.

    A server that waits for one client would otherwise learn much later that another one died.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._error: SplitTrainingError | None = None
        self._listeners: list[Callable[[], None]] = []

    @property
    def error(self) -> SplitTrainingError | None:
        """The first error that rang it."""
        return self._error

    def listen(self, wake: Callable[[], None]) -> None:
        """Adds a function to call when it rings."""
        with self._lock:
            self._listeners.append(wake)

    def ring(self, error: SplitTrainingError) -> None:
        """Records an error, unless there is one already, and wakes whoever waits.

        Never called under a channel's lock: the listeners take theirs.
        """
        with self._lock:
            self._error = self._error or error
            listeners = tuple(self._listeners)
        for wake in listeners:
            wake()
