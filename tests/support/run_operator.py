"""An operator process for tests: the real composition with short Lease times, dying where it is told to.

With DIE_AFTER_EVERY_WRITE it starts itself again after each death, until it has nothing to write for a while: each
incarnation is a fresh process that knows nothing of the one before, forked from one that has imported everything.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from splittraining.cluster.client import ApiObject, Client, connect
from splittraining.cluster.lease import LeaseTimes
from splittraining.controller.logs import start_logging
from splittraining.controller.parts import Surroundings
from splittraining.controller.process import run_operator
from splittraining.controller.settings import Settings, parse_settings

DIED = 99
TIMES = LeaseTimes(duration_s=3.0, deadline_s=2.0, period_s=0.3)
QUICK_TIMES = LeaseTimes(duration_s=1.0, deadline_s=0.8, period_s=0.2)


class DyingClient:
    """A client whose process ends right after the API server has answered a write."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def call(
        self,
        method: str,
        path: str,
        **options: Any,
    ) -> ApiObject:
        answer = await self._client.call(method, path, **options)
        if method != "GET" and "/leases" not in path:
            os._exit(DIED)
        return answer

    async def get(self, resource: Any, namespace: str, name: str) -> ApiObject:
        return await self.call("GET", resource.get_path(namespace, name))


async def open_dying_client() -> Client:
    return DyingClient(await connect())  # type: ignore[return-value]


def run_once(settings: Settings, *, dying: bool) -> int:
    start_logging("debug")
    around = Surroundings(lease_times=QUICK_TIMES if dying else TIMES)
    if dying:
        return asyncio.run(run_operator(settings, open_client=open_dying_client, around=around))
    return asyncio.run(run_operator(settings, around=around))


def run_again_and_again(settings: Settings) -> None:
    """Starts a fresh process after each death; whoever started this one ends it, and with it the last of them."""
    while True:
        child = os.fork()
        if child == 0:
            os._exit(run_once(settings, dying=True))
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code != DIED:
            sys.exit(code)


if __name__ == "__main__":
    given = parse_settings(sys.argv[1:], os.environ)
    if "DIE_AFTER_EVERY_WRITE" in os.environ:
        run_again_and_again(given)
    else:
        sys.exit(run_once(given, dying=False))
