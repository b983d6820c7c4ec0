"""What a party tells about itself while it runs: reports to the intake and one line per step in metrics.jsonl."""

from __future__ import annotations

import logging
import resource
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Protocol

from splittraining.api.errors import SplitTrainingError
from splittraining.api.exit_codes import ExitCode
from splittraining.api.report import Isolation, LinkBytes, Metric, PartyState, Report
from splittraining.party.training.results import JsonLines

_LOG = logging.getLogger(__name__)

_KIBIBYTE = 1024


class ReportSink(Protocol):
    """Where reports go: the intake client, or a list in a test."""

    def send(self, report: Report, *, urgent: bool = False) -> None:
        """Takes a report; a later one may replace it before it is sent."""

    def close(self, final: Report) -> None:
        """Sends the last report, within a bounded time."""


class Telemetry:
    """One party's reports and metrics.

    Args:
        first: The first report: who reports, of which generation, for how many rounds.
        sink: Where reports go.
        metrics: The metrics file.
        count_links: Returns the bytes per peer so far.
        monotonic_s: A clock that never goes back.
        period_s: Least time between two reports that announce no transition.
    """

    def __init__(
        self,
        first: Report,
        *,
        sink: ReportSink,
        metrics: JsonLines,
        count_links: Callable[[], Iterable[LinkBytes]],
        monotonic_s: Callable[[], float],
        period_s: float,
    ) -> None:
        self._lock = threading.RLock()  # a renewed certificate is told by another thread than the trainer's
        self._sink = sink
        self._metrics = metrics
        self._count_links = count_links
        self._monotonic_s = monotonic_s
        self._period_s = period_s
        self._sent_at_s = -period_s
        self._report = first
        self._latest: dict[str, float] = {}
        self._fields: dict[str, Any] = {}

    @property
    def samples(self) -> int:
        """Rows trained on so far."""
        return int(self._fields.get("samples", 0))

    def enter(
        self,
        state: PartyState,
        *,
        round_number: int | None = None,
        steps: int | None = None,
        active_party: str | None = None,
    ) -> None:
        """Announces a transition at once; what is not given stays as it was."""
        given = {"round": round_number, "steps": steps, "active_party": active_party}
        with self._lock:
            self._fields |= {name: value for name, value in given.items() if value is not None}
            self._send(state, urgent=True)

    def record_certificate(self, not_after: datetime) -> None:
        """Tells at once until when this party's renewed certificate is valid. Any thread may call it."""
        with self._lock:
            self._fields["certificate_expiration_time"] = not_after
            self._send(self._report.state, urgent=True)

    def record_isolation(self, isolation: Isolation) -> None:
        """Notes what was found of the network; it goes out with the next report."""
        with self._lock:
            self._fields["isolation"] = isolation

    def record_step(
        self,
        *,
        step: int,
        round_number: int,
        rows: int,
        loss: float | None,
        client: str,
        task: str = "",
        num_done: int | None = None,
    ) -> None:
        """Counts a step; writes its loss where this party computes it, with the task that it is the loss of if any.

        The first step is announced at once: whoever waits for a sign of life waits for no period.
        `num_done` says how many steps are over where steps do not run in the order of their numbers.
        """
        if loss is not None:
            row = {"kind": "step", "step": step, "round": round_number, "loss": loss, "rows": rows, "client": client}
            self._metrics.append(row | ({"task": task} if task else {}))
        with self._lock:
            is_first = not self._fields.get("step")
            self._fields |= {
                "step": step if num_done is None else num_done,
                "round": round_number,
                "samples": self.samples + rows,
            }
            if loss is not None:
                self._latest["loss"] = loss
            if is_first or self._monotonic_s() - self._sent_at_s >= self._period_s:
                self._send(self._report.state, urgent=is_first)

    def record_round(self, record: dict[str, Any], metrics: dict[str, float]) -> None:
        """Writes a round's line and announces its metrics."""
        self._metrics.append({"kind": "round", **record, "metrics": metrics})
        told = "".join(f", {name} {value:.4g}" for name, value in metrics.items())
        _LOG.info("round %d of %d is over%s", record["round"], self._report.rounds, told)
        with self._lock:
            self._latest |= metrics
            self._fields["round"] = record["round"]
            self._send(self._report.state, urgent=True)

    def record_early_stop(self, *, round_number: int, step: int) -> None:
        """Announces that no further round is trained: the steps done are all there will be."""
        rounds = self._report.rounds
        self._metrics.append({"kind": "stop", "round": round_number, "step": step, "rounds": rounds})
        _LOG.info("early stopping: no more rounds after %d of %d", round_number, rounds)
        with self._lock:
            self._fields |= {"stopped_early": True, "steps": step}

    def record_kept_round(self, round_number: int) -> None:
        """Notes whose weights are the result, where that is the best round."""
        self._metrics.append({"kind": "kept", "round": round_number})
        _LOG.info("the result is the weights of round %d, the best one", round_number)
        with self._lock:
            self._fields["kept_round"] = round_number

    def finish(self) -> None:
        """Announces success and ends the reports."""
        self._close(PartyState.SUCCEEDED)

    def fail(self, error: SplitTrainingError, code: ExitCode) -> None:
        """Announces failure with its reason and ends the reports."""
        self._fields |= {"reason": error.reason, "message": str(error)[:2048], "exit_code": int(code)}
        self._close(PartyState.FAILED)

    def _close(self, state: PartyState) -> None:
        with self._lock:
            self._build(state)
            final = self._report
        self._metrics.close()
        self._sink.close(final)

    def _send(self, state: PartyState, *, urgent: bool) -> None:
        self._build(state)
        self._sent_at_s = self._monotonic_s()
        self._sink.send(self._report, urgent=urgent)

    def _build(self, state: PartyState) -> None:
        # ru_maxrss is in KiB on Linux (getrusage(2)).
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIBIBYTE
        self._report = self._report.model_copy(
            update={
                **self._fields,
                "sequence": self._report.sequence + 1,
                "state": state,
                "links": tuple(self._count_links()),
                "metrics": tuple(Metric(name=name, value=repr(value)[:32]) for name, value in self._latest.items()),
                "peak_memory_bytes": peak_bytes,
            }
        )
