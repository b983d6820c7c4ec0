"""The rules that accept a leaf: a chain to the roots of its own trust domain, its time, and exactly its names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification

from splittraining.api.errors import IdentityRefused
from splittraining.api.identity import PartyIdentity, parse_spiffe_id
from splittraining.pki.bundle import TrustBundle
from splittraining.pki.evaluate import is_p256, render_names
from splittraining.pki.keys import PublicKey, build_alternative_names


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf that was verified: whose it is, until when, and its key."""

    identity: PartyIdentity
    not_after: datetime
    public_key: PublicKey


def verify_leaf(leaf_pem: bytes, *, bundle: TrustBundle, expected: PartyIdentity, now: datetime) -> Leaf:
    """Verifies that a certificate is the leaf of exactly one expected party, at one moment.

    Args:
        leaf_pem: The certificate as the peer presented it.
        bundle: Roots by trust domain; only those of the expected party's own are used.
        expected: Who it must be: trust domain, run and party.
        now: The moment, with time zone.

    Raises:
        IdentityRefused: saying what was given and who was expected.
    """
    certificate = _load_leaf(leaf_pem, expected)
    _check_time(certificate, expected, now)
    _check_chain(certificate, bundle, expected, now)
    _check_names(certificate, expected)
    public_key = certificate.public_key()
    if not is_p256(public_key):
        raise _refuse(expected, "has a key that is not ECDSA P-256")
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    return Leaf(expected, certificate.not_valid_after_utc, public_key)


def parse_claimed_identity(leaf_pem: bytes) -> PartyIdentity:
    """Reads whose leaf a certificate claims to be, to know whom to expect. It proves nothing before ``verify_leaf``.

    Raises:
        IdentityRefused: if it is no certificate with exactly one URI SAN of a party's form.
    """
    try:
        certificate = x509.load_pem_x509_certificate(leaf_pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, TypeError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise _refuse_form("a certificate without readable alternative names was given") from error
    if len(uris) != 1:
        raise _refuse_form(f"a certificate with {len(uris)} URI names was given")
    try:
        return parse_spiffe_id(uris[0])
    except ValueError as error:
        raise _refuse_form(f"a certificate of {uris[0]!r} was given") from error


def _load_leaf(leaf_pem: bytes, expected: PartyIdentity) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(leaf_pem)
        _ = certificate.extensions  # parsed when first asked for: malformed ones must fail here, by name
    except (ValueError, TypeError, x509.DuplicateExtension) as error:
        raise _refuse(expected, "cannot be read as an X.509 certificate in PEM") from error
    return certificate


def _check_time(certificate: x509.Certificate, expected: PartyIdentity, now: datetime) -> None:
    # The chain verifier checks the time too; it cannot say which end of the validity was missed.
    remedy = "compare the clocks of both parties; otherwise let the party get a fresh certificate"
    if now > certificate.not_valid_after_utc:
        end = certificate.not_valid_after_utc.isoformat()
        raise _refuse(expected, f"expired at {end}, and it is {now.isoformat()}", remedy)
    if now < certificate.not_valid_before_utc:
        begin = certificate.not_valid_before_utc.isoformat()
        raise _refuse(expected, f"is not valid before {begin}, and it is {now.isoformat()}", remedy)


def _check_chain(certificate: x509.Certificate, bundle: TrustBundle, expected: PartyIdentity, now: datetime) -> None:
    roots = bundle.get(expected.trust_domain)
    if roots is None:
        known = ", ".join(sorted(bundle)) or "none"
        raise _refuse(
            expected,
            f"cannot be verified: no roots are known for trust domain {expected.trust_domain!r} (known: {known})",
            "give this run a trust bundle with that trust domain's roots",
        )
    store = verification.Store([x509.load_pem_x509_certificate(pem) for pem in roots])
    # Every leaf carries both usages, so the rules for clients hold for servers' leaves as well; the rules for servers
    # would add only a DNS name, and the names are compared exactly anyway.
    verifier = verification.PolicyBuilder().store(store).time(now).build_client_verifier()
    try:
        verifier.verify(certificate, [])
    except verification.VerificationError as error:
        raise _refuse(
            expected,
            f"was not issued by a CA of trust domain {expected.trust_domain!r}, or not as a party's leaf ({error})",
        ) from error


def _check_names(certificate: x509.Certificate, expected: PartyIdentity) -> None:
    wanted = build_alternative_names(expected)
    # The chain verifier has seen to it that the extension is there.
    given = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if list(given) != list(wanted):
        raise _refuse(expected, f"is for {render_names(given)}")


def _refuse(expected: PartyIdentity, given: str, remedy: str = "") -> IdentityRefused:
    return IdentityRefused(
        f"the certificate presented as party {expected.party!r} of run {expected.run_id!r} {given}",
        allowed=f"a valid leaf of exactly {expected.spiffe_id}",
        remedy=remedy or "let that party get its certificate at the intake of this very run",
    )


def _refuse_form(given: str) -> IdentityRefused:
    return IdentityRefused(
        given,
        allowed="a leaf with exactly one URI name of the form spiffe://DOMAIN/run/RUN/party/PARTY",
        remedy="let the party present the certificate that its intake issued",
    )
