"""Trust bundles: which roots speak for which trust domain.

Never one pool: a root of one institution says nothing about another's parties, though both stand in the same bundle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cryptography import x509

from splittraining.api.errors import IdentityRefused

_MAX_TRUST_DOMAINS = 128
_MAX_ROOTS = 8  # two during a rollover; the rest is room


class TrustBundle(Mapping[str, tuple[bytes, ...]]):
    """Roots in PEM by trust domain; immutable.

    Args:
        roots: For each trust domain its root certificates, one PEM each.

    Raises:
        IdentityRefused: if there are too many, or a root is no certificate.
    """

    __slots__ = ("_roots",)

    def __init__(self, roots: Mapping[str, Sequence[bytes]]) -> None:
        if len(roots) > _MAX_TRUST_DOMAINS:
            raise _refuse(f"the trust bundle has {len(roots)} trust domains", f"at most {_MAX_TRUST_DOMAINS}")
        for trust_domain, pems in roots.items():
            _check_roots(trust_domain, pems)
        self._roots = {trust_domain: tuple(pems) for trust_domain, pems in roots.items()}

    def __getitem__(self, trust_domain: str) -> tuple[bytes, ...]:
        return self._roots[trust_domain]

    def __iter__(self) -> Iterator[str]:
        return iter(self._roots)

    def __len__(self) -> int:
        return len(self._roots)

    def __repr__(self) -> str:
        return f"TrustBundle({', '.join(f'{domain}: {len(pems)}' for domain, pems in sorted(self._roots.items()))})"

    def render_pem(self) -> bytes:
        """Renders all roots in one PEM, for TLS libraries that know one pool only.

        Whoever uses it verifies the peer's leaf again with ``verify_leaf``, which does not pool.
        """
        return b"".join(pem.rstrip(b"\n") + b"\n" for pems in self._roots.values() for pem in pems)

    def as_json_object(self) -> dict[str, list[str]]:
        """Returns the bundle as plain JSON values."""
        return {trust_domain: [pem.decode("ascii") for pem in pems] for trust_domain, pems in self._roots.items()}


def parse_trust_bundle(value: object) -> TrustBundle:
    """Reads what ``TrustBundle.as_json_object`` wrote.

    Raises:
        IdentityRefused: if the value has another form.
    """
    allowed = "an object of trust domains, each a list of PEM certificates"
    if not isinstance(value, dict):
        raise _refuse(f"the trust bundle is of type {type(value).__name__}", allowed)
    roots: dict[str, tuple[bytes, ...]] = {}
    for trust_domain, pems in value.items():
        if (
            not isinstance(trust_domain, str)
            or not isinstance(pems, list)
            or not all(isinstance(pem, str) and pem.isascii() for pem in pems)
        ):
            raise _refuse(f"the trust bundle's roots of {trust_domain!r} are no list of PEM texts", allowed)
        roots[trust_domain] = tuple(pem.encode("ascii") for pem in pems)
    return TrustBundle(roots)


def _check_roots(trust_domain: str, pems: Sequence[bytes]) -> None:
    if not 1 <= len(pems) <= _MAX_ROOTS:
        raise _refuse(f"the trust bundle has {len(pems)} roots for {trust_domain!r}", f"1 to {_MAX_ROOTS} roots")
    for pem in pems:
        try:
            certificates = x509.load_pem_x509_certificates(pem)
        except (ValueError, TypeError) as error:
            raise _refuse(f"a root of {trust_domain!r} cannot be read", "X.509 certificates in PEM") from error
        if len(certificates) != 1:
            raise _refuse(f"a root of {trust_domain!r} holds {len(certificates)} certificates", "one PEM per root")


def _refuse(given: str, allowed: str) -> IdentityRefused:
    return IdentityRefused(given, allowed=allowed, remedy="look at the trust bundle that this run was given")
