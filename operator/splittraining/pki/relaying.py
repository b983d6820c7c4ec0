"""Frames that one party seals for another while a third one carries them: one key per pair and direction.

The pair's key is drawn by one of the two and reaches the other sealed and signed (`sealing`). Each direction has a key
of its own, derived from it for this contract, generation, sender and recipient. A frame's number is its nonce, so a
frame opens exactly once, in its turn, unchanged, at the one it was sealed for: whoever carries frames can stop them,
and nothing else.

Source: NIST SP 800-38D section 8.2.1 (deterministic nonces); RFC 5869 (HKDF).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from splittraining.api.base import render_canonical_json
from splittraining.api.errors import IdentityRefused, ProtocolViolation

PAIR_KEY_BYTES = 32
MAX_FRAMES = 1 << 32
"""Most frames of one direction under one key. With frames of 1 MiB that is 2^48 blocks; what AES-GCM gives away about
so many stays below one chance in 2^32."""

_KEY_BYTES = 16
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction between two parties of one generation of one contract."""

    contract_digest: str
    generation: int
    sender: str
    recipient: str


class _Numbered:
    """The key of one direction, and the number of the next frame."""

    def __init__(self, pair_key: bytes, direction: Direction, *, max_frames: int = MAX_FRAMES) -> None:
        assert len(pair_key) == PAIR_KEY_BYTES
        self._max_frames = max_frames
        self._direction = direction
        self._purpose = render_canonical_json({"label": "splittraining/relayed-frame/v1", **asdict(direction)})
        self._cipher = AESGCM(HKDF(hashes.SHA256(), _KEY_BYTES, salt=None, info=self._purpose).derive(pair_key))
        self._number = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._direction.sender} to {self._direction.recipient})"

    def _begin(self, header: bytes) -> tuple[bytes, bytes]:
        """Returns nonce and associated data of the next frame."""
        if self._number >= self._max_frames:
            raise ProtocolViolation(
                f"{self._direction.sender} has sealed {self._number} frames for {self._direction.recipient}",
                allowed=f"{self._max_frames} frames in one generation",
                remedy="train on in a new training",
            )
        number = self._number.to_bytes(_NONCE_BYTES, "little")
        return number, b"".join((self._purpose, number, header))


class FrameSealer(_Numbered):
    """The sender's end of one direction."""

    def seal(self, frame: bytes, header: bytes) -> bytes:
        """Seals the next frame.

        Args:
            frame: What only the recipient may read.
            header: What whoever carries it may read, and not change.
        """
        nonce, associated = self._begin(header)
        self._number += 1
        return self._cipher.encrypt(nonce, frame, associated)


class FrameOpener(_Numbered):
    """The recipient's end of one direction."""

    def open(self, sealed: bytes | memoryview, header: bytes) -> bytes:
        """Opens the next frame.

        Raises:
            IdentityRefused: if it is not the sender's next frame, unchanged, under this very header.
        """
        nonce, associated = self._begin(header)
        try:
            frame = self._cipher.decrypt(nonce, sealed, associated)
        except InvalidTag as error:
            raise IdentityRefused(
                f"frame {self._number} that was relayed from {self._direction.sender} to {self._direction.recipient} "
                "cannot be opened",
                allowed="every frame of its sender, once, in order and unchanged",
                remedy="look at who carries messages between these parties: a frame was changed, left out, repeated or"
                " moved on its way",
            ) from error
        self._number += 1
        return frame
