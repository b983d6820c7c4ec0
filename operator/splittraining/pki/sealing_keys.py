"""The keys that parties seal to: fresh X25519 in each generation, signed by their owner's leaf."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, x25519

from splittraining.api.base import render_canonical_json
from splittraining.api.errors import IdentityRefused, ProtocolViolation
from splittraining.api.identity import PartyIdentity
from splittraining.pki.bundle import TrustBundle
from splittraining.pki.credentials import Credentials
from splittraining.pki.verify import verify_leaf

PUBLIC_KEY_BYTES = 32
_FIELDS = frozenset({"party", "publicKey", "leaf", "signature"})


class SealingKey:
    """The recipient's half: made in memory, thrown away with its generation."""

    __slots__ = ("private_key",)

    def __init__(self, private_key: x25519.X25519PrivateKey) -> None:
        self.private_key = private_key

    @classmethod
    def generate(cls) -> SealingKey:
        """Makes a fresh key."""
        return cls(x25519.X25519PrivateKey.generate())

    def __repr__(self) -> str:
        return "SealingKey(...)"

    @property
    def public_bytes(self) -> bytes:
        """The public key, 32 bytes."""
        return self.private_key.public_key().public_bytes_raw()


@dataclass(frozen=True, slots=True)
class SignedSealingKey:
    """A public sealing key with its owner's word for it."""

    party: str
    public_key: bytes
    leaf_pem: bytes
    signature: bytes

    def as_json_object(self) -> dict[str, str]:
        """Returns the key as plain JSON values, for a control message."""
        return {
            "party": self.party,
            "publicKey": base64.b64encode(self.public_key).decode("ascii"),
            "leaf": base64.b64encode(self.leaf_pem).decode("ascii"),
            "signature": base64.b64encode(self.signature).decode("ascii"),
        }


def parse_sealing_key(value: object) -> SignedSealingKey:
    """Reads what ``SignedSealingKey.as_json_object`` wrote. It proves nothing before ``verify_sealing_key``.

    Raises:
        ProtocolViolation: if the value has another form.
    """
    if not isinstance(value, dict) or set(value) != _FIELDS or not all(isinstance(v, str) for v in value.values()):
        raise _refuse_form("a sealing key of another form was given")
    try:
        return SignedSealingKey(
            value["party"],
            base64.b64decode(value["publicKey"], validate=True),
            base64.b64decode(value["leaf"], validate=True),
            base64.b64decode(value["signature"], validate=True),
        )
    except (binascii.Error, ValueError) as error:
        raise _refuse_form("a sealing key that is not base64 was given") from error


def sign_sealing_key(
    credentials: Credentials, public_bytes: bytes, *, contract_digest: str, generation: int
) -> SignedSealingKey:
    """Signs a party's own public sealing key with its leaf, for one contract and one generation."""
    statement = _render_statement(credentials.identity, public_bytes, contract_digest, generation)
    signature = credentials.key.sign(statement, ec.ECDSA(hashes.SHA256()))
    return SignedSealingKey(credentials.identity.party, public_bytes, credentials.leaf_pem, signature)


def verify_sealing_key(
    signed: SignedSealingKey,
    *,
    bundle: TrustBundle,
    expected: PartyIdentity,
    contract_digest: str,
    generation: int,
    now: datetime,
) -> bytes:
    """Verifies that a sealing key is the expected party's own, of this contract and generation.

    Args:
        signed: The key as the server handed it on.
        bundle: Roots by trust domain.
        expected: Whose key it must be; its trust domain comes from the party document, not from the server.
        contract_digest: Of the running contract.
        generation: Of the run.
        now: The moment, with time zone.

    Returns:
        The public key, 32 bytes.

    Raises:
        IdentityRefused: if it is another party's, or not signed for this contract and generation.
    """
    leaf = verify_leaf(signed.leaf_pem, bundle=bundle, expected=expected, now=now)
    statement = _render_statement(expected, signed.public_key, contract_digest, generation)
    try:
        leaf.public_key.verify(signed.signature, statement, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise IdentityRefused(
            f"the sealing key given for party {expected.party!r} is not signed by it for generation {generation} of "
            f"contract {contract_digest}",
            allowed="a key signed by its owner's leaf for this contract and generation",
            remedy="look at who carries messages between these parties: a key was swapped or replayed on its way",
        ) from error
    if signed.party != expected.party or len(signed.public_key) != PUBLIC_KEY_BYTES:
        raise _refuse_form(f"a sealing key of {len(signed.public_key)} bytes named {signed.party!r} was given")
    return signed.public_key


def _render_statement(identity: PartyIdentity, public_bytes: bytes, contract_digest: str, generation: int) -> bytes:
    return render_canonical_json(
        {
            "label": "splittraining/sealing-key/v1",
            "party": identity.spiffe_id,
            "contractDigest": contract_digest,
            "generation": generation,
            "publicKey": public_bytes.hex(),
        }
    )


def _refuse_form(given: str) -> ProtocolViolation:
    return ProtocolViolation(
        given,
        allowed=f"an object of {', '.join(sorted(_FIELDS))}, all base64 but the party, with a 32 byte key",
        remedy="use the same version of splittraining at every party",
    )
