"""Renewed leaves on a living stream: each end vouches with its new leaf, and the other end lets the stream last longer.

docs/wire.md section 8 has the rule, docs/adr/0010 why it is sound.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import Field, ValidationError

from splittraining.api.base import Document
from splittraining.api.errors import ProtocolViolation
from splittraining.api.identity import PartyIdentity
from splittraining.party.wire.frame import FrameType, Header, get_body, render_frame
from splittraining.party.wire.stream import Expiry, StreamChannel
from splittraining.pki.credentials import Credentials
from splittraining.pki.live import LiveCredentials
from splittraining.pki.renewal import sign_renewal, verify_renewal

NONCE_BYTES = 32


class Renewal(Document):
    """Body of a RENEWAL frame."""

    leaf: Annotated[str, Field(min_length=1, max_length=8192)]
    """The sender's new leaf, PEM."""
    signature: Annotated[str, Field(min_length=1, max_length=256)]
    """By the new leaf's key, base64."""


def draw_nonce() -> bytes:
    """Returns what one end of a new stream adds to its binding."""
    return secrets.token_bytes(NONCE_BYTES)


def build_binding(client_nonce: object, server_nonce: object) -> bytes:
    """Returns what names one stream at both of its ends and no other one ever.

    Raises:
        ProtocolViolation: if the other end gave no number of the right length.
    """
    for nonce in (client_nonce, server_nonce):
        if not isinstance(nonce, bytes) or len(nonce) != NONCE_BYTES:
            raise ProtocolViolation(
                "a stream was opened without the random number that names it",
                allowed=f"{NONCE_BYTES} bytes in the call's metadata from either side",
                remedy="use the same version of splittraining at every party",
            )
    assert isinstance(client_nonce, bytes)
    assert isinstance(server_nonce, bytes)
    return client_nonce + server_nonce


@dataclass(frozen=True, slots=True)
class StreamIdentity:
    """One end's view of who speaks on one stream.

    Attributes:
        credentials: This party's.
        peer: Who is at the other end.
        binding: The random numbers of both ends.
        now: The time certificates are looked at with.
    """

    credentials: LiveCredentials
    peer: PartyIdentity
    binding: bytes
    now: Callable[[], datetime]

    def render_renewal(self) -> bytes:
        """Renders the frame that vouches for this stream with this party's newest leaf."""
        current = self.credentials.current
        signature = sign_renewal(current, recipient=self.peer, binding=self.binding)
        renewal = Renewal(leaf=current.leaf_pem.decode("ascii"), signature=base64.b64encode(signature).decode("ascii"))
        body = renewal.model_dump_json(by_alias=True).encode()
        return render_frame(Header(FrameType.RENEWAL, size_bytes=len(body)), body)

    def verify_renewal(self, frame: bytes) -> Expiry:
        """Verifies the peer's frame and returns until when the stream may last now.

        Raises:
            ProtocolViolation: if the body cannot be read.
            IdentityRefused: if it is not exactly the peer's own new leaf that vouches for exactly this stream.
        """
        try:
            renewal = Renewal.model_validate_json(bytes(get_body(frame)))
            leaf_pem, signature = renewal.leaf.encode("ascii"), base64.b64decode(renewal.signature, validate=True)
        except (ValidationError, UnicodeEncodeError, binascii.Error):
            raise ProtocolViolation(
                f"{self.peer.party} sent a RENEWAL frame that cannot be read", allowed="docs/wire.md section 8"
            ) from None
        current, now = self.credentials.current, self.now()
        leaf = verify_renewal(
            leaf_pem,
            signature,
            bundle=current.bundle,
            sender=self.peer,
            recipient=current.identity,
            binding=self.binding,
            now=now,
        )
        return build_expiry(leaf.not_after, now)


def build_expiry(not_after: datetime, now: datetime) -> Expiry:
    """Returns the end of a stream whose peer's leaf ends then."""
    return Expiry((not_after - now).total_seconds(), not_after.isoformat())


def follow_credentials(channel: StreamChannel, identity: StreamIdentity, shown: Credentials) -> None:
    """Lets a channel vouch with every renewed leaf of this party, and end when there is none any more.

    Args:
        channel: The stream.
        identity: Who speaks on it.
        shown: What the stream was opened with: a leaf that came in between is vouched with at once.
    """
    credentials = identity.credentials

    def follow() -> None:
        if credentials.error is not None:
            channel.fail(credentials.error)
        elif credentials.current is not shown:
            channel.renew(identity.render_renewal())

    credentials.listen(follow)
    follow()
