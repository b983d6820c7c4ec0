"""One run from the manifest to the report: the composition root of a training on one machine."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from splittraining.api.identity import SERVER_PARTY, PartyIdentity
from splittraining.api.party_document import Endpoint, IntakeAccess, PredictionTask, Reporting
from splittraining.api.report import Report
from splittraining.intake.authenticators import OneTimeFileToken
from splittraining.intake.directory import StaticDirectory
from splittraining.intake.server import IntakeServer, RunningIntake, build_door_context, serve_in_thread
from splittraining.intake.signer import CASigner, Signer
from splittraining.local.accepted import AcceptedTraining, accept_manifest, list_claims
from splittraining.local.child import Order
from splittraining.local.crew import Crew
from splittraining.local.events import Event, PartyFacts, RunFinished, RunStarted
from splittraining.local.launcher import PARTY_TARGET, Launcher
from splittraining.local.logs import logging_to
from splittraining.local.manifest import Manifest
from splittraining.local.outcome import Outcome, PartyEnd, decide_outcome
from splittraining.local.port import LOOPBACK, reserve_port
from splittraining.local.results import build_record, write_results
from splittraining.local.signals import Mailbox, StopWish, Wakeup
from splittraining.local.supervision import Patience, Supervision
from splittraining.local.volumes import resolve_volumes
from splittraining.local.workspace import LOG_FILE, STDERR_FILE, TOKEN_FILE, TRUST_FILE, Workspace, naming_the_path
from splittraining.pki.bundle import TrustBundle
from splittraining.pki.ca import MAX_LEAF_DURATION, SiteCA
from splittraining.plan.environment import build_environment
from splittraining.plan.party_documents import PartyPlace, RunPlace, build_party_documents
from splittraining.plan.topology import (
    find_data_claim,
    find_hand_off_neighbors,
    find_warm_start_claim,
    get_role,
    list_parties,
)
from splittraining.report.record import RunRecord

TRUST_DOMAIN = "local.splittraining"
"""The trust domain of every local run; the run id tells the runs apart."""

REPORT_PERIOD_MS = 500
"""Someone watches, and the intake is in the same machine."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run, and where."""

    manifest: Manifest
    runs_folder: Path
    volumes: Mapping[str, Path] = field(default_factory=dict)
    """Folders by claim, as the user gave them."""
    restart: bool = False
    debug: bool = False


def _now() -> datetime:
    return datetime.now(UTC)


def _make_run_id() -> str:
    return uuid.uuid4().hex


def _build_signer(ca: SiteCA, duration: timedelta, clock: Callable[[], datetime]) -> Signer:
    return CASigner(ca, duration=min(duration, MAX_LEAF_DURATION), clock=clock)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run takes from outside."""

    now: Callable[[], datetime] = _now
    monotonic_s: Callable[[], float] = time.monotonic
    make_run_id: Callable[[], str] = _make_run_id
    patience: Patience = field(default_factory=Patience)
    build_signer: Callable[[SiteCA, timedelta, Callable[[], datetime]], Signer] = _build_signer
    """Builds what signs the parties' leaves, from the run's CA, the leaves' duration and a clock."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended, and where its results are."""

    outcome: Outcome
    folder: Path
    record: RunRecord


def run_training(
    request: RunRequest,
    *,
    emit: Callable[[Event], None],
    wakeup: Wakeup,
    wish: StopWish,
    launcher: Launcher | None = None,
    surroundings: Surroundings | None = None,
) -> RunResult:
    """Runs a SplitTraining on this machine until its last party has ended.

    Args:
        request: What to run, and where.
        emit: Called with every event, in this thread.
        wakeup: Rung by `wish`.
        wish: The user's wish to stop.
        launcher: Starts the parties; by default one whose fork server has the training's own thread counts.
        surroundings: Time and names.

    Raises:
        SplitTrainingError: if the run cannot start. What happens to parties is in the result instead.
    """
    around = surroundings or Surroundings()
    started_at, started_s = around.now(), around.monotonic_s()
    accepted = accept_manifest(request.manifest)
    volumes = resolve_volumes(list_claims(accepted.training), request.volumes, request.manifest.folder)
    threads = accepted.training.spec.training.numerics.intra_op_threads
    launcher = launcher or Launcher(environment=build_environment(intra_op_threads=threads))
    name = accepted.training.metadata.name
    folder = request.runs_folder / name
    with Workspace(folder, restart=request.restart) as workspace, logging_to(folder / LOG_FILE):
        launcher.warm_up()  # it imports torch while the rest is prepared
        run = PartiesRun(accepted, volumes, workspace, run_id=around.make_run_id(), debug=request.debug)
        emit(announce(accepted, folder))
        ends, reports = run.execute(launcher, emit=emit, wakeup=wakeup, wish=wish, around=around)
        outcome = decide_outcome(ends, interrupted=wish.count > 0)
        record = build_record(
            accepted,
            run_id=run.run_id,
            outcome=outcome,
            reports=reports,
            folder=folder,
            started_at=started_at,
            finished_at=around.now(),
            elapsed_s=around.monotonic_s() - started_s,
        )
        report_path = write_results(record, folder)
        emit(RunFinished(outcome, report_path))
        return RunResult(outcome, folder, record)


class PartiesRun:
    """One run's parts: its identities, its door, its documents and its processes.

    Args:
        accepted: What is run.
        volumes: Folders by claim.
        workspace: The run's folder.
        run_id: What its identities carry.
        debug: Whether parties log more.
        predictions: What each party predicts with; none in a training.
    """

    def __init__(
        self,
        accepted: AcceptedTraining,
        volumes: Mapping[str, Path],
        workspace: Workspace,
        *,
        run_id: str,
        debug: bool,
        predictions: Mapping[str, PredictionTask] | None = None,
    ) -> None:
        self._predictions = predictions or {}
        self._accepted = accepted
        self._volumes = volumes
        self._workspace = workspace
        self._debug = debug
        self.run_id = run_id
        self._parties = list_parties(accepted.training.spec)
        self._identities = {party: PartyIdentity(TRUST_DOMAIN, run_id, party) for party in self._parties}

    def execute(
        self,
        launcher: Launcher,
        *,
        emit: Callable[[Event], None],
        wakeup: Wakeup,
        wish: StopWish,
        around: Surroundings,
    ) -> tuple[list[PartyEnd], Mapping[str, Report]]:
        """Runs every party to its end; whatever happens here, no party and no token is left behind."""
        reports: Mailbox[Report] = Mailbox(wakeup)
        crew = Crew(launcher)
        try:
            with self._reserve_endpoints() as endpoints, self._open_door(reports, around) as door:
                crew.start_all(
                    {party: self._build_order(path) for party, path in self._write_documents(endpoints, door).items()}
                )
                supervision = Supervision(
                    crew,
                    folder=self._workspace.folder,
                    wakeup=wakeup,
                    reports=reports,
                    wish=wish,
                    emit=emit,
                    patience=around.patience,
                    monotonic_s=around.monotonic_s,
                )
                return supervision.watch(), supervision.newest
        finally:
            crew.abandon()
            for party in self._parties:
                self._workspace.delete_token(party)

    def _build_order(self, path: Path) -> Order:
        """Builds what a party's process is to do, from its document's path."""
        stderr_path = str(path.parent / STDERR_FILE)
        return Order(PARTY_TARGET, (str(path),), {"debug": self._debug}, stderr_path=stderr_path)

    @contextlib.contextmanager
    def _reserve_endpoints(self) -> Iterator[dict[str, Endpoint]]:
        """Yields where every party listens that is dialed by another one: the server, and the ring's clients."""
        spec = self._accepted.training.spec
        listeners = [party for party in self._parties if find_hand_off_neighbors(spec, party) is not None]
        with contextlib.ExitStack() as stack:
            yield {
                party: Endpoint(host=LOOPBACK, port=stack.enter_context(reserve_port()))
                for party in (SERVER_PARTY, *listeners)
            }

    @contextlib.contextmanager
    def _open_door(self, reports: Mailbox[Report], around: Surroundings) -> Iterator[RunningIntake]:
        """Makes the run's own CA, a one-time token and a folder for every party, and opens the intake."""
        now = around.now
        ca = SiteCA.create(TRUST_DOMAIN, now=now())
        bundle = TrustBundle({TRUST_DOMAIN: (ca.certificate_pem,)})
        self._workspace.write_trust(ca.certificate_pem)
        tokens = OneTimeFileToken()
        for party, identity in self._identities.items():
            path = self._workspace.create_party(party) / TOKEN_FILE
            with naming_the_path(path):
                tokens.issue(identity, path)

        def on_report(identity: PartyIdentity, report: Report) -> None:
            # Who reports has its leaf. A command that is killed later then leaves no token behind either.
            self._workspace.delete_token(identity.party)
            reports.put(report)

        leaf_duration = timedelta(seconds=self._accepted.training.spec.tls.leaf_duration_seconds)
        server = IntakeServer(
            directory=StaticDirectory(self._identities.values()),
            tokens=tokens,
            signer=around.build_signer(ca, leaf_duration, now),
            fetch_bundle=lambda: bundle,
            on_report=on_report,
            clock=now,
        )
        door = serve_in_thread(server, tls=build_door_context(ca, names=[LOOPBACK], bundle=bundle, now=now()))
        try:
            yield door
        finally:
            door.close()

    def _write_documents(self, endpoints: Mapping[str, Endpoint], door: RunningIntake) -> dict[str, Path]:
        """Writes the model's source and every party's document; returns the documents' paths."""
        source_path = ""
        if self._accepted.source_files:
            source_path = str(self._workspace.write_source(self._accepted.source_files).resolve())
        documents = build_party_documents(
            self._accepted.training,
            self._accepted.contract,
            run=RunPlace(
                run_id=self.run_id,
                trust_domain=TRUST_DOMAIN,
                server=endpoints[SERVER_PARTY],
                clients=endpoints,
                reporting=Reporting(period_milliseconds=REPORT_PERIOD_MS),
            ),
            places={party: self._place(party, door.url, source_path) for party in self._parties},
        )
        return {
            party: self._workspace.write_document(party, document.model_dump_json(by_alias=True).encode())
            for party, document in documents.items()
        }

    def _place(self, party: str, url: str, source_path: str) -> PartyPlace:
        root = self._workspace.folder.resolve()
        spec = self._accepted.training.spec
        claim, warm_start_claim = find_data_claim(spec, party), find_warm_start_claim(spec, party)
        return PartyPlace(
            intake=IntakeAccess(url=url, bundle_path=str(root / TRUST_FILE), token_path=str(root / party / TOKEN_FILE)),
            output_path=str(root / party),
            data_path=str(self._volumes[claim]) if claim else "",
            # A prediction needs no first weights, and is not asked where they are.
            warm_start_path=str(self._volumes.get(warm_start_claim, "")),
            source_path=source_path,
            prediction=self._predictions.get(party),
        )


def announce(accepted: AcceptedTraining, folder: Path, *, predicts: bool = False) -> RunStarted:
    """Builds the first event of a run."""
    training = accepted.training
    return RunStarted(
        name=training.metadata.name,
        namespace=training.metadata.namespace,
        topology=training.spec.topology.value,
        rounds=0 if predicts else training.spec.rounds,
        parties=tuple(PartyFacts(party, get_role(party)) for party in list_parties(training.spec)),
        folder=folder,
    )
