"""Heartbeats, and what a waiting party concludes from them."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from splittraining.api.errors import ProtocolViolation
from splittraining.party.wire.frame import FrameType, Header, get_body, render_frame
from splittraining.party.wire.progress import Progress

_BODY = struct.Struct("<QQ")
_PHASE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What one heartbeat says of its sender."""

    step: int
    phase: str
    idle_milliseconds: int
    consumed_frames: int


def render_heartbeat(progress: Progress, consumed_frames: int) -> bytes:
    """Renders a heartbeat frame of this moment."""
    mark = progress.latest
    phase = mark.phase.encode()[:_PHASE_BYTES].decode(errors="ignore").encode()
    body = _BODY.pack(progress.compute_idle_milliseconds(), consumed_frames) + phase
    return render_frame(Header(FrameType.HEARTBEAT, step=mark.step, size_bytes=len(body)), body)


def parse_heartbeat(header: Header, frame: bytes) -> Heartbeat:
    """Reads a heartbeat frame.

    Raises:
        ProtocolViolation: if the body is too short or the phase is not UTF-8.
    """
    body = bytes(get_body(frame))
    try:
        idle_milliseconds, consumed_frames = _BODY.unpack_from(body)
        phase = body[_BODY.size :].decode()
    except (struct.error, UnicodeDecodeError) as error:
        raise ProtocolViolation(f"a heartbeat that cannot be read: {error}", allowed="docs/wire.md section 4") from None
    return Heartbeat(header.step, phase, idle_milliseconds, consumed_frames)


class Liveness(enum.Enum):
    """What is known of a peer that is being waited for."""

    ALIVE = "Alive"
    SILENT = "Silent"
    STALLED = "Stalled"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A peer's state, and after how many seconds without news it could be another one."""

    liveness: Liveness
    recheck_s: float


def decide_liveness(
    *,
    now_s: float,
    waiting_since_s: float,
    heard_at_s: float,
    progressed_at_s: float,
    silence_timeout_s: float,
    stall_timeout_s: float,
) -> Verdict:
    """Decides whether a peer is silent, stalled or alive.

    A peer whose turn it was not has made no progress for long, and rightly: only time since the wait began counts.

    Args:
        now_s: Now, like all times here on the waiting party's monotonic clock.
        waiting_since_s: When this wait began.
        heard_at_s: When the peer's last frame of any kind came.
        progressed_at_s: When the peer last made progress, as its heartbeats say.
        silence_timeout_s: Longest time without any frame.
        stall_timeout_s: Longest time without progress.
    """
    silent_in_s = heard_at_s + silence_timeout_s - now_s
    stalled_in_s = max(waiting_since_s, progressed_at_s) + stall_timeout_s - now_s
    if silent_in_s <= 0:
        return Verdict(Liveness.SILENT, 0.0)
    if stalled_in_s <= 0:
        return Verdict(Liveness.STALLED, 0.0)
    return Verdict(Liveness.ALIVE, min(silent_in_s, stalled_in_s))
