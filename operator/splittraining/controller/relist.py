"""Lists everything again now and then, and compares: after an outage a watch tells who is left, not who is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from splittraining.controller.kinds import WATCHED, Kind

PERIOD_S = 600.0

_LOG = logging.getLogger(__name__)


class Lister(Protocol):
    """Lists kinds into the state."""

    async def list_into_state(self, kind: Kind) -> int:
        """Lists a kind, replaces what is known of it and wakes what that concerns; returns how many had changed."""
        ...


async def list_all(lister: Lister, kinds: Sequence[Kind] = WATCHED) -> None:
    """Lists all kinds once; owners come first, so that children find theirs."""
    for kind in kinds:
        await lister.list_into_state(kind)


async def keep_listing(
    lister: Lister,
    *,
    on_missed: Callable[[Kind, int], None],
    kinds: Sequence[Kind] = WATCHED,
    period_s: float = PERIOD_S,
) -> None:
    """Lists all kinds again and again, until it is cancelled.

    Args:
        lister: Lists.
        on_missed: Told what the watches had not shown; a few are those of the very moment.
        kinds: What to list.
        period_s: Time between two rounds, spread over the kinds.
    """
    while True:
        for kind in kinds:
            await asyncio.sleep(period_s / len(kinds))
            try:
                missed = await lister.list_into_state(kind)
            except Exception as error:  # noqa: BLE001 - the age of the last list says so, and ends us in time
                _LOG.warning("could not list %s: %s: %s", kind.plural, type(error).__name__, error)
                continue
            if missed:
                on_missed(kind, missed)
