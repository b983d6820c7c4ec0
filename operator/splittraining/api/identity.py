"""Who a party is on the wire: one SPIFFE id and one DNS name, both carrying the run id.

The run id keeps a leaf of a deleted namesake out. The DNS name exists because gRPC's Python client can check nothing
else: it is the target-name override (docs/adr/0003).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TRUST_DOMAIN = re.compile(r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")
_RUN_ID = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
_PARTY = re.compile(r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")
_SPIFFE = re.compile(r"^spiffe://(?P<domain>[^/]+)/run/(?P<run>[^/]+)/party/(?P<party>[^/]+)$")

SERVER_PARTY = "server"
"""The reserved name of the server party: no client may have it."""


@dataclass(frozen=True, slots=True)
class PartyIdentity:
    """One party of one run in one trust domain.

    Raises:
        ValueError: if a part is not a lower-case name of its kind.
    """

    trust_domain: str
    run_id: str
    party: str

    def __post_init__(self) -> None:
        for label, value, pattern in (
            ("trust domain", self.trust_domain, _TRUST_DOMAIN),
            ("run id", self.run_id, _RUN_ID),
            ("party", self.party, _PARTY),
        ):
            if not pattern.fullmatch(value):
                raise ValueError(f"{label} {value!r} is not a name of the form {pattern.pattern}")

    @property
    def spiffe_id(self) -> str:
        """The one URI SAN of the party's leaf."""
        return f"spiffe://{self.trust_domain}/run/{self.run_id}/party/{self.party}"

    @property
    def dns_name(self) -> str:
        """The one DNS SAN of the party's leaf."""
        return f"{self.party}.{self.run_id}.splittraining"


def parse_spiffe_id(uri: str) -> PartyIdentity:
    """Reads a party's identity from its URI SAN.

    Raises:
        ValueError: if the URI is not of the form ``spiffe://DOMAIN/run/RUN/party/PARTY``.
    """
    match = _SPIFFE.fullmatch(uri)
    if match is None:
        raise ValueError(f"{uri!r} is not of the form spiffe://DOMAIN/run/RUN/party/PARTY")
    return PartyIdentity(match["domain"], match["run"], match["party"])
