"""What a party seals to others and opens of theirs, counted as tensors: a channel sees blobs and cannot look in.

A blob's other bytes are framing: safetensors' header, the few that say where a state was taken, the seal, and the
frames' headers. All of these are in the *sealed* count of the link that carries the blob.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence

from splittraining.api.report import LinkBytes

_LENGTH_BYTES = 8


class MovedBytes:
    """Tensor bytes by peer and direction. The trainer counts while another thread may report, so there is a lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, LinkBytes] = {}

    def count_sent(self, recipient: str, size_bytes: int) -> None:
        """Counts tensors that were sealed to a peer."""
        self._add(LinkBytes(peer=recipient, moved_sent=size_bytes))

    def count_received(self, sender: str, size_bytes: int) -> None:
        """Counts tensors that a peer sealed to this party."""
        self._add(LinkBytes(peer=sender, moved_received=size_bytes))

    def snapshot(self) -> Sequence[LinkBytes]:
        """Returns the counts of this moment, peer by peer."""
        with self._lock:
            return tuple(self._counts.values())

    def _add(self, counted: LinkBytes) -> None:
        with self._lock:
            earlier = self._counts.get(counted.peer)
            self._counts[counted.peer] = counted if earlier is None else earlier.plus(counted)


def count_tensor_bytes(data: bytes, *, besides: str = "") -> int:
    """Counts the bytes of the tensors that are packed in safetensors' layout; 0 for what is not in it.

    What is not in it is refused by whoever unpacks it, with more to say than could be said here.

    Args:
        data: The packed tensors.
        besides: Name of one that does not count.

    Source: safetensors, "Format": eight bytes of the header's length, then JSON with each tensor's `data_offsets`.
    """
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    try:
        tensors = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length])
        offsets = [each["data_offsets"] for name, each in tensors.items() if name not in {"__metadata__", besides}]
        return min(len(data), sum(int(end) - int(begin) for begin, end in offsets))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return 0
