"""A cluster's own authorities and the certificates of its components, each with the name that its rights hang on.

Source: Kubernetes documentation, "PKI certificates and requirements".
"""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# A cluster for tests lives for hours.
_LIFETIME = timedelta(days=30)
_BACKDATED = timedelta(minutes=5)


@dataclass(frozen=True)
class Subject:
    """Who a certificate is for: the user and, as organization, the group that Kubernetes' rights know."""

    name: str
    group: str = ""

    def as_name(self) -> x509.Name:
        """Returns it as X.509 has it."""
        group = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.group)] if self.group else []
        return x509.Name([*group, x509.NameAttribute(NameOID.COMMON_NAME, self.name)])


class Authority:
    """Signs certificates into one folder.

    Args:
        folder: Where ``NAME.crt`` and ``NAME.key`` are written.
        name: The authority's own name there.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = Subject(f"{name} of a test cluster").as_name()
        builder = _begin(self._subject, self._subject, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        _write(folder, name, builder.sign(self._key, hashes.SHA256()), self._key)

    def issue(self, file: str, subject: Subject, *, names: Sequence[str] = ()) -> None:
        """Issues a certificate for both ends of TLS.

        Args:
            file: What its files are called.
            subject: Who it is for.
            names: DNS names and addresses that it vouches for.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = (
            _begin(subject.as_name(), self._subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usages, critical=False)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_parse(name) for name in names]), critical=False
            )
        _write(self._folder, file, builder.sign(self._key, hashes.SHA256()), key)


def write_service_account_key(folder: Path) -> None:
    """Writes the pair that signs service accounts' tokens as ``sa.key`` and ``sa.pub``."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _write_private(folder / "sa.key", key)
    (folder / "sa.pub").write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def write_kubeconfig(path: Path, server: str, certificates: Path, user: str) -> None:
    """Writes how a user reaches the API server; the file holds the user's key, so only its owner reads it."""
    read = {name: base64.b64encode((certificates / name).read_bytes()).decode() for name in
            ("ca.crt", f"{user}.crt", f"{user}.key")}  # fmt: skip
    cluster = {"server": server, "certificate-authority-data": read["ca.crt"]}
    rights = {"client-certificate-data": read[f"{user}.crt"], "client-key-data": read[f"{user}.key"]}
    path.touch(mode=0o600)
    path.write_text(render_kubeconfig(user, cluster, rights))


def render_kubeconfig(user: str, cluster: Mapping[str, str], rights: Mapping[str, str]) -> str:
    """Renders a kubeconfig of one cluster and one user.

    Args:
        user: What the user is called.
        cluster: Where it is, and what vouches for it.
        rights: What the user shows.
    """
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        "clusters": [{"name": "test", "cluster": dict(cluster)}],
        "users": [{"name": user, "user": dict(rights)}],
    }
    return json.dumps(document, indent=2)


def _begin(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _LIFETIME)
    )


def _parse(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(folder: Path, name: str, certificate: x509.Certificate, key: CertificateIssuerPrivateKeyTypes) -> None:
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    _write_private(folder / f"{name}.key", key)


def _write_private(path: Path, key: CertificateIssuerPrivateKeyTypes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
