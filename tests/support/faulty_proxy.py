"""A way to the API server that goes wrong as it is told: plain HTTP on loopback, in a thread of its own.

A fault meets the first requests of each kind of request ("PATCH /apis/.../jobs/x"), so that every single one goes wrong
and none for ever.
"""

from __future__ import annotations

import asyncio
import enum
import json
import re
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

_PASSED_ON = ("Authorization", "Content-Type", "Accept")
_PATIENCE_S = 30


class Kind(enum.Enum):
    """What goes wrong."""

    ANSWER = "an answer that is not the API server's"
    LOST_ANSWER = "the request arrives, the answer does not"
    SILENCE = "nothing comes back, and the connection stays open"


@dataclass(frozen=True, eq=False)
class Fault:
    """What goes wrong with which requests.

    Attributes:
        requests: Matches method and path.
        kind: What goes wrong.
        status: Of the answer.
        body: Of the answer, a Kubernetes Status.
        headers: Of the answer.
        times: How often it happens to each method and path.
    """

    requests: str
    kind: Kind = Kind.ANSWER
    status: int = 500
    body: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int = 1


class FaultyProxy:
    """Passes requests on, but for those that a fault meets.

    Args:
        port: The API server's port on loopback.
        authority: Its certificate.
    """

    def __init__(self, port: int, authority: Path) -> None:
        self._port = port
        self._target = f"https://127.0.0.1:{port}"
        self._tls = ssl.create_default_context(cafile=str(authority))
        self._faults: tuple[Fault, ...] = ()
        self._met: Counter[tuple[Fault, str]] = Counter()
        self._loop = asyncio.new_event_loop()
        self._watches: dict[asyncio.Event, str] = {}
        self._over = asyncio.Event()
        self.port = 0

    @property
    def num_met(self) -> int:
        """How many requests went wrong so far."""
        return sum(self._met.values())

    def set_faults(self, *faults: Fault) -> None:
        """Says what goes wrong from now on."""
        self._faults = faults

    def expire_watches(self, pattern: str) -> int:
        """Ends the watches of some paths with 410: their resourceVersion is too old; returns how many."""

        async def end() -> int:
            found = [event for event, path in self._watches.items() if re.search(pattern, path)]
            for event in found:
                event.set()
            return len(found)

        return asyncio.run_coroutine_threadsafe(end(), self._loop).result(_PATIENCE_S)

    def write_kubeconfig(self, original: Path) -> Path:
        """Writes the kubeconfig of a user who goes this way."""
        configuration = json.loads(original.read_text())
        configuration["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self.port}"}
        path = original.with_name(f"{original.name}-by-proxy-{self.port}")
        path.write_text(json.dumps(configuration))
        return path

    def _find_fault(self, asked: str) -> Fault | None:
        for fault in self._faults:
            if re.search(fault.requests, asked) and self._met[fault, asked] < fault.times:
                self._met[fault, asked] += 1
                return fault
        return None

    def _run(self, ready: threading.Event) -> None:
        # A runner lets the loop go on until what was closed is closed: connections end a turn after they are told to.
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(ready))

    async def _serve(self, ready: threading.Event) -> None:
        limits = ClientTimeout(total=None)
        async with ClientSession(timeout=limits, connector=TCPConnector(ssl=self._tls, limit=0)) as session:

            async def handle(request: web.Request) -> web.StreamResponse:
                return await self._handle(session, request)

            # A request of which nobody waits for the answer any more ends here as well.
            runner = web.ServerRunner(web.Server(handle), handle_signals=False, shutdown_timeout=0)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port = runner.addresses[0][1]
            ready.set()
            await self._over.wait()
            for event in self._watches:
                event.set()
            await runner.cleanup()
        await self._wait_for_ends()

    async def _wait_for_ends(self) -> None:
        """Waits for the connections that were closed: TLS ends when the other side has said goodbye too."""
        ends_at = time.monotonic() + _PATIENCE_S
        while any(each.raddr and each.raddr.port == self._port for each in psutil.Process().net_connections("tcp")):
            assert time.monotonic() < ends_at, "connections to the API server that do not end"
            await asyncio.sleep(0.01)

    async def _handle(self, session: ClientSession, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        fault = self._find_fault(f"{request.method} {request.path_qs}")
        if fault is not None and fault.kind is Kind.ANSWER:
            return web.json_response(dict(fault.body), status=fault.status, headers=dict(fault.headers))
        if fault is not None and fault.kind is Kind.SILENCE:
            await self._over.wait()
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        url = f"{self._target}{request.path_qs}"
        async with session.request(request.method, url, data=body or None, headers=headers) as answer:
            if fault is not None:
                await answer.read()
                if request.transport is not None:  # else whoever asked has given up already
                    request.transport.abort()
                return web.Response()
            response = web.StreamResponse(status=answer.status)
            response.content_type = answer.content_type
            await response.prepare(request)
            if "watch" in request.query:
                await self._pass_events(answer.content, response, request.path)
            else:
                await response.write(await answer.read())
            await response.write_eof()
            return response

    async def _pass_events(self, events: asyncio.StreamReader, response: web.StreamResponse, path: str) -> None:
        expired = asyncio.Event()
        self._watches[expired] = path
        end = asyncio.create_task(expired.wait())
        try:
            while True:
                line = asyncio.create_task(events.readline())
                await asyncio.wait({line, end}, return_when=asyncio.FIRST_COMPLETED)
                if end.done():
                    line.cancel()
                    gone = {"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410}
                    await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
                    return
                if not line.result():
                    return
                await response.write(line.result())
        finally:
            end.cancel()
            del self._watches[expired]

    @contextmanager
    def running(self) -> Iterator[FaultyProxy]:
        """Serves in a thread until the context ends."""
        ready = threading.Event()
        thread = threading.Thread(target=lambda: self._run(ready), daemon=True)
        thread.start()
        try:
            assert ready.wait(_PATIENCE_S)
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._over.set)
            thread.join(_PATIENCE_S)
            assert not thread.is_alive()
