"""What parties said last: newest wins, strangers are not kept."""

from __future__ import annotations

from splittraining.api.identity import PartyIdentity
from splittraining.api.report import PartyState, Report
from splittraining.controller.reports import Reports
from splittraining.controller.work_queue import Key

KEY = Key("trial", "chest-xray")
MARY = PartyIdentity("hospitals.example", "run-1", "st-mary")


def make_reports() -> tuple[Reports, list[Key]]:
    woken: list[Key] = []
    return Reports(find_key={"run-1": KEY}.get, wake=woken.append), woken


def make_report(generation: int, sequence: int) -> Report:
    return Report(party="st-mary", generation=generation, sequence=sequence, state=PartyState.TRAINING)


def test_a_report_wakes_its_training() -> None:
    reports, woken = make_reports()
    reports.take(MARY, make_report(1, 1))
    assert woken == [KEY]
    assert reports.get_newest("run-1") == {"st-mary": make_report(1, 1)}


def test_an_older_report_changes_nothing() -> None:
    reports, woken = make_reports()
    for order in ((2, 1), (1, 9), (2, 1)):
        reports.take(MARY, make_report(*order))
    assert reports.get_newest("run-1") == {"st-mary": make_report(2, 1)}
    assert woken == [KEY]


def test_reports_of_an_unknown_training_are_not_kept() -> None:
    reports, woken = make_reports()
    reports.take(PartyIdentity("hospitals.example", "run-2", "st-mary"), make_report(1, 1))
    assert (len(reports), woken) == (0, [])


def test_a_training_that_is_gone_takes_its_reports_along() -> None:
    reports, _ = make_reports()
    reports.take(MARY, make_report(1, 1))
    reports.forget("run-1")
    assert (len(reports), reports.get_newest("run-1")) == (0, {})
