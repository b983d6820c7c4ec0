"""Lists everything again now and then, and compares: after an outage a watch tells who is left, not who is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from splittraining.cluster.resources import Resource
from splittraining.controller.watched import WATCHED

PERIOD_S = 600.0
SETTLING_S = 1.0
"""A list that kopf made comes in object by object: it is compared once, when all that is over."""

_LOG = logging.getLogger(__name__)


class Lister(Protocol):
    """Lists kinds into the state."""

    async def list_into_state(self, resource: Resource) -> int:
        """Lists a kind, replaces what is known of it and wakes what that concerns; returns how many had changed."""
        ...


async def list_all(lister: Lister, resources: Sequence[Resource] = WATCHED) -> None:
    """Lists all kinds once; owners come first, so that children find theirs."""
    for resource in resources:
        await lister.list_into_state(resource)


async def keep_listing(
    lister: Lister,
    *,
    on_missed: Callable[[Resource, int], None],
    resources: Sequence[Resource] = WATCHED,
    period_s: float = PERIOD_S,
) -> None:
    """Lists all kinds again and again, until it is cancelled.

    Args:
        lister: Lists.
        on_missed: Told what the watches had not shown; a few are those of the very moment.
        resources: What to list.
        period_s: Time between two rounds, spread over the kinds.
    """
    while True:
        for resource in resources:
            await asyncio.sleep(period_s / len(resources))
            try:
                missed = await lister.list_into_state(resource)
            except Exception as error:  # noqa: BLE001 - the age of the last list says so, and ends us in time
                _LOG.warning("could not list %s: %s: %s", resource.plural, type(error).__name__, error)
                continue
            if missed:
                on_missed(resource, missed)


class Demand:
    """Kinds that are to be listed soon, each once. For one event loop."""

    def __init__(self) -> None:
        self._wanted: dict[Resource, None] = {}
        self._changed = asyncio.Event()

    def ask(self, resource: Resource) -> None:
        """Asks for a list of a kind."""
        self._wanted[resource] = None
        self._changed.set()

    async def take_all(self, *, settling_s: float = SETTLING_S) -> list[Resource]:
        """Waits until something is asked for, and a moment longer for more of the same; returns it."""
        await self._changed.wait()
        await asyncio.sleep(settling_s)
        self._changed.clear()
        taken, self._wanted = list(self._wanted), {}
        return taken


async def keep_comparing(
    lister: Lister,
    demand: Demand,
    *,
    on_missed: Callable[[Resource, int], None],
    settling_s: float = SETTLING_S,
) -> None:
    """Lists what is asked for, until it is cancelled; what cannot be listed now is asked for again.

    Args:
        lister: Lists.
        demand: What is asked for.
        on_missed: Told what the watches had not shown.
        settling_s: How long to wait for more of the same.
    """
    while True:
        for resource in await demand.take_all(settling_s=settling_s):
            try:
                missed = await lister.list_into_state(resource)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and tried again
                _LOG.warning("could not list %s: %s: %s", resource.plural, type(error).__name__, error)
                demand.ask(resource)
                continue
            if missed:
                on_missed(resource, missed)
