"""The intake of a cluster: its directory, authenticator and signer, composed, and its door kept open.

The door has a thread and a loop of its own. What needs the API server or the store goes over to the operator's loop,
since sessions and stores belong to one loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from splittraining.api.identity import PartyIdentity
from splittraining.api.report import Report
from splittraining.controller.authority import Authority
from splittraining.controller.settings import Settings
from splittraining.intake.authenticators import TokenAuthenticator
from splittraining.intake.directory import Claims, Directory
from splittraining.intake.errors import Unauthenticated, Unavailable
from splittraining.intake.jwks import KeySet
from splittraining.intake.projected_token import ProjectedToken
from splittraining.intake.server import IntakeServer, RunningIntake, build_door_context, serve_in_thread
from splittraining.pki.bundle import TrustBundle
from splittraining.pki.ca import MAX_LEAF_DURATION

_REFRESH_PERIOD_S = 5.0
_ANY_ADDRESS = ""  # both IPv4 and IPv6, where the node has both

_LOG = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")


class Bridge:
    """From the door's thread to the operator's loop.

    Args:
        loop: The operator's loop.
        failures: Errors that mean that the API server could not be asked now.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, failures: tuple[type[Exception], ...]) -> None:
        self._loop = loop
        self._failures = failures

    async def run(self, coroutine: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Runs a coroutine in the operator's loop and waits for it.

        Raises:
            Unavailable: if the API server could not be asked: the caller may be right, and comes again.
        """
        try:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))
        except self._failures as error:
            _LOG.warning("the intake could not ask the API server: %s", error)
            raise Unavailable(
                "the cluster could not be asked about this party", remedy="come again in some seconds"
            ) from error

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Calls a function in the operator's loop, some time soon."""
        self._loop.call_soon_threadsafe(function, *arguments)


class PatientTokens:
    """A token authenticator that looks at the cluster again before it refuses: a refused party never comes back.

    Args:
        tokens: Verifies against the participations that are known.
        refresh: Lists the participations anew.
        monotonic_s: Returns seconds that never go back.
    """

    def __init__(
        self, tokens: TokenAuthenticator, *, refresh: Callable[[], Awaitable[None]], monotonic_s: Callable[[], float]
    ) -> None:
        self._tokens = tokens
        self._refresh = refresh
        self._monotonic_s = monotonic_s
        self._refreshed_s = float("-inf")

    async def authenticate(self, token: str) -> Claims:
        """Returns what the token proves."""
        try:
            return await self._tokens.authenticate(token)
        except Unauthenticated as error:
            # Anybody can send nonsense: that must not make every request a list of the whole cluster.
            if self._monotonic_s() - self._refreshed_s < _REFRESH_PERIOD_S:
                raise Unavailable(str(error), remedy="come again in some seconds") from error
            self._refreshed_s = self._monotonic_s()
        await self._refresh()
        return await self._tokens.authenticate(token)


@dataclass(frozen=True, slots=True)
class IntakeParts:
    """What the intake stands on; all of it belongs to the operator's loop."""

    authority: Authority
    directory: Directory
    fetch_jwks: Callable[[], Awaitable[Mapping[str, Any]]]
    issuers: Collection[str]
    fetch_audiences: Callable[[], Collection[str]]
    """Audiences of the participations that are known."""
    refresh_participations: Callable[[], Awaitable[None]]
    get_leaf_duration: Callable[[str], timedelta | None]
    """How long leaves of a run are valid, by run id; None where the training is not known here (yet)."""
    on_report: Callable[[PartyIdentity, Report], None]
    on_signed: Callable[[], None]
    is_leading: Callable[[], bool]
    clock: Callable[[], datetime]
    monotonic_s: Callable[[], float]


def build_intake(parts: IntakeParts, bridge: Bridge) -> IntakeServer:
    """Builds what stands behind the door."""
    tokens = PatientTokens(
        ProjectedToken(
            KeySet(parts.fetch_jwks, clock=parts.clock),
            issuers=parts.issuers,
            fetch_audiences=parts.fetch_audiences,
            clock=parts.clock,
        ),
        refresh=parts.refresh_participations,
        monotonic_s=parts.monotonic_s,
    )
    return IntakeServer(
        directory=_BridgedDirectory(parts.directory, bridge),
        tokens=_BridgedTokens(tokens, bridge),
        signer=_ClusterSigner(parts, bridge),
        fetch_bundle=lambda: _get_bundle(parts.authority),
        on_report=lambda identity, report: _hand_over(parts, bridge, identity, report),
        clock=parts.clock,
    )


async def keep_door_open(
    server: IntakeServer,
    authority: Authority,
    settings: Settings,
    *,
    on_open: Callable[[], None],
    period_s: float,
) -> None:
    """Keeps the door open under the certificate of the CA of the moment, until it is cancelled.

    Args:
        server: What stands behind the door.
        authority: The CA; before there is one, there is no door.
        settings: Port and names.
        on_open: Called whenever the door is open under a new certificate.
        period_s: How often the CA is looked at.
    """
    door: RunningIntake | None = None
    opened_with: bytes | None = None
    try:
        while True:
            ca, bundle = authority.ca, authority.bundle
            if ca is not None and bundle is not None and ca.certificate_pem != opened_with:
                if door is not None:
                    await asyncio.to_thread(door.close)
                names = (settings.intake_host, settings.reports_host)
                tls = build_door_context(ca, names=names, bundle=bundle, now=server.clock())
                door = serve_in_thread(server, tls=tls, host=_ANY_ADDRESS, port=settings.intake_port)
                opened_with = ca.certificate_pem
                on_open()
            await asyncio.sleep(period_s)
    finally:
        if door is not None:
            await asyncio.to_thread(door.close)


class _BridgedDirectory:
    def __init__(self, directory: Directory, bridge: Bridge) -> None:
        self._directory = directory
        self._bridge = bridge

    async def find_party(self, claims: Claims) -> PartyIdentity | None:
        return await self._bridge.run(self._find_party(claims))

    async def _find_party(self, claims: Claims) -> PartyIdentity | None:
        return await self._directory.find_party(claims)


class _BridgedTokens:
    def __init__(self, tokens: PatientTokens, bridge: Bridge) -> None:
        self._tokens = tokens
        self._bridge = bridge

    async def authenticate(self, token: str) -> Claims:
        return await self._bridge.run(self._tokens.authenticate(token))


class _ClusterSigner:
    """Signs with the CA of the moment, for as long as the training says."""

    def __init__(self, parts: IntakeParts, bridge: Bridge) -> None:
        self._parts = parts
        self._bridge = bridge

    async def sign(self, csr_pem: bytes, identity: PartyIdentity) -> bytes:
        return await self._bridge.run(self._sign(csr_pem, identity))

    async def _sign(self, csr_pem: bytes, identity: PartyIdentity) -> bytes:
        ca = self._parts.authority.ca
        assert ca is not None, "the door opens once there is a CA"
        duration = self._parts.get_leaf_duration(identity.run_id)
        if duration is None:  # the directory looked live, past what the watches have brought so far
            raise Unavailable(f"training {identity.run_id} is not known to this replica yet", remedy="come again soon")
        duration = min(duration, MAX_LEAF_DURATION)
        leaf_pem = ca.issue_leaf(csr_pem, identity, duration=duration, now=self._parts.clock())
        self._parts.on_signed()
        return leaf_pem


def _get_bundle(authority: Authority) -> TrustBundle:
    bundle = authority.bundle
    assert bundle is not None, "the door opens once there is a CA"
    return bundle


def _hand_over(parts: IntakeParts, bridge: Bridge, identity: PartyIdentity, report: Report) -> None:
    if not parts.is_leading():
        raise Unavailable("this replica does not lead, and only the leader takes reports", remedy="come again soon")
    bridge.call(parts.on_report, identity, report)
