"""Goodbyes: how a party says that, and why, it ends; and the errors that the other side makes of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationError

from splittraining.api import errors
from splittraining.api.base import Document
from splittraining.api.errors import ContractMismatch, IdentityRefused, PeerFailed, PeerLost, SplitTrainingError
from splittraining.api.exit_codes import ExitCode
from splittraining.party.wire.frame import FrameType, Header, get_body, render_frame

FINISHED = "Finished"
_MESSAGE_CHARACTERS = 2048


class Goodbye(Document):
    """The last frame of a stream, and the details of a refused one."""

    reason: Annotated[str, Field(min_length=1, max_length=63)]
    """Name of the error, or `Finished`."""
    message: Annotated[str, Field(max_length=_MESSAGE_CHARACTERS)]
    """A sentence for people, remedy included."""
    exit_code: Annotated[int, Field(ge=0, le=255)]
    """How the party will exit; 0 for a clean end."""
    party: Annotated[str, Field(min_length=1, max_length=40)]
    """Where the trouble began; need not be the sender."""


class PeerFinished(PeerLost):
    """The peer said a clean Goodbye: right at the end of a training, too early anywhere else."""


class PeerSaidGoodbye(PeerFailed):
    """The peer's Goodbye carried an error. `goodbye` is what to tell the other parties."""

    def __init__(self, goodbye: Goodbye) -> None:
        self.goodbye = goodbye
        super().__init__(f"{goodbye.party} ended with {goodbye.reason}: {goodbye.message}")

    @property
    def reason(self) -> str:
        """`PeerFailed`: the subclass only carries the Goodbye."""
        return PeerFailed.__name__


def build_finished(party: str) -> Goodbye:
    """Returns the Goodbye of a clean end."""
    return Goodbye(reason=FINISHED, message="", exit_code=ExitCode.OK, party=party)


def build_goodbye(error: BaseException, party: str) -> Goodbye:
    """Returns the Goodbye of a party that ends with an error; one it heard from a peer is passed on as it is.

    An error that is not a SplitTrainingError is told by its class alone: its text may hold anything, data too.
    """
    if isinstance(error, PeerSaidGoodbye):
        return error.goodbye
    if not isinstance(error, SplitTrainingError):
        return Goodbye(reason=type(error).__name__[:63], message="", exit_code=ExitCode.INTERNAL, party=party)
    message = str(error)[:_MESSAGE_CHARACTERS]
    return Goodbye(reason=error.reason, message=message, exit_code=error.exit_code, party=party)


def build_refusal(goodbye: Goodbye) -> SplitTrainingError:
    """Returns the error that a Goodbye during dial or handshake names: there it is about the listener itself."""
    kind = _REFUSALS.get(goodbye.reason)
    return kind(goodbye.message) if kind is not None else PeerSaidGoodbye(goodbye)


_REFUSALS: dict[str, type[SplitTrainingError]] = {
    kind.__name__: kind for kind in (ContractMismatch, IdentityRefused, errors.ProtocolViolation)
}


def render_goodbye(goodbye: Goodbye) -> bytes:
    """Renders a Goodbye frame."""
    body = goodbye.model_dump_json(by_alias=True).encode()
    return render_frame(Header(FrameType.GOODBYE, size_bytes=len(body)), body)


def parse_goodbye(frame: bytes) -> Goodbye:
    """Reads a Goodbye frame.

    Raises:
        ProtocolViolation: if its body is not a Goodbye.
    """
    goodbye = parse_goodbye_json(bytes(get_body(frame)))
    if goodbye is None:
        raise errors.ProtocolViolation("a GOODBYE frame that cannot be read", allowed="docs/wire.md section 6")
    return goodbye


def parse_goodbye_json(text: str | bytes) -> Goodbye | None:
    """Reads the JSON of a Goodbye, or returns None for anything else, such as gRPC's own status details."""
    try:
        return Goodbye.model_validate_json(text)
    except ValidationError:
        return None
