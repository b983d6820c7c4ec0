"""Liveness, and the shared half of all channels without a transport."""

from __future__ import annotations

import pytest

from splittraining.api.errors import DataInvalid, PeerLost, ProtocolViolation, Stalled
from splittraining.api.wire_plan import DType
from splittraining.party.wire.channel import WINDOW_FRAMES, Alarm, ChannelSettings
from splittraining.party.wire.frame import Flags, FrameType, Header, parse_header, render_frame
from splittraining.party.wire.goodbye import build_finished, build_goodbye, render_goodbye
from splittraining.party.wire.liveness import Liveness, decide_liveness, parse_heartbeat, render_heartbeat
from splittraining.party.wire.progress import Progress
from splittraining.party.wire.stream import StreamChannel
from support.wire_support import a_control_frame

QUIET = ChannelSettings(heartbeat_s=3600, drain_timeout_s=0.05)


def a_stream(settings: ChannelSettings = QUIET, *, alarm: Alarm | None = None) -> StreamChannel:
    return StreamChannel("north", progress=Progress(), settings=settings, cancel=lambda: None, alarm=alarm)


@pytest.mark.parametrize(
    ("case", "now_s", "waiting_since_s", "heard_at_s", "progressed_at_s", "expected", "recheck_s"),
    [
        ("heard and got on just now", 100, 90, 100, 100, Liveness.ALIVE, 15),
        ("silent for the whole limit", 115, 90, 100, 100, Liveness.SILENT, 0),
        ("heard, but no progress while we waited", 700, 90, 699, 100, Liveness.STALLED, 0),
        ("no progress before we began to wait", 700, 690, 699, 0, Liveness.ALIVE, 14),
        ("silence is nearer than a stall", 110, 90, 100, 100, Liveness.ALIVE, 5),
        ("a stall is nearer than silence", 695, 90, 695, 100, Liveness.ALIVE, 5),
        ("both: the silence is the cause", 800, 90, 100, 100, Liveness.SILENT, 0),
    ],
)
def test_a_peer_is_judged_by_silence_and_progress(
    case: str,
    now_s: float,
    waiting_since_s: float,
    heard_at_s: float,
    progressed_at_s: float,
    expected: Liveness,
    recheck_s: float,
) -> None:
    verdict = decide_liveness(
        now_s=now_s,
        waiting_since_s=waiting_since_s,
        heard_at_s=heard_at_s,
        progressed_at_s=progressed_at_s,
        silence_timeout_s=15,
        stall_timeout_s=600,
    )
    assert (verdict.liveness, verdict.recheck_s) == (expected, recheck_s), case


def test_a_heartbeat_tells_step_phase_and_time_since_progress() -> None:
    clock = iter([0.0, 10.0, 12.5])
    progress = Progress(clock=lambda: next(clock))
    progress.mark(7, "forward")
    frame = render_heartbeat(progress, 3)
    heard = parse_heartbeat(parse_header(frame), frame)
    assert (heard.step, heard.phase, heard.idle_milliseconds, heard.consumed_frames) == (7, "forward", 2500, 3)


def test_a_long_phase_is_cut_between_characters() -> None:
    progress = Progress()
    progress.mark(1, "ä" * 100)
    frame = render_heartbeat(progress, 0)
    assert parse_heartbeat(parse_header(frame), frame).phase == "ä" * 32


@pytest.mark.parametrize("body", [b"", bytes(15), bytes(16) + b"\xff"])
def test_a_heartbeat_that_cannot_be_read_is_refused(body: bytes) -> None:
    stream = a_stream()
    stream.feed(render_frame(Header(FrameType.HEARTBEAT, size_bytes=len(body)), body))
    with pytest.raises(ProtocolViolation, match="heartbeat"):
        stream.recv(1)


def test_a_goodbye_that_cannot_be_read_is_refused() -> None:
    stream = a_stream()
    stream.feed(render_frame(Header(FrameType.GOODBYE, size_bytes=2), b"[]"))
    with pytest.raises(ProtocolViolation, match="GOODBYE"):
        stream.recv(1)


def test_a_peer_that_sends_what_nobody_reads_is_refused() -> None:
    stream = a_stream(ChannelSettings(heartbeat_s=3600, inbox_limit_bytes=10_000))
    for _ in range(100):
        stream.feed(a_control_frame())
    with pytest.raises(ProtocolViolation, match=r"north sent more than it was asked for.*10000 bytes"):
        stream.recv(1)


def test_a_network_that_falls_silent_is_a_loss_for_reader_and_writer() -> None:
    stream = a_stream(ChannelSettings(heartbeat_s=3600, silence_timeout_s=0.05, queue_frames=1))
    with pytest.raises(PeerLost, match=r"nothing came from north for 0.05 s; it had told nothing of itself yet"):
        stream.recv()
    with pytest.raises(PeerLost, match="nothing came from north"):
        stream.send(a_control_frame())


def test_a_timeout_of_the_caller_says_what_the_peer_was_doing() -> None:
    stream = a_stream()
    progress = Progress()
    progress.mark(5, "backward")
    stream.feed(render_heartbeat(progress, 0))
    with pytest.raises(Stalled, match=r"north sent nothing within 0.01 s; it was last at step 5, backward"):
        stream.recv(0.01)


def test_a_heartbeat_overtakes_what_is_queued_and_nothing_follows_the_goodbye() -> None:
    stream = a_stream()
    stream.send(a_control_frame())
    outgoing = stream.iterate_outgoing()
    assert parse_header(next(outgoing)).type is FrameType.HEARTBEAT
    stream.close(build_finished("server"))
    assert [parse_header(frame).type for frame in outgoing] == []  # nobody wrote before the drain limit: cut
    with pytest.raises(PeerLost, match="closed by this party"):
        stream.recv()


def test_the_writer_ends_once_the_peer_has_said_goodbye() -> None:
    stream = a_stream()
    stream.feed(render_goodbye(build_finished("north")))
    assert [parse_header(frame).type for frame in stream.iterate_outgoing()] == [FrameType.HEARTBEAT]


def test_a_lie_about_credits_opens_no_larger_window() -> None:
    stream = a_stream(ChannelSettings(heartbeat_s=3600, queue_frames=100, silence_timeout_s=0.1))
    stream.feed(render_heartbeat(Progress(), 2**63))
    for _ in range(WINDOW_FRAMES):
        stream.send(render_frame(Header(FrameType.BLOB)))
    with pytest.raises(PeerLost, match="nothing came"):
        stream.send(render_frame(Header(FrameType.BLOB)))
    assert stream.counters.snapshot().sealed_sent == WINDOW_FRAMES * 64


def test_an_error_of_one_channel_ends_all_of_the_same_alarm() -> None:
    alarm = Alarm()
    first, second = a_stream(alarm=alarm), a_stream(alarm=alarm)
    first.feed(render_goodbye(build_goodbye(DataInvalid("no rows"), "north")))
    with pytest.raises(Exception, match="north ended with DataInvalid: no rows"):
        second.recv(1)


def test_frames_that_came_before_an_error_are_not_worth_anything_any_more() -> None:
    stream = a_stream()
    stream.feed(a_control_frame())
    stream.feed_end("Socket closed")
    stream.feed(a_control_frame())
    with pytest.raises(PeerLost, match="Socket closed"):
        stream.recv(1)


def test_tensor_frames_are_counted_by_body_and_header() -> None:
    stream = a_stream()
    stream.feed(render_frame(Header(FrameType.TENSOR, flags=Flags.LAST, dtype=DType.INT8, size_bytes=10), bytes(10)))
    counted = stream.counters.snapshot()
    assert (counted.peer, counted.payload_received, counted.framing_received) == ("north", 10, 64)
