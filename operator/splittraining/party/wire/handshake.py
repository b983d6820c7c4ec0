"""The handshake: a client says Hello, the server checks it and answers Welcome, the client checks that.

Both messages carry everything that must be equal; the checks are pure and name both values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, TypeVar

from pydantic import Field

from splittraining.api.errors import ContractMismatch, ProtocolViolation
from splittraining.party.wire.goodbye import PeerSaidGoodbye, build_refusal
from splittraining.party.wire.message import Message

PROTOCOL_VERSION = 3
"""Version of the conversation; the frame header has one of its own. docs/wire.md says what each one added."""

_Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
_Text = Annotated[str, Field(max_length=255)]
_Fingerprint = Annotated[tuple[tuple[_Text, _Text], ...], Field(max_length=32)]
_Nonce = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class Hello(Message):
    """A client's first message: who it is, and everything that must be equal at both ends."""

    type: Literal["Hello"] = "Hello"
    protocol_min: Annotated[int, Field(ge=1, le=65535)]
    """Lowest version of the protocol that the client speaks."""
    protocol_max: Annotated[int, Field(ge=1, le=65535)]
    """Highest version of the protocol that the client speaks."""
    party: Annotated[str, Field(min_length=1, max_length=40)]
    """The client's name; its certificate says the same."""
    run_id: Annotated[str, Field(min_length=1, max_length=63)]
    """The run."""
    generation: Annotated[int, Field(ge=1, le=2**32 - 1)]
    """Generation of the run."""
    contract_digest: _Digest
    """Digest of the contract."""
    wire_plan_digest: _Digest
    """Digest of the wire plan that the client derived from the model's code."""
    fingerprint: _Fingerprint = ()
    """What bit-equality presumes of this machine, as pairs of name and value."""
    checkpoints: Annotated[tuple[_Text, ...], Field(max_length=64)] = ()
    """Matched checkpoints that the client holds."""
    boot_nonce: _Nonce
    """Fresh in every process: tells a lost connection from a lost process."""
    train_rows: Annotated[int, Field(ge=0, le=2**48)] = 0
    """Rows that the client trains on."""
    test_rows: Annotated[int, Field(ge=0, le=2**48)] = 0
    """Rows that the client evaluates on."""
    row_ids_digest: Annotated[str, Field(max_length=128)] | None = None
    """Keyed digest of the client's row ids, where rows have ids."""
    sealing_key: Annotated[dict[_Text, Annotated[str, Field(max_length=8192)]], Field(max_length=8)] | None = None
    """Signed public key that others seal to, as pki writes it."""


class Welcome(Message):
    """The server's answer to a Hello that fits."""

    type: Literal["Welcome"] = "Welcome"
    protocol: Annotated[int, Field(ge=1, le=65535)]
    """Version that both will speak."""
    party: Annotated[str, Field(min_length=1, max_length=40)]
    """The server's name."""
    run_id: Annotated[str, Field(min_length=1, max_length=63)]
    """The run."""
    generation: Annotated[int, Field(ge=1, le=2**32 - 1)]
    """Generation of the run."""
    contract_digest: _Digest
    """Digest of the contract."""
    wire_plan_digest: _Digest
    """Digest of the wire plan that the server derived."""
    fingerprint: _Fingerprint = ()
    """What bit-equality presumes of the server's machine."""
    boot_nonce: _Nonce
    """Fresh in every process."""


@dataclass(frozen=True, slots=True)
class ExpectedHello:
    """What the server knows before a client speaks.

    Attributes:
        party: The client's name, as its certificate says it.
        run_id: The run.
        generation: Generation of the run.
        contract_digest: Digest of the server's contract.
        wire_plan_digest: Digest of the wire plan that the server derived.
    """

    party: str
    run_id: str
    generation: int
    contract_digest: str
    wire_plan_digest: str


class ControlLink(Protocol):
    """The part of a link that the handshake needs."""

    def send_control(self, message: Message) -> None:
        """Sends one message."""

    def recv_control(self, timeout_s: float | None = None) -> Message:
        """Returns the peer's next message."""


M = TypeVar("M", bound=Message)


def send_hello(link: ControlLink, hello: Hello, *, server: str, timeout_s: float | None = None) -> Welcome:
    """Says Hello and returns the server's Welcome, once it is checked.

    Raises:
        ContractMismatch: if the parties hold different contracts or wire plans, whichever side found out.
        ProtocolViolation: if anything else does not fit.
    """
    link.send_control(hello)
    return recv_welcome(link, hello, server=server, timeout_s=timeout_s)


def recv_welcome(link: ControlLink, hello: Hello, *, server: str, timeout_s: float | None = None) -> Welcome:
    """Returns the Welcome to a Hello that was sent, once it is checked.

    Raises:
        ContractMismatch: if the parties hold different contracts or wire plans, whichever side found out.
        ProtocolViolation: if anything else does not fit.
    """
    try:
        welcome = _recv(link, Welcome, timeout_s)
    except PeerSaidGoodbye as refused:
        # Here the server's Goodbye is about this very Hello: it is this party's own error, with its exit code.
        raise build_refusal(refused.goodbye) from None
    check_welcome(welcome, hello, server=server)
    return welcome


def recv_hello(
    link: ControlLink,
    expected: ExpectedHello,
    *,
    server: str,
    boot_nonce: str,
    fingerprint: tuple[tuple[str, str], ...] = (),
    timeout_s: float | None = None,
) -> Hello:
    """Waits for a client's Hello, checks it, answers Welcome and returns the Hello.

    Raises:
        ContractMismatch: if the client holds another contract or wire plan.
        ProtocolViolation: if anything else does not fit.
    """
    hello = _recv(link, Hello, timeout_s)
    link.send_control(
        decide_welcome(hello, expected, server=server, boot_nonce=boot_nonce, fingerprint=fingerprint),
    )
    return hello


def decide_welcome(
    hello: Hello,
    expected: ExpectedHello,
    *,
    server: str,
    boot_nonce: str,
    fingerprint: tuple[tuple[str, str], ...] = (),
) -> Welcome:
    """Decides whether a Hello fits, and returns the answer to it.

    Raises:
        ContractMismatch: if the client holds another contract or wire plan.
        ProtocolViolation: if party, run, generation or versions do not fit.
    """
    if not hello.protocol_min <= PROTOCOL_VERSION <= hello.protocol_max:
        raise ProtocolViolation(
            f"{expected.party} speaks versions {hello.protocol_min} to {hello.protocol_max} of the protocol",
            allowed=f"version {PROTOCOL_VERSION}",
            remedy="use the same version of splittraining at every party",
        )
    _check_equal(expected.party, "party", hello.party, expected.party)
    _check_equal(expected.party, "run", hello.run_id, expected.run_id)
    _check_equal(expected.party, "generation", hello.generation, expected.generation)
    _check_digests(expected.party, hello, expected)
    return Welcome(
        protocol=PROTOCOL_VERSION,
        party=server,
        run_id=expected.run_id,
        generation=expected.generation,
        contract_digest=expected.contract_digest,
        wire_plan_digest=expected.wire_plan_digest,
        fingerprint=fingerprint,
        boot_nonce=boot_nonce,
    )


def check_welcome(welcome: Welcome, hello: Hello, *, server: str) -> None:
    """Checks on the client's side that the server answered this very Hello.

    Raises:
        ContractMismatch: if the server holds another contract or wire plan.
        ProtocolViolation: if anything else does not fit.
    """
    if not hello.protocol_min <= welcome.protocol <= hello.protocol_max:
        raise ProtocolViolation(
            f"{server} chose version {welcome.protocol} of the protocol",
            allowed=f"{hello.protocol_min} to {hello.protocol_max}",
            remedy="use the same version of splittraining at every party",
        )
    _check_equal(server, "party", welcome.party, server)
    _check_equal(server, "run", welcome.run_id, hello.run_id)
    _check_equal(server, "generation", welcome.generation, hello.generation)
    _check_digests(server, welcome, hello)


def _recv(link: ControlLink, kind: type[M], timeout_s: float | None) -> M:
    message = link.recv_control(timeout_s)
    if not isinstance(message, kind):
        raise ProtocolViolation(f"a {message.type} message before the handshake was over", allowed=kind.__name__)
    return message


def _check_equal(sender: str, what: str, given: object, allowed: object) -> None:
    if given != allowed:
        raise ProtocolViolation(
            f"{sender} said {what} {given}",
            allowed=f"{what} {allowed}",
            remedy="give every party the document of the same run",
        )


def _check_digests(sender: str, given: Hello | Welcome, own: Hello | ExpectedHello) -> None:
    if given.contract_digest != own.contract_digest:
        raise ContractMismatch(
            f"{sender} holds contract {given.contract_digest}",
            allowed=f"contract {own.contract_digest}",
            remedy="give every party the same manifest, images and sources",
        )
    if given.wire_plan_digest != own.wire_plan_digest:
        raise ContractMismatch(
            f"{sender} derived wire plan {given.wire_plan_digest} from its model code",
            allowed=f"wire plan {own.wire_plan_digest}",
            remedy="give every party the same model source, arguments and versions of torch",
        )
