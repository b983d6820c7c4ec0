"""Hello and Welcome: what must be equal, and who is told what when it is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from splittraining.api.errors import ContractMismatch, DataInvalid, PeerFailed, ProtocolViolation, SplitTrainingError
from splittraining.party.wire.frame import CONTROL_LIMIT_BYTES
from splittraining.party.wire.goodbye import (
    PeerSaidGoodbye,
    build_finished,
    build_goodbye,
    build_refusal,
    parse_goodbye,
    render_goodbye,
)
from splittraining.party.wire.handshake import (
    PROTOCOL_VERSION,
    ExpectedHello,
    Hello,
    Welcome,
    check_welcome,
    decide_welcome,
    recv_hello,
    send_hello,
)
from splittraining.party.wire.message import build_registry, parse_message, render_message
from splittraining.party.wire.messages import MESSAGES
from splittraining.party.wire.orders import Finish, PeerCard
from support.wire_support import CLIENT, ChannelPair, a_control_frame, a_link, in_thread, open_pair

CONTRACT, WIRE_PLAN, OTHER = (f"sha256:{letter * 64}" for letter in "abc")
NONCE = "0" * 32
REGISTRY = build_registry(MESSAGES)
EXPECTED = ExpectedHello(CLIENT, "run-1", 1, CONTRACT, WIRE_PLAN)


def a_hello(**changes: Any) -> Hello:
    fields: dict[str, Any] = {
        "protocol_min": PROTOCOL_VERSION,
        "protocol_max": PROTOCOL_VERSION,
        "party": CLIENT,
        "run_id": "run-1",
        "generation": 1,
        "contract_digest": CONTRACT,
        "wire_plan_digest": WIRE_PLAN,
        "boot_nonce": NONCE,
        "train_rows": 120,
        "fingerprint": (("torch", "2.15"), ("threads", "1")),
    }
    return Hello(**(fields | changes))


def a_welcome(**changes: Any) -> Welcome:
    return decide_welcome(a_hello(), EXPECTED, server="server", boot_nonce=NONCE).model_copy(update=changes)


@pytest.fixture
def pair() -> Iterator[ChannelPair]:
    with open_pair("loopback") as channels:
        yield channels


MISFITS: list[tuple[dict[str, Any], type[SplitTrainingError], str, str]] = [
    ({"protocol_min": 4, "protocol_max": 5}, ProtocolViolation, "versions 4 to 5", f"version {PROTOCOL_VERSION}"),
    ({"party": "north"}, ProtocolViolation, "party north", f"party {CLIENT}"),
    ({"run_id": "run-2"}, ProtocolViolation, "run run-2", "run run-1"),
    ({"generation": 2}, ProtocolViolation, "generation 2", "generation 1"),
    ({"contract_digest": OTHER}, ContractMismatch, f"contract {OTHER}", f"contract {CONTRACT}"),
    ({"wire_plan_digest": OTHER}, ContractMismatch, f"wire plan {OTHER}", f"wire plan {WIRE_PLAN}"),
]


@pytest.mark.parametrize(("changes", "kind", "given", "allowed"), MISFITS)
def test_a_hello_that_does_not_fit_is_refused_with_both_values(
    changes: dict[str, Any], kind: type[SplitTrainingError], given: str, allowed: str
) -> None:
    with pytest.raises(kind) as refused:
        decide_welcome(a_hello(**changes), EXPECTED, server="server", boot_nonce=NONCE)
    assert given in refused.value.given
    assert allowed in refused.value.allowed
    assert CLIENT in refused.value.given


@pytest.mark.parametrize(
    ("changes", "kind", "given"),
    [
        ({"protocol": 4}, ProtocolViolation, "version 4"),
        ({"party": "mallory"}, ProtocolViolation, "party mallory"),
        ({"run_id": "run-2"}, ProtocolViolation, "run run-2"),
        ({"generation": 9}, ProtocolViolation, "generation 9"),
        ({"contract_digest": OTHER}, ContractMismatch, OTHER),
        ({"wire_plan_digest": OTHER}, ContractMismatch, OTHER),
    ],
)
def test_a_welcome_that_does_not_fit_is_refused_as_well(
    changes: dict[str, Any], kind: type[SplitTrainingError], given: str
) -> None:
    with pytest.raises(kind, match=f"server .*{given}"):
        check_welcome(a_welcome(**changes), a_hello(), server="server")


def test_parties_that_agree_meet(pair: ChannelPair) -> None:
    greeting = in_thread(lambda: send_hello(a_link(pair.client), a_hello(), server="server", timeout_s=5))
    fingerprint = (("threads", "1"),)
    hello = recv_hello(
        a_link(pair.server), EXPECTED, server="server", boot_nonce="1" * 32, fingerprint=fingerprint, timeout_s=5
    )
    assert hello == a_hello()
    welcome = greeting.result(5)
    assert (welcome.party, welcome.boot_nonce, welcome.fingerprint) == ("server", "1" * 32, fingerprint)


def test_a_client_with_another_contract_ends_with_a_contract_mismatch_at_both_sides(pair: ChannelPair) -> None:
    hello = a_hello(contract_digest=OTHER)
    greeting = in_thread(lambda: send_hello(a_link(pair.client), hello, server="server", timeout_s=5))
    with pytest.raises(ContractMismatch) as refused:
        recv_hello(a_link(pair.server), EXPECTED, server="server", boot_nonce=NONCE, timeout_s=5)
    pair.server.close(build_goodbye(refused.value, "server"))
    with pytest.raises(ContractMismatch, match=f"{OTHER}.*{CONTRACT}.*To do"):
        greeting.result(5)


def test_a_message_before_the_hello_is_refused(pair: ChannelPair) -> None:
    a_link(pair.client).send_control(Finish(step=1))
    with pytest.raises(ProtocolViolation, match=r"a Finish message before the handshake was over.*Hello"):
        recv_hello(a_link(pair.server), EXPECTED, server="server", boot_nonce=NONCE, timeout_s=5)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\xff", "no JSON"),
        (b"[" * 60_000, "no JSON"),
        (b"[]", "type 'None'"),
        (b'{"type":["Hello"]}', "type"),
        (b'{"type":"Attack"}', "type 'Attack'.*Evaluate.*Welcome"),
        (b'{"type":"Finish","step":1,"extra":2}', "a Finish message with extra"),
        (b'{"type":"Finish"}', "a Finish message with step: Field required"),
        (b'{"type":"Finish","step":-1}', "a Finish message with step"),
        (bytes(CONTROL_LIMIT_BYTES + 1), "a message of 65537 bytes"),
    ],
)
def test_a_message_that_cannot_be_read_is_refused_by_name(body: bytes, message: str) -> None:
    with pytest.raises(ProtocolViolation, match=message):
        parse_message(body, REGISTRY)


def test_a_refused_message_shows_no_value_of_it() -> None:
    with pytest.raises(ProtocolViolation) as refused:
        parse_message(b'{"type":"Finish","step":"canary-4711"}', REGISTRY)
    assert "4711" not in str(refused.value)


@pytest.mark.parametrize("message", [a_hello(sealing_key={"party": CLIENT}), a_welcome(), Finish(step=3)])
def test_a_message_reads_back_as_it_was_rendered(message: Any) -> None:
    assert parse_message(render_message(message), REGISTRY) == message


def test_a_message_that_is_too_long_is_not_sent() -> None:
    card = {f"k{number}": "x" * 16_000 for number in range(5)}
    with pytest.raises(ProtocolViolation, match=r"a PeerCard message of \d+ bytes.*65536"):
        render_message(PeerCard(card=card))


def test_a_goodbye_reads_back_as_it_was_rendered() -> None:
    goodbye = build_goodbye(DataInvalid("é" * 5000), "north")
    frame = render_goodbye(goodbye)
    assert parse_goodbye(frame) == goodbye
    assert len(goodbye.message) == 2048


def test_an_error_heard_from_one_party_is_passed_on_as_its_own() -> None:
    heard = PeerSaidGoodbye(build_goodbye(DataInvalid("no rows"), "north"))
    assert build_goodbye(heard, "server") == heard.goodbye
    assert heard.goodbye.party == "north"


def test_an_unexpected_error_is_told_without_its_text() -> None:
    goodbye = build_goodbye(ValueError("patient 4711"), "north")
    assert (goodbye.reason, goodbye.message, goodbye.exit_code) == ("ValueError", "", 1)


def test_only_refusals_become_the_listeners_own_error() -> None:
    assert isinstance(build_refusal(build_goodbye(ContractMismatch("x"), "server")), ContractMismatch)
    assert isinstance(build_refusal(build_goodbye(DataInvalid("x"), "server")), PeerFailed)
    assert build_finished("north").exit_code == 0


def test_a_control_frame_without_a_message_is_refused(pair: ChannelPair) -> None:
    pair.client.send(a_control_frame("{}"))
    with pytest.raises(ProtocolViolation, match="a control message of type 'None'"):
        a_link(pair.server).recv_control(5)
