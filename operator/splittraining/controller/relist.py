"""Lists everything again now and then, and compares: after an outage a watch tells who is left, not who is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from splittraining.cluster.resources import Resource
from splittraining.controller.watched import WATCHED

PERIOD_S = 600.0

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
