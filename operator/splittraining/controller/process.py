"""The operator's life: fill the state, watch, serve, wait to lead, lead; stop in order, or at once without the Lease.

Every replica watches and signs certificates, so that a standby begins with a warm state. Only the leader makes the CA,
takes reports and writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from splittraining.cluster.client import Client, connect
from splittraining.cluster.lease import Lease, watch_deadline
from splittraining.cluster.resources import Resource
from splittraining.controller.endpoints import build_reports_endpoints
from splittraining.controller.health import HEARTBEAT_PERIOD_S
from splittraining.controller.intake import keep_door_open
from splittraining.controller.issuer import CONFIGURATION_PATH, read_own_issuer
from splittraining.controller.parts import Parts, Surroundings
from splittraining.controller.probes import build_metrics_routes, build_probe_routes, serving
from splittraining.controller.relist import Demand, keep_comparing, keep_listing, list_all
from splittraining.controller.settings import Settings
from splittraining.controller.shell import run_shell
from splittraining.controller.worker import work

EXIT_STOPPED, EXIT_FAILED, EXIT_LEASE_LOST = 0, 1, 3

RETRY_S, LONGEST_RETRY_S = 1.0, 8.0
DOOR_PERIOD_S = 1.0
AUTHORITY_PERIOD_S = 30.0
ENDPOINTS_PERIOD_S = 60.0
STOP_TIMEOUT_S = 10.0

_LOG = logging.getLogger(__name__)


async def run_operator(
    settings: Settings,
    *,
    open_client: Callable[[], Awaitable[Client]] = connect,
    around: Surroundings | None = None,
) -> int:
    """Runs the operator until it is asked to stop, or a part of it ends.

    Args:
        settings: Who and where.
        open_client: Opens the way to the API server.
        around: Time, and the decision.

    Returns:
        The process's exit code. Where the Lease is lost the process ends here and now instead.
    """
    client = await open_client()
    parts = Parts(settings, client, around or Surroundings())
    try:
        async with (
            serving(build_probe_routes(parts.health), port=settings.probe_port),
            serving(build_metrics_routes(parts.render_metrics), port=settings.metrics_port),
        ):
            return await Process(parts).run()
    finally:
        await client.close()


class Process:
    """The operator's tasks.

    Args:
        parts: What they work with.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        settings = parts.settings
        self._lease = Lease(
            parts.client,
            settings.namespace,
            settings.lease_name,
            # A container that starts again in the same pod is another candidate.
            identity=f"{settings.pod_name}_{secrets.token_hex(4)}",
            times=parts.around.lease_times,
            monotonic_s=parts.around.monotonic_s,
            now=parts.around.clock,
        )
        self._stop = asyncio.Event()
        self._shell_ready = asyncio.Event()
        self._shell_stop = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    async def run(self) -> int:
        """Runs until somebody asks to stop, or a task ends."""
        parts, settings = self._parts, self._parts.settings
        self._start("heartbeat", self._beat())
        await _until_it_works("list the cluster", lambda: list_all(self))
        demand = Demand()
        shell = run_shell(
            parts.state,
            namespaces=settings.watch_namespaces,
            on_listed_again=demand.ask,
            ready=self._shell_ready,
            stop=self._shell_stop,
        )
        self._start("watches", shell)
        if await self._wait_for(self._shell_ready.wait()):
            return await self._end()
        self._catch_signals()  # kopf has set its own by now, which would end it before the Lease is released
        self._start("lists", keep_listing(self, on_missed=self._note_missed))
        self._start("lists after outages", keep_comparing(self, demand, on_missed=self._note_missed))
        self._start("authority", self._keep_authority())
        issuers = await self._find_issuers()
        server = parts.build_intake(issuers)
        door = keep_door_open(
            server,
            parts.authority,
            settings,
            on_open=lambda: parts.health.set_ready("the intake", ready=True),
            period_s=DOOR_PERIOD_S,
        )
        parts.health.set_ready("the intake", ready=False)  # before there is a CA, there is no door
        self._start("intake", door)
        self._start("leadership", self._lead())
        parts.health.set_ready("starting", ready=True)
        await self._wait_for(self._stop.wait())
        return await self._end()

    async def list_into_state(self, resource: Resource) -> int:
        """Lists a kind in all watched namespaces."""
        return await self._parts.cluster.list_into_state(resource, self._parts.settings.watch_namespaces)

    # --- leading ------------------------------------------------------------------------------------------------------

    async def _lead(self) -> None:
        parts = self._parts
        await self._lease.acquire()
        _LOG.info("%s leads", parts.settings.pod_name)
        hold = self._start("lease", self._lease.hold())
        hold.add_done_callback(_leave_unless_cancelled)
        watch_deadline(self._lease, end=lambda: _leave(EXIT_LEASE_LOST))  # also where this loop stands still
        await _until_it_works("have the CA", parts.authority.ensure)
        # What the leader before wrote last may not have come through the watches yet.
        await _until_it_works("list the cluster", lambda: list_all(self))
        parts.is_leading = True
        self._start("reports address", self._keep_endpoints())
        for number in range(parts.settings.workers):
            worker = work(parts.queue, parts.reconciler, metrics=parts.metrics, monotonic_s=parts.around.monotonic_s)
            self._start(f"worker {number}", worker)
        parts.state.wake_all()
        await hold

    async def _keep_endpoints(self) -> None:
        endpoints = build_reports_endpoints(self._parts.settings)
        while True:
            await _until_it_works(
                "publish the reports address", lambda: self._parts.cluster.apply_in_own_namespace(endpoints)
            )
            await asyncio.sleep(ENDPOINTS_PERIOD_S)

    # --- at every replica ---------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        while True:
            self._parts.health.beat()
            await asyncio.sleep(HEARTBEAT_PERIOD_S)

    async def _keep_authority(self) -> None:
        authority = self._parts.authority
        while True:
            try:
                await (authority.ensure() if self._parts.is_leading else authority.refresh())
            except Exception as error:  # noqa: BLE001 - the one in use stays in use
                _LOG.error("cannot read the CA: %s", error)
            known = authority.ca is not None
            await asyncio.sleep(AUTHORITY_PERIOD_S if known else RETRY_S)

    async def _find_issuers(self) -> list[str]:
        own = read_own_issuer()
        if own:
            return [own]
        found: list[str] = []

        async def ask() -> None:
            document = await self._parts.cluster.get_document(CONFIGURATION_PATH)
            found.append(str(document["issuer"]))

        await _until_it_works("learn who issues tokens", ask)
        return found

    def _note_missed(self, resource: Resource, number: int) -> None:
        self._parts.metrics.missed_changes.labels(kind=resource.kind).inc(number)

    # --- tasks --------------------------------------------------------------------------------------------------------

    def _start(self, name: str, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(coroutine, name=name)
        self._tasks[name] = task
        return task

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

    async def _wait_for(self, wanted: Coroutine[Any, Any, Any]) -> bool:
        """Waits for something while all tasks run; returns whether one of them ended instead."""
        waiter = asyncio.create_task(wanted)
        try:
            while True:
                known = set(self._tasks.values())
                # Tasks that are started meanwhile are waited for at the next turn.
                await asyncio.wait({waiter, *known}, timeout=RETRY_S, return_when=asyncio.FIRST_COMPLETED)
                if waiter.done():
                    return False
                if any(task.done() for task in self._tasks.values()):
                    return True
        finally:
            waiter.cancel()

    async def _end(self) -> int:
        """Stops everything in order."""
        ended = [task for task in self._tasks.values() if task.done()]
        for task in ended:
            error = None if task.cancelled() else task.exception()
            _LOG.error("%s ended: %s", task.get_name(), error, exc_info=error)
        self._parts.is_leading = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._stop_tasks()
        return EXIT_FAILED if ended else EXIT_STOPPED

    async def _stop_tasks(self) -> None:
        watches, lease = self._tasks.pop("watches", None), self._tasks.get("lease")
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        if lease is not None:
            await self._lease.release()
        if watches is not None:
            self._shell_stop.set()  # last: kopf takes with it whatever was started after it
            await asyncio.gather(watches, return_exceptions=True)


async def _until_it_works(what: str, action: Callable[[], Awaitable[object]]) -> None:
    """Tries something until it succeeds; an API server may be away while an operator starts."""
    pause_s = RETRY_S
    while True:
        try:
            await action()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and tried again
            _LOG.warning("could not %s: %s: %s", what, type(error).__name__, error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_RETRY_S)
        else:
            return


def _leave_unless_cancelled(hold: asyncio.Task[None]) -> None:
    """Ends the process at the very moment at which the Lease is lost: workers may be in the middle of something."""
    if not hold.cancelled():
        _LOG.error("the Lease is lost, and so this process ends: %s", hold.exception())
        _leave(EXIT_LEASE_LOST)


def _leave(code: int) -> None:
    """Ends the process without another step: somebody else writes now."""
    logging.shutdown()
    os._exit(code)
