"""Reports never hold a training up: newest only, states at once, quiet about a door that is away."""

from __future__ import annotations

import logging
import queue
import socket
import threading
import time
from datetime import timedelta

import pytest

from splittraining.api.report import PartyState
from splittraining.party.intake_client import FLUSH_TIMEOUT_S, Reporter
from splittraining.pki.live import LiveCredentials
from support.pki_support import a_report, a_site, current_time, open_intake

SITE = a_site()
PARTY = LiveCredentials(SITE.admit("st-mary"))


@pytest.fixture
def intake():
    with open_intake(SITE) as running:
        yield running


@pytest.fixture
def log():
    """What the client logs, as it comes: its thread is not this one."""
    records = queue.Queue()
    handler = logging.Handler()
    handler.emit = records.put
    logger = logging.getLogger("splittraining.party.intake_client")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    yield records
    logger.setLevel(level)
    logger.removeHandler(handler)


def sequence_of_next(intake):
    return intake.reports.get(timeout=5)[1].sequence


def closing(reporter, *, sequence=999):
    reporter.close(a_report(sequence=sequence, state=PartyState.SUCCEEDED))


def test_a_changed_state_goes_at_once_and_the_newest_replaces_what_waited(intake, tmp_path):
    reporter = Reporter(intake.write_document(tmp_path), PARTY)
    reporter.send(a_report(sequence=1))
    assert sequence_of_next(intake) == 1
    for sequence in (2, 3, 4):
        reporter.send(a_report(sequence=sequence))
    reporter.send(a_report(sequence=5, state=PartyState.EVALUATING))
    assert sequence_of_next(intake) == 5
    closing(reporter)
    assert sequence_of_next(intake) == 999
    assert intake.reports.empty()


def test_an_urgent_report_goes_at_once(intake, tmp_path):
    reporter = Reporter(intake.write_document(tmp_path), PARTY)
    reporter.send(a_report(sequence=1))
    assert sequence_of_next(intake) == 1
    reporter.send(a_report(sequence=2), urgent=True)
    assert sequence_of_next(intake) == 2
    closing(reporter)


def test_any_other_report_goes_once_per_period(intake, tmp_path):
    reporter = Reporter(intake.write_document(tmp_path, period_milliseconds=100), PARTY)
    reporter.send(a_report(sequence=1))
    assert sequence_of_next(intake) == 1
    started_s = time.monotonic()
    reporter.send(a_report(sequence=2))
    assert sequence_of_next(intake) == 2
    assert time.monotonic() - started_s > 0.05
    closing(reporter)


def test_the_last_report_arrives_before_close_returns(intake, tmp_path):
    reporter = Reporter(intake.write_document(tmp_path), PARTY)
    closing(reporter, sequence=7)
    assert intake.reports.get_nowait()[1].sequence == 7
    reporter.send(a_report(sequence=8))
    closing(reporter, sequence=9)
    assert intake.reports.empty()


def test_a_door_that_is_away_is_logged_once_and_tried_until_it_is_back(tmp_path, log):
    with open_intake(SITE) as intake:
        document, port = intake.write_document(tmp_path), intake.port
    reporter = Reporter(document, PARTY)
    reporter.send(a_report(sequence=1))
    away = log.get(timeout=5)
    assert away.levelno == logging.WARNING
    assert "training goes on" in away.getMessage()
    with open_intake(SITE, port=port) as back:
        assert sequence_of_next(back) == 1
        assert "reach the intake again" in log.get(timeout=5).getMessage()
        closing(reporter)
    assert log.empty()


def test_a_connection_that_the_door_has_dropped_is_opened_again_quietly(tmp_path, log):
    with open_intake(SITE) as intake:
        reporter = Reporter(intake.write_document(tmp_path), PARTY)
        reporter.send(a_report(sequence=1))
        assert sequence_of_next(intake) == 1
    with open_intake(SITE, port=intake.port) as again:
        closing(reporter)
        assert sequence_of_next(again) == 999
    assert log.empty()


def test_a_refusal_is_logged_once_with_its_reason_and_raises_nothing(intake, tmp_path, log):
    stranger = LiveCredentials(SITE.admit("st-mary", run_id="run-0"))
    reporter = Reporter(intake.write_document(tmp_path), stranger)
    reporter.send(a_report(sequence=1))
    refused = log.get(timeout=5)
    assert refused.levelno == logging.ERROR
    assert "run/run-0/party/st-mary" in refused.getMessage()
    reporter.send(a_report(sequence=2), urgent=True)
    closing(reporter)
    assert log.empty()
    assert intake.reports.empty()


def test_a_party_does_not_end_later_because_of_a_door_that_is_gone(tmp_path):
    with open_intake(SITE) as intake:
        document = intake.write_document(tmp_path)
    reporter = Reporter(document, PARTY)
    started_s = time.monotonic()
    reporter.send(a_report(sequence=1))
    assert time.monotonic() - started_s < 1


@pytest.mark.slow
def test_close_is_bounded_when_the_door_never_answers(intake, tmp_path):
    """Waits for the whole flush timeout: that is what it measures."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        document = intake.write_document(tmp_path, url=f"https://127.0.0.1:{silent.getsockname()[1]}")
        reporter = Reporter(document, PARTY)
        started_s = time.monotonic()
        closing(reporter)
        assert time.monotonic() - started_s < FLUSH_TIMEOUT_S + 1


def test_reports_go_to_a_door_of_their_own_where_there_is_one(intake, tmp_path):
    document = intake.write_document(tmp_path)
    with open_intake(SITE) as leader:
        access = document.intake.model_copy(update={"report_url": leader.url.replace("127.0.0.1", "localhost")})
        reporter = Reporter(document.model_copy(update={"intake": access}), PARTY)
        closing(reporter)
        assert sequence_of_next(leader) == 999
    assert intake.reports.empty()


def test_a_door_for_reports_must_be_certified_for_its_own_name(intake, tmp_path, log):
    document = intake.write_document(tmp_path)
    # The same door under a name that its certificate does not hold; the name of the other URL does not count.
    access = document.intake.model_copy(update={"report_url": f"https://0.0.0.0:{intake.port}"})
    reporter = Reporter(document.model_copy(update={"intake": access}), PARTY)
    closing(reporter)
    refused = log.get(timeout=5)
    assert refused.levelno == logging.ERROR
    assert "0.0.0.0" in refused.getMessage()
    assert intake.reports.empty()


def test_reports_go_on_with_the_renewed_certificate_when_the_old_one_has_ended(intake, tmp_path, log):
    now, short = current_time(), timedelta(seconds=4)  # it ends up to a second earlier, and a busy machine dawdles
    credentials = LiveCredentials(SITE.admit("st-mary", now=now, duration=short))
    reporter = Reporter(intake.write_document(tmp_path), credentials)
    reporter.send(a_report(sequence=1))
    assert sequence_of_next(intake) == 1
    credentials.renew(SITE.admit("st-mary"))
    wait_until(now + short)
    reporter.send(a_report(sequence=2), urgent=True)
    assert sequence_of_next(intake) == 2
    closing(reporter)
    assert log.empty()


def wait_until(moment):
    """Lets a certificate end, which only time can do."""
    threading.Event().wait(max(0.0, (moment - current_time()).total_seconds()))
