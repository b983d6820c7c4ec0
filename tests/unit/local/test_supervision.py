import json
import threading
import time
from pathlib import Path

import pytest

from splittraining.api.report import PartyState, Report
from splittraining.local.crew import Crew
from splittraining.local.events import PartyExited, PartyReported, RoundCompleted, RunStopping
from splittraining.local.outcome import decide_outcome
from splittraining.local.signals import Mailbox, StopWish, Wakeup
from splittraining.local.supervision import Patience, Supervision
from support.local_support import build_launcher, build_order, wait_for_file


class Run:
    """A run whose parties are small children."""

    def __init__(self, folder: Path, patience: Patience) -> None:
        self.folder = folder
        self.wakeup = Wakeup()
        self.reports: Mailbox[Report] = Mailbox(self.wakeup)
        self.wish = StopWish(self.wakeup)
        self.crew = Crew(build_launcher())
        self.events = []
        self.supervision = Supervision(
            self.crew,
            folder=folder,
            wakeup=self.wakeup,
            reports=self.reports,
            wish=self.wish,
            emit=self.events.append,
            patience=patience,
        )

    def start(self, party: str, target: str, *arguments: object) -> None:
        (self.folder / party).mkdir()
        self.crew.start(party, build_order(target, self.folder / party, *arguments))

    def watch(self, *, interrupted: bool = False):
        return decide_outcome(self.supervision.watch(), interrupted=interrupted)

    def events_of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def build_run(tmp_path):
    runs = []

    def build(**patience):
        runs.append(Run(tmp_path, Patience(**patience)))
        return runs[-1]

    yield build
    for run in runs:
        run.crew.abandon()
        run.wakeup.close()


def test_a_run_is_over_when_every_party_has_ended(build_run):
    run = build_run()
    run.start("server", "end_with", 0)
    run.start("a", "end_with", 0)
    assert run.watch().exit_code == 0
    assert {event.party for event in run.events_of(PartyExited)} == {"server", "a"}


def test_the_last_word_of_the_party_that_failed_is_the_runs(build_run, tmp_path):
    run = build_run()
    run.start("a", "fail_with_last_word", str(tmp_path / "a"), 65, "DataInvalid", "no column `finding`")
    outcome = run.watch()
    assert (outcome.exit_code, outcome.reason, outcome.message) == (65, "DataInvalid", "no column `finding`")


def test_an_error_before_the_first_line_of_ours_shows_the_last_line_of_stderr(build_run):
    run = build_run()
    run.start("a", "raise_an_error")
    outcome = run.watch()
    assert outcome.exit_code == 1
    assert "the child's own words" in outcome.message


@pytest.mark.parametrize(
    ("state", "patience"),
    [(PartyState.TRAINING, {"follow_s": 0.05, "unheard_s": 20}), (PartyState.CONNECTING, {"unheard_s": 0.05})],
    ids=["that has heard of the failure", "that cannot hear of it, not being connected"],
)
def test_a_party_that_does_not_follow_is_told_to_stop(build_run, tmp_path, state, patience):
    run = build_run(stop_s=20, **patience)
    run.start("server", "stop_politely", str(tmp_path / "pid"))
    wait_for_file(tmp_path / "pid")
    run.reports.put(Report(party="server", generation=1, sequence=1, state=state))
    run.start("a", "end_with", 65)
    assert run.watch().exit_code == 65
    assert [event.why for event in run.events_of(RunStopping)] == [
        "server did not follow within 0.05 s and is told to stop"
    ]
    assert {event.party: event.exit_code for event in run.events_of(PartyExited)} == {"a": 65, "server": 75}


def test_a_party_that_does_not_even_stop_is_killed_and_is_not_the_cause(build_run, tmp_path):
    run = build_run(unheard_s=0.05, stop_s=0.05)
    run.start("server", "refuse_to_stop", str(tmp_path / "pid"))
    wait_for_file(tmp_path / "pid")
    run.start("a", "end_with", 76)
    outcome = run.watch()
    assert (outcome.exit_code, outcome.party) == (76, "a")
    assert run.events_of(PartyExited)[-1].exit_code == 137


def test_a_wish_to_stop_reaches_every_party(build_run, tmp_path):
    run = build_run()
    for party in ("server", "a"):
        run.start(party, "stop_politely", str(tmp_path / f"{party}.pid"))
        wait_for_file(tmp_path / f"{party}.pid")
    run.wish.express()
    outcome = run.watch(interrupted=True)
    assert outcome.exit_code == 130
    assert [event.exit_code for event in run.events_of(PartyExited)] == [75, 75]


def test_a_second_wish_kills_at_once(build_run, tmp_path):
    run = build_run(stop_s=1000)
    run.start("a", "refuse_to_stop", str(tmp_path / "pid"))
    wait_for_file(tmp_path / "pid")
    watcher = threading.Thread(target=run.watch)
    started_s = time.monotonic()
    watcher.start()
    run.wish.express()
    run.wish.express()
    watcher.join(20)
    assert run.events_of(PartyExited)[0].exit_code == 137
    assert time.monotonic() - started_s < 20


def test_reports_and_whole_lines_of_finished_rounds_become_events(build_run, tmp_path):
    run = build_run()
    run.start("server", "stop_politely", str(tmp_path / "pid"))
    wait_for_file(tmp_path / "pid")
    line = {"kind": "round", "round": 1, "step": 24, "metrics": {"loss": 0.5}}
    (tmp_path / "server" / "metrics.jsonl").write_text(json.dumps(line) + '\n{"kind": "round", "ro')
    run.reports.put(Report(party="server", generation=1, sequence=1, state=PartyState.TRAINING))
    run.wish.express()
    run.watch(interrupted=True)
    assert [event.report.sequence for event in run.events_of(PartyReported)] == [1]
    assert [event.row.step for event in run.events_of(RoundCompleted)] == [24]
    assert run.supervision.newest["server"].sequence == 1
