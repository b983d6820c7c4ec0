"""The party's side of the intake: its credentials, first and renewed, and its reports while it runs.

The private key is made here and stays here: what leaves is a certificate request. Reports never hold up a training:
they go out in a thread of their own, the newest only, and a door that cannot be reached is tried again quietly.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from splittraining.api.errors import ProtocolViolation, SplitTrainingError, StartTimeout
from splittraining.api.identity import PartyIdentity
from splittraining.api.party_document import PartyDocument
from splittraining.api.report import PartyState, Report
from splittraining.party.intake_door import Door, DoorUnreachable, read_credential, read_roots
from splittraining.pki.bundle import parse_trust_bundle
from splittraining.pki.credentials import Credentials, build_credentials
from splittraining.pki.keys import PrivateKey, build_csr, generate_key
from splittraining.pki.live import LiveCredentials
from splittraining.pki.tls import build_client_context

FLUSH_TIMEOUT_S = 5.0
"""How long the end of a party may wait for its last report to arrive."""

_CERTIFICATE_PATH = "/v1/certificate"
_REPORT_PATH = "/v1/report"
_ANSWER_TIMEOUT_S = 30.0
_REPORT_ANSWER_TIMEOUT_S = 4.0  # below FLUSH_TIMEOUT_S: one lost answer does not cost the last report
_FIRST_RETRY_S = 0.2
_LAST_RETRY_S = 2.0

_LOG = logging.getLogger(__name__)


def fetch_credentials(document: PartyDocument, *, now: datetime, timeout_s: float) -> Credentials:
    """Makes a key and gets its leaf from the intake, with the token that the party document points to.

    Args:
        document: Says who this party is, where the door is and where the token lies.
        now: The moment of the call, with time zone.
        timeout_s: How long to try while the door cannot be reached.

    Raises:
        IdentityRefused: if the token cannot be read, the door refuses it, is not who it should be, or returns another
            leaf than the one asked for.
        StartTimeout: if the door could not be reached in time.
    """
    started_s = time.monotonic()
    identity = PartyIdentity(document.trust_domain, document.run_id, document.party)
    # A token is one header word: whatever else the file holds is refused by the door, not sent as another header.
    token = (
        read_credential(document.intake.token_path, "token", "intake.tokenPath")
        .split()[0]
        .decode("ascii", "backslashreplace")
    )
    tls = build_client_context(read_roots(document.intake))
    door = Door(document.intake.url, tls, timeout_s=min(timeout_s, _ANSWER_TIMEOUT_S))
    key = generate_key()
    answer = _ask_beside(door, _render_request(key, identity), token, url=document.intake.url, timeout_s=timeout_s)
    # The door may have opened late: its leaf is judged by the time at which it came, not by that of the call.
    arrived_at = now + timedelta(seconds=time.monotonic() - started_s)
    return _read_answer(answer, key, identity, now=arrived_at)


def renew_credentials(document: PartyDocument, current: Credentials, *, clock: Callable[[], datetime]) -> Credentials:
    """Makes a fresh key and gets its leaf from the intake, as the holder of the current one. Tries once.

    Args:
        document: Says where the door is.
        current: Whose leaf speaks for the request.
        clock: Returns the moment, with time zone.

    Raises:
        DoorUnreachable: if there was no answer, or one that asks to come again.
        IdentityRefused: if the door refuses, is not who it should be, or returns another leaf than the one asked for.
        PeerFailed: if the door has a fault of its own.
        ProtocolViolation: if the door is not understood.
    """
    tls = build_client_context(read_roots(document.intake), leaf_pem=current.leaf_pem, key_pem=current.key_pem)
    door = Door(document.intake.url, tls, timeout_s=_ANSWER_TIMEOUT_S)
    key = generate_key()
    try:
        answer = door.post(_CERTIFICATE_PATH, _render_request(key, current.identity))
    finally:
        door.close()
    return _read_answer(answer, key, current.identity, now=clock())


def _render_request(key: PrivateKey, identity: PartyIdentity) -> bytes:
    return json.dumps({"csr": build_csr(key, identity).decode("ascii")}).encode()


def _read_answer(answer: dict[str, Any], key: PrivateKey, identity: PartyIdentity, *, now: datetime) -> Credentials:
    leaf_pem = answer.get("leaf")
    if not isinstance(leaf_pem, str):
        raise ProtocolViolation(
            "the intake's answer holds no leaf",
            allowed="a JSON object of leaf and bundle",
            remedy="use the same version of splittraining at the party and at the intake",
        )
    bundle = parse_trust_bundle(answer.get("bundle"))
    return build_credentials(key, leaf_pem.encode(), bundle=bundle, identity=identity, now=now)


class Reporter:
    """Sends a party's newest report in a thread of its own. It never raises into a training.

    Args:
        document: Says where the door is, and the longest silence between two reports.
        credentials: Whose newest leaf speaks for the reports.
    """

    def __init__(self, document: PartyDocument, credentials: LiveCredentials) -> None:
        self._access = document.intake
        self._credentials = credentials
        self._shown = credentials.current
        self._door = self._build_door(self._shown)
        self._period_s = document.reporting.period_milliseconds / 1000
        self._changed = threading.Condition()
        self._newest: Report | None = None
        self._urgent = False
        self._last_state: PartyState | None = None
        self._deadline_s: float | None = None  # set by close
        self._fault = ""  # why reports do not arrive, since when they do not
        self._thread = threading.Thread(target=self._run, name="splittraining-reporter", daemon=True)
        self._thread.start()

    def send(self, report: Report, *, urgent: bool = False) -> None:
        """Takes a report over and returns at once; a newer one replaces it as long as it has not gone out.

        Args:
            report: The party's latest state.
            urgent: Send it now. A changed state always goes now, anything else once per period.
        """
        with self._changed:
            if self._deadline_s is None:
                self._accept(report, urgent=urgent)

    def close(self, final: Report) -> None:
        """Sends the last report and ends the thread, within a bounded time whatever the network does."""
        with self._changed:
            if self._deadline_s is None:
                self._deadline_s = time.monotonic() + FLUSH_TIMEOUT_S
                self._accept(final, urgent=True)
        self._thread.join(FLUSH_TIMEOUT_S)

    def _accept(self, report: Report, *, urgent: bool) -> None:
        self._urgent = self._urgent or urgent or report.state != self._last_state
        self._last_state = report.state
        self._newest = report
        self._changed.notify()

    def _run(self) -> None:
        due_s, retry_s = 0.0, _FIRST_RETRY_S
        while (report := self._wait_for_report(due_s)) is not None:
            if self._deliver(report):
                due_s, retry_s = time.monotonic() + self._period_s, _FIRST_RETRY_S
            else:
                self._put_back(report)
                due_s, retry_s = time.monotonic() + retry_s, min(2 * retry_s, _LAST_RETRY_S)
        self._door.close()

    def _wait_for_report(self, due_s: float) -> Report | None:
        """Returns the newest report as soon as it may go, or None when the last one has gone or time is up."""
        with self._changed:
            while True:
                now_s = time.monotonic()
                report, deadline_s = self._newest, self._deadline_s
                if deadline_s is not None and (report is None or now_s >= deadline_s):
                    return None
                if report is not None and (self._urgent or now_s >= due_s):
                    self._newest, self._urgent = None, False
                    return report
                # Here a report waits for its time, or there is none and nobody is closing: then wait to be told.
                until_s = due_s if deadline_s is None else min(due_s, deadline_s)
                self._changed.wait(None if report is None else until_s - now_s)

    def _put_back(self, report: Report) -> None:
        with self._changed:
            if self._newest is None:
                self._newest = report

    def _deliver(self, report: Report) -> bool:
        """Says whether the report needs no further try: it arrived, or was refused for good."""
        try:
            self._show_newest_leaf()
            self._door.post(_REPORT_PATH, report.model_dump_json(by_alias=True, exclude_defaults=True).encode())
        except DoorUnreachable as error:
            self._note_fault(logging.WARNING, f"reports do not reach the intake, training goes on: {error}")
            return False
        except SplitTrainingError as error:
            self._note_fault(logging.ERROR, f"the intake takes no reports, training goes on: {error}")
            return True
        if self._fault:
            _LOG.info("reports reach the intake again")
            self._fault = ""
        return True

    def _show_newest_leaf(self) -> None:
        # The door checks the leaf with every report, also on a connection that was opened while it was valid.
        current = self._credentials.current
        if current is not self._shown:
            self._door.close()
            self._door, self._shown = self._build_door(current), current

    def _build_door(self, credentials: Credentials) -> Door:
        roots = read_roots(self._access)
        tls = build_client_context(roots, leaf_pem=credentials.leaf_pem, key_pem=credentials.key_pem)
        return Door(self._access.report_url or self._access.url, tls, timeout_s=_REPORT_ANSWER_TIMEOUT_S)

    def _note_fault(self, level: int, fault: str) -> None:
        # Once per outage: a door that is away for an hour is one line, not a thousand.
        if not self._fault:
            _LOG.log(level, "%s", fault)
        self._fault = fault


def _ask_beside(door: Door, body: bytes, token: str, *, url: str, timeout_s: float) -> dict[str, Any]:
    """Asks in a thread of its own, so that a signal is heard at once while the caller waits.

    Resolving a name blocks in the C library, which goes on after a signal: for tens of seconds where nobody answers.
    """
    answers: queue.SimpleQueue[dict[str, Any] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(_ask_until_answered(door, body, token, url=url, timeout_s=timeout_s))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
            answers.put(error)
        finally:
            door.close()

    threading.Thread(target=ask, name="splittraining-certificate", daemon=True).start()
    answer = answers.get()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _ask_until_answered(door: Door, body: bytes, token: str, *, url: str, timeout_s: float) -> dict[str, Any]:
    deadline_s = time.monotonic() + timeout_s
    pause = threading.Event()
    retry_s = _FIRST_RETRY_S
    while True:
        try:
            return door.post(_CERTIFICATE_PATH, body, token=token)
        except DoorUnreachable as error:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise StartTimeout(
                    f"the intake at {url} gave no answer within {timeout_s:g} s ({error})",
                    remedy="look whether the intake runs and whether its address can be reached from this party",
                ) from error
            _LOG.debug("the intake gave no answer yet: %s", error)
            pause.wait(min(retry_s, left_s))
            retry_s = min(2 * retry_s, _LAST_RETRY_S)
