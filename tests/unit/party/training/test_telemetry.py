"""Reports and metrics of one party: transitions at once, steps now and then, every loss in the file."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from splittraining.api.errors import NumericsInvalid
from splittraining.api.exit_codes import ExitCode
from splittraining.api.report import Isolation, PartyState, Report
from splittraining.party.training.results import JsonLines
from splittraining.party.training.telemetry import Telemetry

PERIOD_S = 5.0


class Sink:
    """Keeps every report, and whether it was urgent."""

    def __init__(self) -> None:
        self.sent: list[tuple[Report, bool]] = []
        self.final: Report | None = None

    def send(self, report: Report, *, urgent: bool = False) -> None:
        self.sent.append((report, urgent))

    def close(self, final: Report) -> None:
        self.final = final


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def a_telemetry(folder: Path, sink: Sink, clock: Clock) -> Telemetry:
    return Telemetry(
        Report(party="north", generation=1, sequence=0, state=PartyState.STARTING, rounds=2),
        sink=sink,
        metrics=JsonLines(folder / "metrics.jsonl"),
        count_links=list,
        monotonic_s=clock,
        period_s=PERIOD_S,
    )


def record_step(telemetry: Telemetry, step: int, loss: float | None = 0.5) -> None:
    telemetry.record_step(step=step, round_number=1, rows=4, loss=loss, client="north")


def test_a_transition_is_told_at_once_and_keeps_what_was_known(tmp_path: Path) -> None:
    sink = Sink()
    telemetry = a_telemetry(tmp_path, sink, Clock())
    telemetry.enter(PartyState.READY, steps=9)
    telemetry.enter(PartyState.TRAINING, round_number=1, active_party="north")
    assert [(report.state, report.steps, urgent) for report, urgent in sink.sent] == [
        (PartyState.READY, 9, True),
        (PartyState.TRAINING, 9, True),
    ]
    assert [report.sequence for report, _ in sink.sent] == [1, 2]
    telemetry.finish()


def test_the_first_step_is_told_at_once_and_further_ones_once_a_period(tmp_path: Path) -> None:
    sink, clock = Sink(), Clock()
    telemetry = a_telemetry(tmp_path, sink, clock)
    telemetry.enter(PartyState.TRAINING)
    for step in range(1, 5):
        record_step(telemetry, step)
    clock.now_s += PERIOD_S
    record_step(telemetry, 5)
    told = [(report.step, report.samples, urgent) for report, urgent in sink.sent]
    assert told == [(0, 0, True), (1, 4, True), (5, 20, False)]
    telemetry.finish()


def test_every_loss_is_in_the_file_with_all_its_digits(tmp_path: Path) -> None:
    telemetry = a_telemetry(tmp_path, Sink(), Clock())
    loss = 0.1 + 0.2
    record_step(telemetry, 1, loss)
    record_step(telemetry, 2, None)
    telemetry.finish()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert rows == [{"kind": "step", "step": 1, "round": 1, "loss": loss, "rows": 4, "client": "north"}]


def test_a_renewed_certificate_is_told_at_once_and_stays_known(tmp_path: Path) -> None:
    sink = Sink()
    telemetry = a_telemetry(tmp_path, sink, Clock())
    telemetry.enter(PartyState.WAITING)
    ends_at = datetime(2030, 1, 1, tzinfo=UTC)
    telemetry.record_certificate(ends_at)
    report, urgent = sink.sent[-1]
    assert (report.state, report.certificate_expiration_time, urgent) == (PartyState.WAITING, ends_at, True)
    telemetry.finish()
    assert sink.final is not None
    assert sink.final.certificate_expiration_time == ends_at


def test_a_failure_is_the_last_word(tmp_path: Path) -> None:
    sink = Sink()
    telemetry = a_telemetry(tmp_path, sink, Clock())
    telemetry.fail(NumericsInvalid("the loss is nan at step 3"), ExitCode.NUMERICS)
    assert sink.final is not None
    assert (sink.final.state, sink.final.reason, sink.final.exit_code) == (PartyState.FAILED, "NumericsInvalid", 69)
    assert sink.final.message == "the loss is nan at step 3."


def test_what_was_found_of_the_network_goes_out_with_the_next_report(tmp_path: Path) -> None:
    sink = Sink()
    telemetry = a_telemetry(tmp_path, sink, Clock())
    telemetry.record_isolation(Isolation.ISOLATED)
    assert sink.sent == []
    telemetry.enter(PartyState.STARTING)
    assert sink.sent[0][0].isolation is Isolation.ISOLATED
    telemetry.finish()
