"""Bytes that went over one channel, tensors and all the rest apart."""

from __future__ import annotations

import threading

from splittraining.api.identity import SERVER_PARTY
from splittraining.api.report import LinkBytes
from splittraining.api.wire_plan import Transfer, ValueSource
from splittraining.party.wire.frame import FrameType, Header


class Counters:
    """Counts frames by kind and direction. Trainer, reader and writer threads all count, so there is a lock.

    Args:
        peer: The other end.
        added_bytes: What carrying a frame adds to it on this channel.
    """

    def __init__(self, peer: str, *, added_bytes: int = 0) -> None:
        self._peer = peer
        self._added_bytes = added_bytes
        self._lock = threading.Lock()
        self._bytes: dict[str, int] = {}

    def count_sent(self, header: Header, frame_bytes: int) -> None:
        """Counts one frame that was handed to the stream."""
        self._count("sent", header, frame_bytes)

    def count_received(self, header: Header, frame_bytes: int) -> None:
        """Counts one frame that came."""
        self._count("received", header, frame_bytes)

    def attribute_sent(self, transfer: Transfer, size_bytes: int, *, training: bool) -> None:
        """Notes what some of the payload that was sent is, where it is counted apart."""
        self._attribute("sent", transfer, size_bytes, training=training)

    def attribute_received(self, transfer: Transfer, size_bytes: int, *, training: bool) -> None:
        """Notes what some of the payload that came is, likewise."""
        self._attribute("received", transfer, size_bytes, training=training)

    def snapshot(self) -> LinkBytes:
        """Returns the counts of this moment as the report document shows them."""
        with self._lock:
            return LinkBytes(peer=self._peer, **self._bytes)

    def _count(self, direction: str, header: Header, frame_bytes: int) -> None:
        with self._lock:
            if header.type is FrameType.TENSOR:
                self._add(f"framing_{direction}", header.framing_bytes + self._added_bytes)
                self._add(f"payload_{direction}", frame_bytes - header.framing_bytes)
            elif header.type is FrameType.BLOB:
                self._add(f"sealed_{direction}", frame_bytes)
            elif header.type is FrameType.RELAY:
                # A client counts what is in it at the link to the other client; the server only carries it.
                if self._peer != SERVER_PARTY:
                    self._add(f"relayed_{direction}", frame_bytes)
            else:
                self._add(f"control_{direction}", frame_bytes)

    def _attribute(self, direction: str, transfer: Transfer, size_bytes: int, *, training: bool) -> None:
        with self._lock:
            if not training:
                self._add(f"evaluation_{direction}", size_bytes)
            elif transfer.value.source is ValueSource.LABEL:
                self._add(f"labels_{direction}", size_bytes)

    def _add(self, field: str, amount: int) -> None:
        self._bytes[field] = self._bytes.get(field, 0) + amount
