"""The operator's parts, put together: everything that is made once, and what it is made of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from splittraining.api.identity import PartyIdentity
from splittraining.api.names import build_audience
from splittraining.api.party_document import Endpoint
from splittraining.api.report import Report
from splittraining.cluster.client import JWKS, Client
from splittraining.cluster.errors import ApiError
from splittraining.cluster.lease import LeaseTimes
from splittraining.cluster.resources import SPLIT_PARTICIPATION
from splittraining.controller.authority import Authority
from splittraining.controller.directory import ClusterDirectory
from splittraining.controller.execute import Executor, WriteRefused
from splittraining.controller.gather import Gatherer
from splittraining.controller.health import Health
from splittraining.controller.intake import Bridge, IntakeParts, build_intake
from splittraining.controller.issuer import JWKS_PATH
from splittraining.controller.kube import Cluster, SecretVault
from splittraining.controller.metrics import Metrics
from splittraining.controller.reports import Reports
from splittraining.controller.settings import Settings
from splittraining.controller.state import State
from splittraining.controller.watched import WATCHED_KINDS
from splittraining.controller.work_queue import Key, WorkQueue
from splittraining.controller.worker import Decide, Reconciler
from splittraining.intake.server import IntakeServer
from splittraining.pki.ca import DEFAULT_LEAF_DURATION
from splittraining.plan.manifests.settings import OperatorSettings
from splittraining.plan.reconcile import decide_training


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the operator takes from outside its settings."""

    clock: Callable[[], datetime] = _now
    monotonic_s: Callable[[], float] = time.monotonic
    decide: Decide = decide_training
    lease_times: LeaseTimes = field(default_factory=LeaseTimes)


class Parts:
    """All parts of one operator process.

    Args:
        settings: Who and where.
        client: Calls the API server.
        around: Time, and the decision.
    """

    def __init__(self, settings: Settings, client: Client, around: Surroundings) -> None:
        self.settings = settings
        self.client = client
        self.around = around
        self.is_leading = False
        self.metrics = Metrics()
        self.queue = WorkQueue(monotonic_s=around.monotonic_s, observer=self.metrics)
        self.state = State(wake=self._wake, monotonic_s=around.monotonic_s)
        self.health = Health(
            monotonic_s=around.monotonic_s,
            get_oldest_key_age_s=self.queue.get_oldest_age_s,
            get_watch_ages_s=self.state.get_ages_s,
        )
        self.cluster = Cluster(client, self.state, metrics=self.metrics, clock=around.clock, instance=settings.pod_name)
        self.authority = Authority(
            SecretVault(client, namespace=settings.namespace, name=settings.authority_name),
            trust_domain=settings.trust_domain,
            clock=around.clock,
            on_replaced=self._on_replaced,
        )
        self.reports = Reports(find_key=self.state.find_key, wake=self._wake)
        self.reconciler = self._build_reconciler()

    def build_intake(self, issuers: list[str]) -> IntakeServer:
        """Builds what stands behind the intake's door; to be called in the operator's loop."""
        parts = IntakeParts(
            authority=self.authority,
            directory=ClusterDirectory(
                self.cluster,
                find_training=self.state.find_training_by_uid,
                trust_domain=self.settings.trust_domain,
            ),
            fetch_jwks=self._fetch_jwks,
            issuers=issuers,
            fetch_audiences=lambda: [build_audience(uid) for uid in self.state.list_participation_uids()],
            refresh_participations=self._refresh_participations,
            get_leaf_duration=self._get_leaf_duration,
            on_report=self._on_report,
            on_signed=self.metrics.certificates.inc,
            is_leading=lambda: self.is_leading,
            clock=self.around.clock,
            monotonic_s=self.around.monotonic_s,
        )
        bridge = Bridge(asyncio.get_running_loop(), failures=(ApiError, WriteRefused))
        return build_intake(parts, bridge)

    def render_metrics(self) -> bytes:
        """Renders all metrics, with those that are looked up only when somebody asks."""
        self.metrics.oldest_key_seconds.set(self.queue.get_oldest_age_s())
        self.metrics.leading.set(self.is_leading)
        for kind, number in self.state.count().items():
            self.metrics.store_objects.labels(kind=kind).set(number)
        for kind, age_s in self.state.get_ages_s().items():
            self.metrics.watch_age.labels(kind=kind).set(age_s)
        return self.metrics.render()

    def _build_reconciler(self) -> Reconciler:
        gatherer = Gatherer(
            self.state,
            self.cluster,
            get_reports=self.reports.get_newest,
            get_bundle_pem=lambda: self.authority.bundle_pem,
            clock=self.around.clock,
        )
        return Reconciler(
            find_training=self.state.find_training,
            gatherer=gatherer,
            decide=self.around.decide,
            executor=Executor(self.cluster, watched_kinds=WATCHED_KINDS, monotonic_s=self.around.monotonic_s),
            queue=self.queue,
            settings=build_operator_settings(self.settings),
            clock=self.around.clock,
            metrics=self.metrics,
            forget_reports=self.reports.forget,
        )

    def _wake(self, key: Key) -> None:
        if self.is_leading:  # a standby has no workers; it wakes everything when it begins to lead
            self.queue.add(key)

    def _on_replaced(self) -> None:
        self.metrics.ca_replacements.inc()
        self.state.wake_all()  # all parties are to be given the new root

    def _on_report(self, identity: PartyIdentity, report: Report) -> None:
        self.metrics.reports.inc()
        self.reports.take(identity, report)

    async def _fetch_jwks(self) -> dict[str, object]:
        return dict(await self.cluster.get_document(JWKS_PATH, accept=JWKS))

    async def _refresh_participations(self) -> None:
        await self.cluster.list_into_state(SPLIT_PARTICIPATION, self.settings.watch_namespaces)

    def _get_leaf_duration(self, run_id: str) -> timedelta | None:
        training = self.state.find_training_by_uid(run_id)
        if training is None:
            return None
        seconds = (training["spec"].get("tls") or {}).get("leafDurationSeconds")
        return timedelta(seconds=seconds) if seconds else DEFAULT_LEAF_DURATION


def build_operator_settings(settings: Settings) -> OperatorSettings:
    """Builds what decisions know of the operator."""
    probe = settings.isolation_probe
    return OperatorSettings(
        namespace=settings.namespace,
        release=settings.release,
        trust_domain=settings.trust_domain,
        party_image=settings.party_image,
        intake_port=settings.intake_port,
        isolation_probe=Endpoint(host=probe.host, port=probe.port) if probe else None,
        intake_labels=settings.intake_labels,
        dns=settings.dns,
        output_storage=settings.output_storage,
        shared_memory=settings.shared_memory,
        report_period_milliseconds=settings.report_period_milliseconds,
    )
