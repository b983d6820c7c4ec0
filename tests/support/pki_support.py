"""Builders of sites, leaves and doors for tests: `a_site().admit("st-mary")`, `open_intake(site)`."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import AttributeOID

from splittraining.api.identity import PartyIdentity
from splittraining.api.party_document import IntakeAccess, PartyDocument, Reporting
from splittraining.api.report import PartyState, Report
from splittraining.intake.authenticators import OneTimeFileToken
from splittraining.intake.directory import StaticDirectory
from splittraining.intake.server import IntakeServer, RunningIntake, build_door_context, serve_in_thread
from splittraining.intake.signer import CASigner, Signer
from splittraining.pki.bundle import TrustBundle
from splittraining.pki.ca import SiteCA
from splittraining.pki.credentials import Credentials, build_credentials
from splittraining.pki.keys import PrivateKey, build_alternative_names, build_csr, generate_key

DOMAIN = "alpha.example"
RUN = "run-1"


def current_time() -> datetime:
    """The clock of tests that do real handshakes: TLS libraries take no other."""
    return datetime.now(UTC)


def an_identity(party: str = "st-mary", *, run_id: str = RUN, trust_domain: str = DOMAIN) -> PartyIdentity:
    return PartyIdentity(trust_domain, run_id, party)


@dataclass(frozen=True)
class Site:
    """One institution's CA, and the bundle that holds its root alone."""

    ca: SiteCA
    bundle: TrustBundle
    now: datetime

    def admit(
        self,
        party: str = "st-mary",
        *,
        run_id: str = RUN,
        now: datetime | None = None,
        duration: timedelta = timedelta(hours=24),
    ) -> Credentials:
        """Gives a party of this site its credentials."""
        at = now or self.now
        identity = an_identity(party, run_id=run_id, trust_domain=self.ca.trust_domain)
        key = generate_key()
        leaf_pem = self.ca.issue_leaf(build_csr(key, identity), identity, duration=duration, now=at)
        return build_credentials(key, leaf_pem, bundle=self.bundle, identity=identity, now=at)

    def forge(
        self,
        names: x509.SubjectAlternativeName,
        *,
        usages: Sequence[x509.ObjectIdentifier] = (
            x509.ExtendedKeyUsageOID.SERVER_AUTH,
            x509.ExtendedKeyUsageOID.CLIENT_AUTH,
        ),
        key: PrivateKey | None = None,
    ) -> bytes:
        """Signs a leaf with any names and usages: what this site's CA would never do by its public face."""
        public_key = (key or generate_key()).public_key()
        return self.ca._issue(public_key, names, list(usages), duration=timedelta(hours=1), now=self.now)


def a_site(trust_domain: str = DOMAIN, *, now: datetime | None = None) -> Site:
    at = now or current_time()
    ca = SiteCA.create(trust_domain, now=at)
    return Site(ca, TrustBundle({trust_domain: (ca.certificate_pem,)}), at)


def join_bundles(*sites: Site) -> TrustBundle:
    """What each party of a run between these sites is given."""
    return TrustBundle({domain: roots for site in sites for domain, roots in site.bundle.items()})


def craft_csr(
    identity: PartyIdentity,
    *,
    key: object = None,
    names: Sequence[x509.GeneralName] | None = None,
    subject: str = "",
    extensions: Sequence[x509.ExtensionType] = (),
    challenge: bytes = b"",
) -> bytes:
    """Builds a request that may ask for more, less or other than a party may have."""
    wanted = build_alternative_names(identity) if names is None else x509.SubjectAlternativeName(names)
    attributes = [x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)] if subject else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if list(wanted):
        builder = builder.add_extension(wanted, critical=True)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    if challenge:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge)
    signing_key = key if key is not None else generate_key()
    return builder.sign(signing_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)  # type: ignore[arg-type]


def a_report(
    party: str = "st-mary", *, sequence: int = 1, generation: int = 1, state: PartyState = PartyState.TRAINING
) -> Report:
    return Report(party=party, generation=generation, sequence=sequence, state=state)


@dataclass
class OpenIntake:
    """A door on loopback, its tokens, and the reports that came through it."""

    site: Site
    running: RunningIntake
    tokens: OneTimeFileToken
    reports: queue.Queue[tuple[PartyIdentity, Report]]
    faults: list[Exception] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.running.url

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def write_document(
        self, folder: Path, party: str = "st-mary", *, period_milliseconds: int = 60000, url: str = ""
    ) -> PartyDocument:
        """Writes a party's token and the door's roots, and builds as much of its document as the client reads."""
        identity = an_identity(party, trust_domain=self.site.ca.trust_domain)
        token_path, bundle_path = folder / f"{party}.token", folder / "bundle.pem"
        self.tokens.issue(identity, token_path)
        bundle_path.write_bytes(self.site.ca.certificate_pem)
        return build_document(
            identity,
            IntakeAccess(url=url or self.url, bundle_path=str(bundle_path), token_path=str(token_path)),
            period_milliseconds=period_milliseconds,
        )


def build_document(identity: PartyIdentity, access: IntakeAccess, *, period_milliseconds: int = 60000) -> PartyDocument:
    """Builds a document without a contract: the door does not care what is trained."""
    return PartyDocument.model_construct(
        run_id=identity.run_id,
        party=identity.party,
        trust_domain=identity.trust_domain,
        intake=access,
        reporting=Reporting(period_milliseconds=period_milliseconds),
    )


@contextlib.contextmanager
def open_intake(
    site: Site, parties: Sequence[str] = ("st-mary", "server"), *, port: int = 0, signer: Signer | None = None
) -> Iterator[OpenIntake]:
    """Opens a door for the parties of one run at one site."""
    reports: queue.Queue[tuple[PartyIdentity, Report]] = queue.Queue()
    faults: list[Exception] = []

    def take(identity: PartyIdentity, report: Report) -> None:
        if faults:
            raise faults.pop()
        reports.put((identity, report))

    tokens = OneTimeFileToken()
    server = IntakeServer(
        directory=StaticDirectory(an_identity(party, trust_domain=site.ca.trust_domain) for party in parties),
        tokens=tokens,
        signer=signer or CASigner(site.ca, clock=current_time),
        fetch_bundle=lambda: site.bundle,
        on_report=take,
        clock=current_time,
    )
    tls = build_door_context(site.ca, names=["localhost", "127.0.0.1"], bundle=site.bundle, now=current_time())
    running = serve_in_thread(server, tls=tls, port=port)
    try:
        yield OpenIntake(site, running, tokens, reports, faults)
    finally:
        running.close()
