"""The evaluator of certificate requests: pure, and it refuses every attribute that was not asked for."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from splittraining.api.errors import IdentityRefused
from splittraining.api.identity import PartyIdentity
from splittraining.pki.keys import PublicKey, build_alternative_names

MAX_REQUEST_BYTES = 16 * 1024
"""Far above any honest request (about 500 bytes), far below what would cost time to parse."""

_EXTENSION_REQUEST = x509.ObjectIdentifier("1.2.840.113549.1.9.14")  # RFC 2985 5.4.2
_REMEDY = "let the party make its request with this version of splittraining; if it did, report it"


def evaluate_csr(csr_pem: bytes, identity: PartyIdentity) -> PublicKey:
    """Checks that a request asks for exactly one party's leaf, and for nothing else.

    Returns:
        The public key to certify.

    Raises:
        IdentityRefused: naming the first thing in the request that is not wanted.
    """
    request = _parse_request(csr_pem, identity)
    public_key = request.public_key()
    if not is_p256(public_key):
        raise _refuse(identity, "has a key that is not ECDSA P-256", "ECDSA P-256 keys")
    if not request.is_signature_valid:
        raise _refuse(identity, "is not signed by its own key", "a request signed by the key it names")
    if len(request.subject.rdns) > 0:
        subject = request.subject.rfc4514_string()
        raise _refuse(identity, f"has the subject {subject!r}", "an empty subject: the names are in the SANs")
    for attribute in request.attributes:
        if attribute.oid != _EXTENSION_REQUEST:
            raise _refuse(identity, f"has the attribute {attribute.oid.dotted_string}", "no attributes but extensions")
    _check_extensions(request, identity)
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    return public_key


def is_p256(public_key: object) -> bool:
    """Says whether a public key is of the one kind that leaves here have."""
    return isinstance(public_key, ec.EllipticCurvePublicKey) and isinstance(public_key.curve, ec.SECP256R1)


def _parse_request(csr_pem: bytes, identity: PartyIdentity) -> x509.CertificateSigningRequest:
    if len(csr_pem) > MAX_REQUEST_BYTES:
        raise _refuse(identity, f"has {len(csr_pem)} bytes", f"at most {MAX_REQUEST_BYTES} bytes")
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        # All of these are parsed when first asked for: malformed ones must fail here, by name.
        _ = request.extensions, request.attributes, request.public_key(), request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise _refuse(identity, "cannot be read as PEM PKCS #10", "one PKCS #10 request in PEM") from error
    return request


def _check_extensions(request: x509.CertificateSigningRequest, identity: PartyIdentity) -> None:
    for extension in request.extensions:
        if extension.oid != x509.SubjectAlternativeName.oid:
            name = getattr(extension.oid, "_name", extension.oid.dotted_string)
            raise _refuse(identity, f"asks for the extension {name}", "no extension but subjectAltName")
    wanted = build_alternative_names(identity)
    try:
        given = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise _refuse(identity, "asks for no names", render_names(wanted)) from error
    if list(given) != list(wanted):
        raise _refuse(identity, f"asks for the names {render_names(given)}", f"exactly {render_names(wanted)}")


def render_names(names: x509.SubjectAlternativeName) -> str:
    """Renders alternative names for a message, cut to a bounded length."""
    text = ", ".join(f"{type(name).__name__} {name.value!r}" for name in names)
    return text if len(text) <= 300 else text[:297] + "..."  # noqa: PLR2004 - a line or two for people


def _refuse(identity: PartyIdentity, given: str, allowed: str) -> IdentityRefused:
    return IdentityRefused(
        f"the certificate request of party {identity.party!r} of run {identity.run_id!r} {given}",
        allowed=allowed,
        remedy=_REMEDY,
    )
