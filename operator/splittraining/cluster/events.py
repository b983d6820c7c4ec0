"""Events about an object, for `kubectl describe`: written on transitions, the same one never twice."""

from __future__ import annotations

import hashlib
from datetime import datetime

from splittraining.cluster.client import ApiObject, Client
from splittraining.cluster.errors import AlreadyExists
from splittraining.cluster.resources import EVENT

MOST_NOTE_CHARACTERS = 1024
"""The API's own bound."""

CONTROLLER = "splitlearning.dev/controller"


def build_event(
    about: ApiObject, *, kind: str, reason: str, note: str, occasion: str, instance: str, now: datetime
) -> ApiObject:
    """Builds an event.

    Args:
        about: The object that it is about.
        kind: Normal or Warning.
        reason: Why, in one CamelCase word.
        note: The same in a sentence.
        occasion: Tells occasions of one reason apart; what is told of the same occasion again is not written again.
        instance: The process that tells it.
        now: The moment.
    """
    metadata = about["metadata"]
    text = f"{metadata['uid']}/{reason}/{note}/{occasion}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": f"{metadata['name']}.{digest}", "namespace": metadata["namespace"]},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:128],
        "action": reason,
        "reason": reason,
        "type": kind,
        "note": note if len(note) <= MOST_NOTE_CHARACTERS else note[: MOST_NOTE_CHARACTERS - 1] + "…",
        "regarding": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
    }


async def record_event(client: Client, event: ApiObject) -> None:
    """Writes an event unless it was written before.

    Raises:
        ApiError: if it cannot be written.
    """
    try:
        await client.call("POST", EVENT.get_path(event["metadata"]["namespace"]), body=event)
    except AlreadyExists:
        return
