"""How a party vouches with a renewed leaf for a stream that it opened with an older one.

The stream was opened by a TLS handshake with a leaf of the same party, so whoever writes on it holds that session. The
signature adds what the session cannot say: that the holder of the new leaf's key speaks on this very stream, now. It
covers random numbers of both ends, made for this stream alone, and who signs for whom, so no signature serves twice.
"""

from __future__ import annotations

from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from splittraining.api.base import render_canonical_json
from splittraining.api.errors import IdentityRefused
from splittraining.api.identity import PartyIdentity
from splittraining.pki.bundle import TrustBundle
from splittraining.pki.credentials import Credentials
from splittraining.pki.verify import Leaf, verify_leaf


def sign_renewal(credentials: Credentials, *, recipient: PartyIdentity, binding: bytes) -> bytes:
    """Signs, with a renewed leaf's key, that its party goes on with a stream.

    Args:
        credentials: The renewed ones.
        recipient: Who is at the other end.
        binding: The random numbers of both ends of the stream.
    """
    statement = _render_statement(credentials.identity, recipient, binding)
    return credentials.key.sign(statement, ec.ECDSA(hashes.SHA256()))


def verify_renewal(
    leaf_pem: bytes,
    signature: bytes,
    *,
    bundle: TrustBundle,
    sender: PartyIdentity,
    recipient: PartyIdentity,
    binding: bytes,
    now: datetime,
) -> Leaf:
    """Verifies that exactly the sender of a stream vouches for it with another leaf of its own.

    Args:
        leaf_pem: The renewed leaf.
        signature: As `sign_renewal` made it.
        bundle: Roots by trust domain.
        sender: Who opened the stream or accepted it: the leaf must be its own.
        recipient: Who verifies.
        binding: The random numbers of both ends of the stream.
        now: The moment, with time zone.

    Raises:
        IdentityRefused: if the leaf is not valid now, is another party's, or did not sign for this stream.
    """
    leaf = verify_leaf(leaf_pem, bundle=bundle, expected=sender, now=now)
    try:
        leaf.public_key.verify(signature, _render_statement(sender, recipient, binding), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise IdentityRefused(
            f"the renewed certificate of party {sender.party!r} did not sign for this stream",
            allowed="a signature by the renewed leaf's key over both parties and the stream's random numbers",
            remedy="use the same version of splittraining at every party; if they are equal, a leaf was taken from "
            "another process of that party",
        ) from error
    return leaf


def _render_statement(sender: PartyIdentity, recipient: PartyIdentity, binding: bytes) -> bytes:
    return render_canonical_json(
        {
            "label": "splittraining/renewal/v1",
            "sender": sender.spiffe_id,
            "recipient": recipient.spiffe_id,
            "binding": binding.hex(),
        }
    )
