"""What a party holds after the intake has let it in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from splittraining.api.errors import IdentityRefused
from splittraining.api.identity import PartyIdentity
from splittraining.pki.bundle import TrustBundle
from splittraining.pki.keys import PrivateKey, render_key_pem
from splittraining.pki.verify import verify_leaf


@dataclass(frozen=True, slots=True)
class Credentials:
    """A party's key and leaf, with the roots it trusts: one coherent snapshot."""

    identity: PartyIdentity
    key: PrivateKey = field(repr=False)
    key_pem: bytes = field(repr=False)
    leaf_pem: bytes = field(repr=False)
    bundle: TrustBundle
    not_after: datetime


def build_credentials(
    key: PrivateKey, leaf_pem: bytes, *, bundle: TrustBundle, identity: PartyIdentity, now: datetime
) -> Credentials:
    """Builds credentials from what an intake returned, after checking that it is what was asked for.

    Raises:
        IdentityRefused: if the leaf is not exactly this identity's, not for this key, or not of this bundle.
    """
    leaf = verify_leaf(leaf_pem, bundle=bundle, expected=identity, now=now)
    if leaf.public_key != key.public_key():
        raise IdentityRefused(
            f"the intake returned a certificate of {identity.spiffe_id} for another key",
            allowed="a certificate for the key of the request",
            remedy="look at who answers at the intake's address",
        )
    return Credentials(identity, key, render_key_pem(key), leaf_pem, bundle, leaf.not_after)
