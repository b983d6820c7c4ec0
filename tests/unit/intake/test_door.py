"""The door as a caller on the network sees it: who gets a certificate, whose report counts, what is turned away."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import queue
import socket
import ssl
from datetime import timedelta

import pytest

from splittraining.api.report import PartyState
from splittraining.pki.bundle import parse_trust_bundle
from splittraining.pki.keys import build_alternative_names, build_csr, generate_key, render_key_pem
from splittraining.pki.tls import build_client_context
from splittraining.pki.verify import verify_leaf
from support.pki_support import a_report, a_site, an_identity, current_time, open_intake

SITE = a_site()
PARTY = SITE.admit("st-mary")


@pytest.fixture(scope="module")
def intake():
    with open_intake(SITE) as running:
        yield running


@pytest.fixture
def token(intake, tmp_path):
    intake.tokens.issue(an_identity(), tmp_path / "token")
    return (tmp_path / "token").read_text()


def post(intake, path, body, *, token=None, credentials=None, key_pem=None, leaf_pem=None, roots=SITE):
    """Posts once, as nobody, with a token, or with a leaf; returns status and answer."""
    if credentials is not None:
        key_pem, leaf_pem = credentials.key_pem, credentials.leaf_pem
    tls = build_client_context(roots.ca.certificate_pem, leaf_pem=leaf_pem, key_pem=key_pem)
    connection = http.client.HTTPSConnection("127.0.0.1", intake.port, context=tls, timeout=5)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with contextlib.closing(connection):
        connection.request("POST", path, body if isinstance(body, bytes) else json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def ask(intake, identity=None, *, csr=None, **credential):
    csr = csr or build_csr(generate_key(), identity or an_identity()).decode()
    return post(intake, "/v1/certificate", {"csr": csr}, **credential)


def report(intake, document, credentials=PARTY):
    return post(intake, "/v1/report", document.as_json_object(), credentials=credentials)


def take_report(intake):
    return intake.reports.get(timeout=5)


def test_a_token_gets_its_partys_leaf_and_the_bundle(intake, token):
    status, answer = ask(intake, token=token)
    assert status == 200
    bundle = parse_trust_bundle(answer["bundle"])
    assert bundle == SITE.bundle
    assert verify_leaf(answer["leaf"].encode(), bundle=bundle, expected=an_identity(), now=current_time())


def test_a_token_is_good_for_one_certificate(intake, token):
    assert ask(intake, token=token)[0] == 200
    status, answer = ask(intake, token=token)
    assert status == 401
    assert answer["reason"] == "Unauthenticated"
    assert "party 'st-mary' of run 'run-1' was used before" in answer["message"]


def test_a_token_is_used_up_even_by_a_refused_request(intake, token):
    assert ask(intake, an_identity("server"), token=token)[0] == 403
    assert ask(intake, token=token)[0] == 401


def test_an_unknown_token_is_refused(intake):
    status, answer = ask(intake, token="guessed")
    assert status == 401
    assert "not known here" in answer["message"]
    assert "guessed" not in answer["message"]


def test_a_token_of_one_party_gets_no_leaf_of_another(intake, token):
    status, answer = ask(intake, an_identity("server"), token=token)
    assert status == 403
    assert "party/server" in answer["message"]


def test_a_token_of_a_party_that_is_not_admitted_gets_nothing(intake, tmp_path):
    intake.tokens.issue(an_identity("st-eve"), tmp_path / "token")
    status, answer = ask(intake, an_identity("st-eve"), token=(tmp_path / "token").read_text())
    assert status == 403
    assert "no party that is admitted" in answer["message"]


def test_nobody_gets_nothing(intake):
    assert ask(intake)[0] == 401
    assert post(intake, "/v1/report", a_report().as_json_object())[0] == 401


def test_a_token_cannot_report(intake, token):
    assert post(intake, "/v1/report", a_report().as_json_object(), token=token)[0] == 401


def test_a_leaf_renews_itself(intake):
    key = generate_key()
    status, answer = ask(intake, csr=build_csr(key, an_identity()).decode(), credentials=PARTY)
    assert status == 200
    leaf = verify_leaf(answer["leaf"].encode(), bundle=SITE.bundle, expected=an_identity(), now=current_time())
    assert leaf.public_key == key.public_key()


def test_a_leaf_does_not_renew_another_party(intake):
    assert ask(intake, an_identity("server"), credentials=PARTY)[0] == 403


def test_a_leaf_of_another_run_is_refused(intake):
    earlier = SITE.admit("st-mary", run_id="run-0")
    status, answer = report(intake, a_report(), earlier)
    assert status == 403
    assert "run/run-0/party/st-mary" in answer["message"]
    assert ask(intake, an_identity(run_id="run-0"), credentials=earlier)[0] == 403


def test_a_leaf_with_two_uris_is_refused(intake):
    key = generate_key()
    names = [*build_alternative_names(an_identity()), *build_alternative_names(an_identity("server"))]
    leaf_pem = SITE.forge(type(build_alternative_names(an_identity()))(names), key=key)
    body = a_report().as_json_object()
    status, answer = post(intake, "/v1/report", body, leaf_pem=leaf_pem, key_pem=render_key_pem(key))
    assert status == 401
    assert "2 URI names" in answer["message"]


def test_a_leaf_of_another_authority_does_not_get_through_the_handshake(intake):
    impostor = a_site().admit("st-mary")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        report(intake, a_report(), impostor)


def test_an_expired_leaf_does_not_get_through_the_handshake():
    older = a_site(now=current_time() - timedelta(days=3))
    expired = older.admit("st-mary", duration=timedelta(days=2))
    with open_intake(older) as door:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            post(door, "/v1/report", a_report().as_json_object(), credentials=expired, roots=older)
        renewed = older.admit("st-mary", now=current_time())
        assert post(door, "/v1/report", a_report().as_json_object(), credentials=renewed, roots=older)[0] == 200


def test_a_partys_report_arrives(intake):
    status, answer = report(intake, a_report(sequence=100))
    assert (status, answer) == (200, {"stored": True})
    identity, document = take_report(intake)
    assert identity == an_identity()
    assert document == a_report(sequence=100)


def test_a_report_about_another_party_is_refused(intake):
    status, answer = report(intake, a_report("server", sequence=1000))
    assert status == 403
    assert "report of party 'server' came with the leaf of party 'st-mary'" in answer["message"]
    assert intake.reports.empty()


def test_stale_reports_are_dropped():
    with open_intake(SITE) as intake:
        order = [(1, 5), (1, 4), (1, 5), (2, 0), (1, 6), (2, 1)]
        stored = [
            report(intake, a_report(generation=generation, sequence=sequence))[1]["stored"]
            for generation, sequence in order
        ]
        assert stored == [True, False, False, True, False, True]
        assert [take_report(intake)[1].sequence for _ in range(3)] == [5, 0, 1]


def test_one_partys_reports_do_not_make_anothers_stale():
    with open_intake(SITE) as intake:
        assert report(intake, a_report(sequence=9))[1] == {"stored": True}
        assert report(intake, a_report("server", sequence=1), SITE.admit("server"))[1] == {"stored": True}


@pytest.mark.parametrize(
    "body",
    [b"", b"not json", b"[]", b'{"csr": 5}', b'{"csr": "x", "extra": 1}', b'{"csr": ""}'],
)
def test_a_malformed_request_is_refused_by_name(intake, body):
    status, answer = post(intake, "/v1/certificate", body, credentials=PARTY)
    assert status == 400
    assert answer["reason"] == "ProtocolViolation"
    assert "CertificateRequest" in answer["message"]


def test_a_report_with_an_unknown_field_is_refused_by_its_name(intake):
    status, answer = post(
        intake, "/v1/report", {**a_report().as_json_object(), "weights": "secret-value"}, credentials=PARTY
    )
    assert status == 400
    assert "'weights'" in answer["message"]
    assert "secret-value" not in answer["message"]


def test_a_body_above_64_kb_is_refused(intake):
    status, answer = post(intake, "/v1/report", b" " * (64 * 1024 + 1), credentials=PARTY)
    assert status == 413
    assert "at most 65536 bytes" in answer["message"]


def test_another_path_or_method_is_answered_with_what_is_allowed(intake):
    status, answer = post(intake, "/v1/keys", {})
    assert (status, answer["reason"]) == (404, "NotFound")
    assert "/v1/certificate" in answer["message"]


def test_tls_1_2_is_refused(intake):
    tls = build_client_context(SITE.ca.certificate_pem)
    tls.minimum_version = tls.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", intake.port), timeout=5) as plain,
        pytest.raises(ssl.SSLError, match=r"PROTOCOL_VERSION|EOF"),
    ):
        tls.wrap_socket(plain, server_hostname="127.0.0.1")


def test_plaintext_gets_no_answer(intake):
    connection = http.client.HTTPConnection("127.0.0.1", intake.port, timeout=5)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/certificate", b"{}")
        with pytest.raises((http.client.HTTPException, OSError)):
            connection.getresponse()


def test_the_doors_certificate_is_good_for_its_own_names_only(intake):
    tls = build_client_context(SITE.ca.certificate_pem)
    with (
        socket.create_connection(("127.0.0.1", intake.port), timeout=5) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        tls.wrap_socket(plain, server_hostname="server.run-1.splittraining")


def test_a_fault_of_the_door_shows_no_traceback_and_the_report_can_come_again(caplog):
    with open_intake(SITE) as intake, caplog.at_level(logging.ERROR):
        intake.faults.append(ValueError("inner secret"))
        status, answer = report(intake, a_report(state=PartyState.READY))
        assert status == 500
        assert answer == {"reason": "Internal", "message": "A fault of the intake: see its log."}
        assert "inner secret" in caplog.text
        assert report(intake, a_report(state=PartyState.READY))[1] == {"stored": True}


def test_neither_tokens_nor_keys_are_logged(intake, token, caplog):
    with caplog.at_level(logging.DEBUG):
        ask(intake, token=token)
        ask(intake, token=token)
    assert "signed a certificate of spiffe://alpha.example/run/run-1/party/st-mary" in caplog.text
    assert "was used before" in caplog.text
    assert token not in caplog.text
    assert "PRIVATE" not in caplog.text


def test_a_token_file_is_for_its_user_alone_and_always_new(intake, tmp_path):
    path = tmp_path / "token"
    intake.tokens.issue(an_identity(), path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        intake.tokens.issue(an_identity(), path)


def test_a_closed_door_is_closed():
    with open_intake(SITE) as intake:
        intake.running.close()
        intake.running.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", intake.port), timeout=5)


def test_a_port_that_is_taken_is_an_error_at_once(intake):
    with pytest.raises(OSError, match="in use"), open_intake(SITE, port=intake.port):
        pass


def test_no_report_is_left_over(intake):
    with pytest.raises(queue.Empty):
        intake.reports.get_nowait()
