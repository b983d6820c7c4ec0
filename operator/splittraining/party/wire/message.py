"""Control messages: bounded JSON objects with a `type`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from splittraining.api.base import Document
from splittraining.api.errors import ProtocolViolation
from splittraining.party.wire.frame import CONTROL_LIMIT_BYTES

_SHOWN_CHARACTERS = 500


class Message(Document):
    """Base of all control messages.

    A subclass says `type: Literal["Name"] = "Name"` and joins a tuple in `messages`: that is what links can read.
    """

    type: str


def build_registry(messages: Sequence[type[Message]]) -> dict[str, type[Message]]:
    """Returns the message classes by the name in their `type`."""
    return {message.model_fields["type"].default: message for message in messages}


def render_message(message: Message) -> bytes:
    """Renders a message as JSON.

    Raises:
        ProtocolViolation: if it is longer than a control frame may be.
    """
    body = json.dumps({"type": message.type, **message.as_json_object()}, separators=(",", ":")).encode()
    if len(body) > CONTROL_LIMIT_BYTES:
        raise ProtocolViolation(
            f"a {message.type} message of {len(body)} bytes",
            allowed=f"at most {CONTROL_LIMIT_BYTES} bytes",
            remedy="send what is longer as a blob",
        )
    return body


def parse_message(body: bytes, registry: Mapping[str, type[Message]]) -> Message:
    """Reads a message.

    Raises:
        ProtocolViolation: if it is no JSON object, of an unknown type, or has fields that its type does not allow.
    """
    if len(body) > CONTROL_LIMIT_BYTES:
        raise ProtocolViolation(f"a message of {len(body)} bytes", allowed=f"at most {CONTROL_LIMIT_BYTES} bytes")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise ProtocolViolation("a control frame that holds no JSON", allowed="one JSON object") from None
    kind = value.get("type") if isinstance(value, dict) else None
    message = registry.get(kind) if isinstance(kind, str) else None
    if message is None:
        raise ProtocolViolation(f"a control message of type {str(kind)[:40]!r}", allowed=", ".join(sorted(registry)))
    try:
        return message.model_validate_json(body)
    except ValidationError as error:
        # Without the input values: a refusal is shown to both sides and written to logs.
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise ProtocolViolation(f"a {kind} message with {wrong[:_SHOWN_CHARACTERS]}", allowed="docs/wire.md") from None
