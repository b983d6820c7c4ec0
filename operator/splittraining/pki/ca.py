"""A site's certificate authority: one ECDSA P-256 key, one trust domain, short-lived leaves."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from splittraining.api.errors import IdentityRefused
from splittraining.api.identity import PartyIdentity
from splittraining.pki.evaluate import evaluate_csr, is_p256
from splittraining.pki.keys import PrivateKey, PublicKey, build_alternative_names, generate_key, render_key_pem

CA_DURATION = timedelta(days=365)
DEFAULT_LEAF_DURATION = timedelta(hours=24)
MAX_LEAF_DURATION = timedelta(days=7)
CLOCK_SKEW = timedelta(minutes=5)
"""How far a party's clock may be behind the CA's: every certificate is valid from that long before its issue."""

_COMMON_NAME_LENGTH = 64  # RFC 5280, ub-common-name


class SiteCA:
    """Issues the leaves of one trust domain. Its key shows nowhere but where a site keeps it.

    Args:
        trust_domain: The only trust domain that it signs for.
        key: Its private key.
        certificate: Its self-signed root.
    """

    def __init__(self, trust_domain: str, key: PrivateKey, certificate: x509.Certificate) -> None:
        self.trust_domain = trust_domain
        self._key = key
        self._certificate = certificate

    @classmethod
    def create(cls, trust_domain: str, *, now: datetime) -> SiteCA:
        """Makes a fresh key and its self-signed root."""
        key = generate_key()
        common_name = f"splittraining CA {trust_domain}"[:_COMMON_NAME_LENGTH]
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(now + CA_DURATION)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_build_key_usage(signs_certificates=True), critical=True)
            .add_extension(key_id, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(trust_domain, key, certificate)

    @classmethod
    def parse(cls, trust_domain: str, *, key_pem: bytes, certificate_pem: bytes) -> SiteCA:
        """Reads a CA that was kept.

        Raises:
            IdentityRefused: if key and certificate cannot be read, are of another kind or do not belong together.
        """
        try:
            key = serialization.load_pem_private_key(key_pem, password=None)
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
            certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except (ValueError, TypeError, x509.ExtensionNotFound, UnsupportedAlgorithm) as error:
            raise _refuse_kept("cannot be read") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not is_p256(key.public_key()):
            raise _refuse_kept("has a key that is not ECDSA P-256")
        if key.public_key() != certificate.public_key():
            raise _refuse_kept("has a certificate of another key")
        if not constraints.ca:
            raise _refuse_kept("has a certificate that may not sign others")
        return cls(trust_domain, key, certificate)

    def __repr__(self) -> str:
        return f"SiteCA({self.trust_domain!r})"

    @property
    def key_pem(self) -> bytes:
        """The private key, for the one place where it is kept."""
        return render_key_pem(self._key)

    @property
    def not_after(self) -> datetime:
        """When the root ends, and every leaf with it."""
        return self._certificate.not_valid_after_utc

    @property
    def certificate_pem(self) -> bytes:
        """The root, as trust bundles hold it."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue_leaf(
        self,
        csr_pem: bytes,
        identity: PartyIdentity,
        *,
        duration: timedelta = DEFAULT_LEAF_DURATION,
        now: datetime,
    ) -> bytes:
        """Issues the leaf of one party, if the request asks for that and nothing else.

        Raises:
            IdentityRefused: if the request is not exactly the identity's, or of another trust domain.
            ValueError: if the duration is not within a week.
        """
        if identity.trust_domain != self.trust_domain:
            raise IdentityRefused(
                f"a certificate of trust domain {identity.trust_domain!r} was asked for at the CA of "
                f"{self.trust_domain!r}",
                allowed=f"parties of trust domain {self.trust_domain!r}",
                remedy="ask the intake of the party's own institution",
            )
        if not timedelta(0) < duration <= MAX_LEAF_DURATION:
            raise ValueError(f"a leaf cannot be valid for {duration}: above 0 and at most {MAX_LEAF_DURATION}")
        public_key = evaluate_csr(csr_pem, identity)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        return self._issue(public_key, build_alternative_names(identity), usages, duration=duration, now=now)

    def issue_server_leaf(self, public_key: PublicKey, names: Sequence[str], *, now: datetime) -> bytes:
        """Issues the certificate of a door: it can serve TLS under DNS names or addresses, and be nobody's identity.

        It lives as long as the CA: its key never leaves the process that serves, which ends before.

        Raises:
            ValueError: if no name is given, or one that belongs to parties.
        """
        if not names:
            raise ValueError("a door's certificate needs at least one DNS name or address")
        for name in names:
            if name.endswith(".splittraining"):
                raise ValueError(f"{name!r} is a party's name: a door is never called *.splittraining")
        alternative_names = x509.SubjectAlternativeName([_build_general_name(name) for name in names])
        usages = [ExtendedKeyUsageOID.SERVER_AUTH]
        return self._issue(public_key, alternative_names, usages, duration=CA_DURATION, now=now)

    def _issue(
        self,
        public_key: PublicKey,
        names: x509.SubjectAlternativeName,
        usages: list[x509.ObjectIdentifier],
        *,
        duration: timedelta,
        now: datetime,
    ) -> bytes:
        own_key_id = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(min(now + duration, self._certificate.not_valid_after_utc))
            .add_extension(names, critical=True)  # RFC 5280 4.2.1.6: critical where the subject is empty
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_build_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own_key_id), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


def _build_key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _build_general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _refuse_kept(given: str) -> IdentityRefused:
    return IdentityRefused(
        f"the CA that is kept {given}",
        allowed="a P-256 key in PEM and its own CA certificate, as this project writes them",
        remedy="restore it from a backup; or delete it, and a new one is made that parties do not trust yet",
    )
