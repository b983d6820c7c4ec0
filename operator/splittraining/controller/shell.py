"""kopf as the shell around events: its handlers feed the store and wake keys, and do nothing else.

kopf writes nothing here: no annotations, no finalizers, no peering, no events; it lists, watches and survives what API
servers do to watches. What it cannot tell (what vanished while a watch was down) `relist` finds out, at once where kopf
had to list a kind again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import kopf

from splittraining.cluster.resources import Resource
from splittraining.controller.watched import WATCHED, get_selector

ERROR_BACKOFFS_S = (0.5, 1, 2, 3)
"""kopf goes on waiting after an outage has ended: longer steps would delay the first event by as much."""
_WATCH_S = 300
_PAGE = 100  # what a page holds is in memory at once, with everything that is dropped afterwards
_REQUEST_TIMEOUT_S = 30
_INACTIVITY_S = 75


class Feed(Protocol):
    """Takes what happened."""

    def take_object(self, resource: Resource, obj: Mapping[str, Any]) -> object:
        """Takes an object as it is now."""
        ...

    def take_deletion(self, resource: Resource, obj: Mapping[str, Any]) -> None:
        """Takes an object as it was when it was deleted."""
        ...


def build_registry(
    feed: Feed, *, on_listed_again: Callable[[Resource], None], resources: Sequence[Resource] = WATCHED
) -> kopf.OperatorRegistry:
    """Builds kopf's handlers, in a registry of their own: nothing is registered globally.

    Args:
        feed: Takes what happens.
        on_listed_again: Told of a kind whose watch could not go on where it was.
        resources: What is watched.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**fields: Any) -> kopf.ConnectionInfo | None:  # noqa: ANN401 - kopf says what it gives
        return kopf.login_with_service_account(**fields) or kopf.login_with_kubeconfig(**fields)

    for resource in resources:
        kopf.on.event(resource.group, resource.version, resource.plural, id=resource.plural, registry=registry)(
            build_handler(feed, resource, on_listed_again)
        )
    return registry


def build_settings(resources: Sequence[Resource] = WATCHED) -> kopf.OperatorSettings:
    """Builds kopf's settings: silent, standalone, selecting at the server."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.watching.server_timeout = _WATCH_S
    settings.watching.inactivity_timeout = _INACTIVITY_S
    settings.watching.chunk_size = _PAGE
    settings.networking.request_timeout = _REQUEST_TIMEOUT_S
    settings.networking.error_backoffs = ERROR_BACKOFFS_S
    settings.queueing.error_delays = ERROR_BACKOFFS_S
    for resource in resources:
        selector = get_selector(resource)
        if selector:
            settings.watching.label_selectors[resource.group, resource.version, resource.plural] = selector
    return settings


async def run_shell(
    feed: Feed,
    *,
    namespaces: Sequence[str],
    on_listed_again: Callable[[Resource], None],
    ready: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    """Runs kopf until it is stopped. That it ends by itself is an error: a watch that died takes it down.

    Args:
        feed: Takes what happens.
        on_listed_again: Told of a kind whose watch could not go on where it was.
        namespaces: Which to watch; empty: all.
        ready: Set once the watches have begun, and kopf's own signal handlers are in place.
        stop: Set by whoever wants it to end.
    """
    await kopf.operator(
        registry=build_registry(feed, on_listed_again=on_listed_again),
        settings=build_settings(),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
        ready_flag=ready,
        stop_flag=stop,
    )


def build_handler(
    feed: Feed, resource: Resource, on_listed_again: Callable[[Resource], None]
) -> Callable[..., Awaitable[None]]:
    """Builds the handler of a kind's events.

    Args:
        feed: Takes what happens.
        resource: The kind.
        on_listed_again: Told when kopf has listed the kind once more: then something may have vanished unseen.
    """
    known: set[str] = set()

    async def on_event(event: Mapping[str, Any], **_: object) -> None:
        obj, uid = event["object"], event["object"]["metadata"]["uid"]
        if event["type"] == "DELETED":
            known.discard(uid)
            feed.take_deletion(resource, obj)
            return
        if event["type"] is None and uid in known:  # out of a list, and not out of the first one
            on_listed_again(resource)
        known.add(uid)
        feed.take_object(resource, obj)

    return on_event
