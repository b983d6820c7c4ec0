"""What Prometheus may ask: every metric of the operator, with its name, in one place. docs/metrics.md lists them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from splittraining.api.status import SplitTrainingStatus
from splittraining.controller.work_queue import Key

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_OF_TRAINING = ("namespace", "name")


class Metrics:
    """The operator's metrics, in a registry of their own: nothing is registered globally."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._declare_work()
        self._declare_surroundings()
        self._declare_trainings()

    def _declare_work(self) -> None:
        own = self.registry
        self.reconciles = Counter(
            "splittraining_reconciles", "Looks at a training, by result: Done, Refused, Conflict, Error.", ["result"],
            registry=own,
        )  # fmt: skip
        self.reconcile_seconds = Histogram(
            "splittraining_reconcile_duration_seconds", "Time of one look at a training.", buckets=_SECONDS,
            registry=own,
        )  # fmt: skip
        self.queue_depth = Gauge("splittraining_queue_depth", "Trainings that wait for a worker.", registry=own)
        self.queue_seconds = Histogram(
            "splittraining_queue_wait_seconds", "Time that a training waited for a worker.", buckets=_SECONDS,
            registry=own,
        )  # fmt: skip
        self.oldest_key_seconds = Gauge(
            "splittraining_queue_oldest_seconds", "Age of the oldest key that waits or is worked on.", registry=own
        )
        self.writes = Counter(
            "splittraining_writes", "Writes to the API server, by kind and verb.", ["kind", "verb"], registry=own
        )
        self.refusals = Counter(
            "splittraining_refusals", "Objects that could not be written, by reason.", ["reason"], registry=own
        )

    def _declare_surroundings(self) -> None:
        own = self.registry
        self.leading = Gauge("splittraining_leading", "1 while this replica leads, else 0.", registry=own)
        self.store_objects = Gauge(
            "splittraining_store_objects", "Objects that are known, by kind.", ["kind"], registry=own
        )
        self.watch_age = Gauge(
            "splittraining_watch_age_seconds", "Time since a kind's last event or list.", ["kind"], registry=own
        )
        self.missed_changes = Counter(
            "splittraining_missed_changes", "Changes that only a list showed, by kind.", ["kind"], registry=own
        )
        self.certificates = Counter(
            "splittraining_certificates_signed", "Certificates that this replica signed.", registry=own
        )
        self.reports = Counter("splittraining_reports", "Reports that this replica took.", registry=own)
        self.ca_replacements = Counter(
            "splittraining_ca_replacements", "Times that another CA was found than the one before.", registry=own
        )

    def _declare_trainings(self) -> None:
        own = self.registry
        self.state = Gauge(
            "splittraining_training_state", "1 for the State that a training is in.", [*_OF_TRAINING, "state"],
            registry=own,
        )  # fmt: skip
        self.round = Gauge("splittraining_training_round", "Round that a training is in.", _OF_TRAINING, registry=own)
        self.rounds = Gauge("splittraining_training_rounds", "Rounds that a training has.", _OF_TRAINING, registry=own)
        self.step = Gauge("splittraining_training_step", "Steps that a training has done.", _OF_TRAINING, registry=own)
        self.attempt = Gauge(
            "splittraining_training_attempt", "How often a training's parties were started together.", _OF_TRAINING,
            registry=own,
        )  # fmt: skip
        self.party_ready = Gauge(
            "splittraining_party_ready", "1 while a party is connected and ready.", [*_OF_TRAINING, "party"],
            registry=own,
        )  # fmt: skip
        self.party_bytes = Gauge(
            "splittraining_party_bytes", "Bytes that a party sent and received in this attempt, by direction.",
            [*_OF_TRAINING, "party", "direction"], registry=own,
        )  # fmt: skip
        self._shown: dict[Key, tuple[str, frozenset[str]]] = {}
        """State and parties that are shown of each training: what is to be taken away with it."""

    def observe_depth(self, depth: int) -> None:
        """Takes how many keys wait."""
        self.queue_depth.set(depth)

    def observe_wait(self, seconds: float) -> None:
        """Takes how long a key waited for a worker."""
        self.queue_seconds.observe(seconds)

    def show_training(self, key: Key, status: SplitTrainingStatus) -> None:
        """Shows a training as its status says it is."""
        self.forget_training(key)
        labels = {"namespace": key.namespace, "name": key.name}
        state = next((condition.reason for condition in status.conditions if condition.type == "Progressing"), "")
        if state:
            self.state.labels(**labels, state=state).set(1)
        if status.progress is not None:
            self.round.labels(**labels).set(status.progress.round)
            self.rounds.labels(**labels).set(status.progress.rounds)
            self.step.labels(**labels).set(status.progress.step)
        self.attempt.labels(**labels).set(status.attempt)
        for party in status.parties:
            self.party_ready.labels(**labels, party=party.name).set(party.ready)
            for direction, count in (("sent", party.bytes_sent), ("received", party.bytes_received)):
                self.party_bytes.labels(**labels, party=party.name, direction=direction).set(count)
        self._shown[key] = (state, frozenset(party.name for party in status.parties))

    def forget_training(self, key: Key) -> None:
        """Takes a training that is gone, or is shown anew, away."""
        state, parties = self._shown.pop(key, ("", frozenset()))
        own = (key.namespace, key.name)
        _remove(self.state, [(*own, state)])
        for metric in (self.round, self.rounds, self.step, self.attempt):
            _remove(metric, [own])
        _remove(self.party_ready, [(*own, party) for party in parties])
        _remove(self.party_bytes, [(*own, party, way) for party in parties for way in ("sent", "received")])

    def render(self) -> bytes:
        """Renders all metrics as text."""
        return generate_latest(self.registry)


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric as people look for it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


def list_metrics(metrics: Metrics) -> list[MetricRow]:
    """Lists every metric under the name that Prometheus shows."""
    rows = []
    for metric in vars(metrics).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            (family,) = metric.describe()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            rows.append(MetricRow(name, family.type, tuple(metric._labelnames), family.documentation))  # noqa: SLF001
    return sorted(rows, key=lambda row: row.name)


def _remove(metric: Gauge, rows: Iterable[tuple[str, ...]]) -> None:
    for row in rows:
        metric.remove(*row)
