"""A channel within one process: the engine's tests run on it, and hold gRPC to the same contract."""

from __future__ import annotations

import threading
from collections.abc import Callable

from splittraining.party.wire.channel import Alarm, ChannelSettings
from splittraining.party.wire.progress import Progress
from splittraining.party.wire.stream import StreamChannel


def build_loopback_pair(
    name_a: str,
    name_b: str,
    *,
    settings: ChannelSettings | None = None,
    progress_a: Progress | None = None,
    progress_b: Progress | None = None,
    alarm_a: Alarm | None = None,
    alarm_b: Alarm | None = None,
) -> tuple[StreamChannel, StreamChannel]:
    """Returns the channel that party a holds to b, and the one that b holds to a."""
    ends: list[StreamChannel] = []

    def cut() -> None:
        for end in ends:
            end.feed_end("")

    def build_end(peer: str, progress: Progress | None, alarm: Alarm | None) -> StreamChannel:
        return StreamChannel(
            peer,
            progress=progress or Progress(),
            settings=settings or ChannelSettings(),
            cancel=cut,
            alarm=alarm,
        )

    ends.append(build_end(name_b, progress_a, alarm_a))
    ends.append(build_end(name_a, progress_b, alarm_b))
    to_b, to_a = ends
    gone = threading.Barrier(2, action=cut)
    for source, target, name in ((to_b, to_a, name_a), (to_a, to_b, name_b)):
        threading.Thread(target=_pump, args=(source, target, gone.wait), name=f"loopback-{name}", daemon=True).start()
    return to_b, to_a


def _pump(source: StreamChannel, target: StreamChannel, finish: Callable[[], object]) -> None:
    """Writes and reads in one: takes frames of one end, feeds them to the other."""
    for frame in source.iterate_outgoing():
        target.feed(frame)
    finish()
