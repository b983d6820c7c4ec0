"""Sealed blobs between parties over a server that relays and cannot read: the clients' secret and weight hand-offs.

Every party makes a fresh key for this generation and has its leaf vouch for it (a *card*). A blob is sealed to the
recipient's key and signed by the sender's leaf; what it is for, who it is from and its number are bound into both, so
the server can neither forge, redirect nor replay one. docs/wire.md has the layout, SECURITY.md the limit: whoever
controls a party's certificate authority can stand in for that party.
"""

from __future__ import annotations

import base64
import enum
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from splittraining.api.errors import IdentityRefused, ProtocolViolation
from splittraining.api.identity import PartyIdentity
from splittraining.party.training.moved_bytes import MovedBytes, count_tensor_bytes
from splittraining.party.training.sealed_state import META
from splittraining.party.wire.link import Link
from splittraining.party.wire.orders import SealedNotice
from splittraining.pki.live import LiveCredentials
from splittraining.pki.sealing import SealedBlob, SealInfo, open_sealed, seal
from splittraining.pki.sealing_keys import SealingKey, parse_sealing_key, sign_sealing_key, verify_sealing_key


class BlobKind(enum.StrEnum):
    """What a sealed blob is for; bound into its seal."""

    CLIENT_SECRET = "ClientSecret"  # noqa: S105 - a kind, not a secret
    ROW_IDS_KEY = "RowIdsKey"
    HAND_OFF = "HandOff"
    LINK_KEY = "LinkKey"
    GRADIENTS = "Gradients"
    GRADIENT_SUM = "GradientSum"
    WEIGHTS = "Weights"
    AVERAGE = "Average"


_MOVING: Mapping[BlobKind, str] = {
    BlobKind.HAND_OFF: META,
    BlobKind.GRADIENTS: "",
    BlobKind.GRADIENT_SUM: "",
    BlobKind.WEIGHTS: "",
    BlobKind.AVERAGE: "",
}
"""Kinds whose blobs are tensors of a segment, and the name of what is packed with them and is none of it."""


class SealedMail:
    """One party's end of sealed blobs.

    Args:
        credentials: This party's leaf and key.
        peers: Identities of the parties it may exchange blobs with, by name.
        contract_digest: Bound into every card and seal.
        generation: Bound likewise, so that nothing of an earlier attempt opens.
        clock: Current time, for checking the peers' leaves.
    """

    def __init__(
        self,
        *,
        credentials: LiveCredentials,
        peers: Mapping[str, PartyIdentity],
        contract_digest: str,
        generation: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._credentials = credentials
        self._peers = peers
        self._contract_digest = contract_digest
        self._generation = generation
        self._clock = clock
        self.moved = MovedBytes()
        self._key = SealingKey.generate()
        self._admitted: dict[str, bytes] = {}
        self._last_sequence: dict[str, int] = {}

    def build_card(self) -> dict[str, str]:
        """Returns this party's public key, vouched for by its leaf."""
        signed = sign_sealing_key(
            self._credentials.current,
            self._key.public_bytes,
            contract_digest=self._contract_digest,
            generation=self._generation,
        )
        return signed.as_json_object()

    def admit(self, cards: Sequence[Mapping[str, str]]) -> None:
        """Checks the cards of all peers, whoever handed them over.

        Raises:
            IdentityRefused: if a card is not vouched for by exactly the party it names.
            ProtocolViolation: if a peer's card is missing or a stranger's is there.
        """
        given = {signed.party: signed for signed in map(parse_sealing_key, cards)}
        if given.keys() != self._peers.keys():
            raise ProtocolViolation(
                f"sealing keys of {sorted(given)} arrived",
                allowed=f"exactly one for each of {sorted(self._peers)}",
                remedy="give every party the same manifest",
            )
        for name, signed in given.items():
            self._admitted[name] = verify_sealing_key(
                signed,
                bundle=self._credentials.current.bundle,
                expected=self._peers[name],
                contract_digest=self._contract_digest,
                generation=self._generation,
                now=self._clock(),
            )

    def send(self, link: Link, *, kind: BlobKind, recipient: str, sequence: int, data: bytes) -> None:
        """Seals data to a peer and sends notice and blob to whoever relays them."""
        public_key = self._find(recipient)
        current = self._credentials.current
        sender = current.identity.party
        blob = seal(
            data,
            recipient_public=public_key,
            info=self._info(kind, sender, recipient, sequence),
            credentials=current,
        )
        notice = SealedNotice(
            kind=kind,
            sender=sender,
            recipient=recipient,
            sequence=sequence,
            piece_sizes=tuple(len(piece) for piece in blob.pieces),
            leaf=_encode(current.leaf_pem),
            signature=_encode(blob.signature),
        )
        link.send_control(notice)
        link.send_blob(sequence, blob.pieces)
        if kind in _MOVING:
            self.moved.count_sent(recipient, count_tensor_bytes(data, besides=_MOVING[kind]))

    def recv_due(self, link: Link, *, kind: BlobKind, sender: str, sequence: int, max_bytes: int) -> bytes:
        """Waits for the notice of the one blob that is due next, takes the blob in and opens it.

        Raises:
            ProtocolViolation: if anything else arrives, or the blob is not what `recv` takes.
            IdentityRefused: if it was not sealed and signed by exactly the sender it names.
        """
        notice = link.recv_control()
        if not isinstance(notice, SealedNotice) or (notice.sender, notice.sequence) != (sender, sequence):
            arrived = notice.type
            if isinstance(notice, SealedNotice):
                arrived += f" of blob {notice.sequence} from {notice.sender}"
            raise ProtocolViolation(
                f"message {arrived} came from {link.peer} out of turn",
                allowed=f"the sealed {kind} of {sender}, number {sequence}",
                remedy="use the same version of splittraining at every party",
            )
        return self.recv(link, notice, kind=kind, max_bytes=max_bytes)

    def recv(self, link: Link, notice: SealedNotice, *, kind: BlobKind, max_bytes: int) -> bytes:
        """Takes in the blob that a notice announced, checks who it is from and opens it.

        Raises:
            ProtocolViolation: if it is for somebody else, of another kind, too long, or a number seen before.
            IdentityRefused: if it was not sealed and signed by exactly the sender it names.
        """
        current = self._credentials.current
        own = current.identity.party
        size_bytes = sum(notice.piece_sizes)
        last = self._last_sequence.get(notice.sender, -1)
        if notice.kind != kind or notice.recipient != own or size_bytes > max_bytes or notice.sequence <= last:
            raise ProtocolViolation(
                f"sealed blob {notice.sequence} of kind {notice.kind} from {notice.sender} to {notice.recipient}"
                f" with {size_bytes} bytes",
                allowed=f"kind {kind} to {own}, a number above {last}, at most {max_bytes} bytes",
                remedy="use the same version of splittraining at every party",
            )
        self._find(notice.sender)
        body = link.recv_blob(notice.sequence, size_bytes)
        blob = SealedBlob(pieces=_split(body, notice.piece_sizes), signature=_decode(notice.signature))
        data = open_sealed(
            blob,
            key=self._key,
            info=self._info(kind, notice.sender, own, notice.sequence),
            sender=self._peers[notice.sender],
            sender_leaf_pem=_decode(notice.leaf),
            bundle=current.bundle,
            now=self._clock(),
        )
        self._last_sequence[notice.sender] = notice.sequence
        if kind in _MOVING:
            self.moved.count_received(notice.sender, count_tensor_bytes(data, besides=_MOVING[kind]))
        return data

    def _find(self, party: str) -> bytes:
        if party not in self._admitted:
            raise IdentityRefused(
                f"no sealing key of party {party!r} has been admitted", allowed=", ".join(sorted(self._admitted))
            )
        return self._admitted[party]

    def _info(self, kind: BlobKind, sender: str, recipient: str, sequence: int) -> SealInfo:
        return SealInfo(
            kind=kind,
            contract_digest=self._contract_digest,
            generation=self._generation,
            sender=sender,
            recipient=recipient,
            sequence=sequence,
        )


def _split(body: bytes, sizes: Sequence[int]) -> tuple[bytes, ...]:
    pieces, start = [], 0
    for size in sizes:
        pieces.append(body[start : start + size])
        start += size
    return tuple(pieces)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ProtocolViolation("a field of a sealed notice or key card is not base64") from error
