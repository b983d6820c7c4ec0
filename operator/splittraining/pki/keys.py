"""Private keys and certificate requests. A key is made in memory and stays in the process that made it."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from splittraining.api.identity import PartyIdentity

PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey


def generate_key() -> PrivateKey:
    """Makes a fresh ECDSA P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def render_key_pem(key: PrivateKey) -> bytes:
    """Renders a key as unencrypted PKCS #8 PEM, for TLS libraries that take nothing else.

    The bytes are as secret as the key: they go into no file, message, argument or log.
    """
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def build_csr(key: PrivateKey, identity: PartyIdentity) -> bytes:
    """Builds the certificate request of a party: no subject, one URI SAN, one DNS SAN, nothing else.

    Returns:
        The request in PEM, signed with the key: it proves possession and holds no secret.
    """
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(build_alternative_names(identity), critical=True)
        .sign(key, hashes.SHA256())
    )
    return request.public_bytes(serialization.Encoding.PEM)


def build_alternative_names(identity: PartyIdentity) -> x509.SubjectAlternativeName:
    """Builds the two names of a party's leaf, in the order in which every leaf has them."""
    return x509.SubjectAlternativeName(
        [x509.UniformResourceIdentifier(identity.spiffe_id), x509.DNSName(identity.dns_name)]
    )
