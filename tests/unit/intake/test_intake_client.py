"""The party's side against a real door: credentials for exactly itself, or a named error within the time given."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from splittraining.api.errors import IdentityRefused, PeerFailed, ProtocolViolation, StartTimeout
from splittraining.api.party_document import IntakeAccess
from splittraining.intake.server import build_door_context
from splittraining.party.intake_client import fetch_credentials, renew_credentials
from splittraining.party.intake_door import DoorUnreachable
from splittraining.pki.keys import build_csr, generate_key
from support.pki_support import a_site, an_identity, build_document, current_time, open_intake

SITE = a_site()


@pytest.fixture(scope="module")
def intake():
    with open_intake(SITE) as running:
        yield running


def fetch(document, *, timeout_s=5.0):
    return fetch_credentials(document, now=current_time(), timeout_s=timeout_s)


def test_a_party_gets_credentials_for_itself_and_its_own_key(intake, tmp_path):
    credentials = fetch(intake.write_document(tmp_path))
    assert credentials.identity == an_identity()
    assert credentials.bundle == SITE.bundle
    assert credentials.not_after > current_time()
    assert b"BEGIN PRIVATE KEY" in credentials.key_pem


def test_a_token_that_was_used_is_refused_with_the_doors_own_words(intake, tmp_path):
    document = intake.write_document(tmp_path)
    fetch(document)
    with pytest.raises(IdentityRefused, match=r"the intake refused this party: .* was used before"):
        fetch(document)


def test_a_party_renews_with_its_leaf_and_a_key_of_its_own_making(intake, tmp_path):
    document = intake.write_document(tmp_path)
    first = fetch(document)
    second = renew_credentials(document, first, clock=current_time)
    assert second.identity == first.identity
    assert second.key_pem != first.key_pem
    assert second.leaf_pem != first.leaf_pem
    assert renew_credentials(document, second, clock=current_time).leaf_pem != second.leaf_pem


def test_a_renewal_of_a_party_that_is_not_admitted_any_more_is_refused(tmp_path):
    with open_intake(SITE, parties=("server",)) as narrowed:
        document = narrowed.write_document(tmp_path)
        with pytest.raises(IdentityRefused, match=r"the intake refused this party: .*party/st-mary"):
            renew_credentials(document, SITE.admit("st-mary"), clock=current_time)


def test_a_renewal_at_a_door_that_is_away_says_so_at_once(tmp_path):
    with open_intake(SITE) as closed:
        document = closed.write_document(tmp_path)
    with pytest.raises(DoorUnreachable):
        renew_credentials(document, SITE.admit("st-mary"), clock=current_time)


def test_a_missing_token_is_named_with_its_path(intake, tmp_path):
    document = intake.write_document(tmp_path)
    Path(document.intake.token_path).unlink()
    with pytest.raises(IdentityRefused) as refused:
        fetch(document)
    assert document.intake.token_path in refused.value.given
    assert "intake.tokenPath" in refused.value.remedy


@pytest.mark.parametrize("content", ["", "\n", "not-the-token", "héader", "a\r\nX-Evil: 1"])
def test_an_unusable_token_is_refused(intake, tmp_path, content):
    document = intake.write_document(tmp_path)
    Path(document.intake.token_path).write_text(content)
    with pytest.raises(IdentityRefused):
        fetch(document)


def test_a_door_of_another_authority_gets_no_token(tmp_path):
    with open_intake(a_site()) as impostor:
        document = impostor.write_document(tmp_path)
        Path(document.intake.bundle_path).write_bytes(SITE.ca.certificate_pem)
        with pytest.raises(IdentityRefused, match=r"TLS handshake with the intake at https://127\.0\.0\.1:\d+ failed"):
            fetch(document)
        Path(document.intake.bundle_path).write_bytes(impostor.site.ca.certificate_pem)
        assert fetch(document)


def test_a_door_under_another_name_is_refused(intake, tmp_path):
    document = intake.write_document(tmp_path, url=f"https://127.0.0.2:{intake.port}")
    with pytest.raises((IdentityRefused, StartTimeout)):
        fetch(document, timeout_s=0.2)
    document = intake.write_document(tmp_path, "server", url=intake.url.replace("127.0.0.1", "localhost"))
    assert fetch(document)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:1", "https://"])
def test_a_door_without_tls_is_refused(intake, tmp_path, url):
    with pytest.raises(IdentityRefused, match="the intake's URL is"):
        fetch(intake.write_document(tmp_path, url=url))


@pytest.mark.parametrize("roots", ["", "no certificate"])
def test_unreadable_roots_are_refused(intake, tmp_path, roots):
    document = intake.write_document(tmp_path)
    Path(document.intake.bundle_path).write_text(roots)
    with pytest.raises(IdentityRefused, match="trust bundle for the intake"):
        fetch(document)


def test_a_door_that_is_not_there_is_named_within_the_time_given(intake, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    document = intake.write_document(tmp_path, url=f"https://127.0.0.1:{port}")
    started_s = time.monotonic()
    with pytest.raises(StartTimeout, match=rf"127\.0\.0\.1:{port} gave no answer within 0\.3 s \(ConnectionRefused"):
        fetch(document, timeout_s=0.3)
    assert time.monotonic() - started_s < 3


def test_a_door_that_never_answers_is_named_within_the_time_given(intake, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        document = intake.write_document(tmp_path, url=f"https://127.0.0.1:{silent.getsockname()[1]}")
        started_s = time.monotonic()
        with pytest.raises(StartTimeout, match="gave no answer within"):
            fetch(document, timeout_s=0.3)
        assert time.monotonic() - started_s < 3


def test_a_door_that_opens_late_is_waited_for(tmp_path):
    with open_intake(SITE) as first:
        port = first.port
    document = build_document(
        an_identity(),
        IntakeAccess(
            url=f"https://127.0.0.1:{port}",
            bundle_path=str(tmp_path / "bundle.pem"),
            token_path=str(tmp_path / "st-mary.token"),
        ),
    )
    (tmp_path / "bundle.pem").write_bytes(SITE.ca.certificate_pem)
    (tmp_path / "st-mary.token").write_text("known only to the first door")
    refusals = []

    def ask():
        try:
            fetch(document, timeout_s=10)
        except IdentityRefused as error:
            refusals.append(error)

    party = threading.Thread(target=ask)
    party.start()
    with open_intake(SITE, port=port):
        party.join()
    assert "not known here" in str(refusals)


class LyingSigner:
    """Signs something else than it was asked for."""

    def __init__(self, leaf_pem):
        self.leaf_pem = leaf_pem

    async def sign(self, *_):
        return self.leaf_pem


def leaf_for_another_key():
    identity = an_identity()
    return SITE.ca.issue_leaf(build_csr(generate_key(), identity), identity, now=current_time())


@pytest.mark.parametrize(
    ("leaf_pem", "message"),
    [
        (SITE.admit("server").leaf_pem, "is for"),
        (SITE.admit("st-mary", run_id="run-0").leaf_pem, "is for"),
        (a_site().admit("st-mary").leaf_pem, "was not issued by a CA"),
        (leaf_for_another_key(), "for another key"),
        (b"no leaf", "cannot be read"),
    ],
    ids=["another party's", "another run's", "another authority's", "another key's", "nonsense"],
)
def test_a_leaf_that_was_not_asked_for_is_refused(tmp_path, leaf_pem, message):
    with open_intake(SITE, signer=LyingSigner(leaf_pem)) as liar, pytest.raises(IdentityRefused, match=message):
        fetch(liar.write_document(tmp_path))


@contextlib.contextmanager
def a_foreign_server(status, body):
    """Serves one fixed answer over the site's own TLS: something that is no intake, behind the right certificate."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    tls = build_door_context(SITE.ca, names=["127.0.0.1"], bundle=SITE.bundle, now=current_time())
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"<html>", ProtocolViolation),
        (200, b"[]", ProtocolViolation),
        (200, b"{}", ProtocolViolation),
        (200, json.dumps({"leaf": "x", "bundle": 5}).encode(), IdentityRefused),
        (404, b'{"message": "x"}', ProtocolViolation),
        (500, b'{"message": "x"}', PeerFailed),
        (503, b'{"message": "x"}', StartTimeout),
        (200, b"x" * (1024 * 1024 + 1), ProtocolViolation),
    ],
)
def test_what_is_no_intakes_answer_is_refused_by_name(intake, tmp_path, status, body, error):
    with a_foreign_server(status, body) as url, pytest.raises(error):
        fetch(intake.write_document(tmp_path, url=url), timeout_s=0.3)


PARTY_PROGRAM = """
import json, os, sys
from datetime import UTC, datetime

opened = []

def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            opened.append(str(path))

from splittraining.api.party_document import IntakeAccess, PartyDocument, Reporting
from splittraining.api.report import PartyState, Report
from splittraining.party.intake_client import Reporter, fetch_credentials, renew_credentials
from splittraining.pki.live import LiveCredentials

sys.addaudithook(watch)
document = PartyDocument.model_construct(
    run_id="run-1", party="st-mary", trust_domain="alpha.example", reporting=Reporting(),
    intake=IntakeAccess.model_validate_json(sys.argv[1]),
)
credentials = LiveCredentials(fetch_credentials(document, now=datetime.now(UTC), timeout_s=20))
credentials.renew(renew_credentials(document, credentials.current, clock=lambda: datetime.now(UTC)))
Reporter(document, credentials).close(Report(party="st-mary", generation=1, sequence=1, state=PartyState.SUCCEEDED))
print(json.dumps(opened))
"""


def test_a_partys_key_is_never_in_a_file(intake, tmp_path):
    document = intake.write_document(tmp_path)
    access = document.intake.model_dump_json(by_alias=True)
    ran = subprocess.run(
        [sys.executable, "-I", "-B", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{PARTY_PROGRAM}", access],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    identity, _ = intake.reports.get(timeout=5)
    assert identity == an_identity()
    assert [path for path in json.loads(ran.stdout) if not path.isdigit()] == []
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 2
    assert all(b"PRIVATE KEY" not in path.read_bytes() for path in files)
