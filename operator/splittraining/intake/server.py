"""The door as a running server: its own TLS certificate, its own thread, its own event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from splittraining.intake.app import IntakeHandlers, build_app
from splittraining.intake.authenticators import LeafAuthenticator, TokenAuthenticator
from splittraining.intake.directory import Directory
from splittraining.intake.reports import NewestReports, OnReport
from splittraining.intake.signer import Signer
from splittraining.pki.bundle import TrustBundle
from splittraining.pki.ca import SiteCA
from splittraining.pki.keys import generate_key, render_key_pem
from splittraining.pki.tls import build_server_context

HANDSHAKE_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 75.0
"""Longer than the longest period of reports, so that a party needs one handshake only."""
SHUTDOWN_TIMEOUT_S = 2.0

_Opened = concurrent.futures.Future[tuple[str, Callable[[], None]]]


@dataclass(frozen=True, slots=True)
class IntakeServer:
    """What stands behind a door; composed by whoever runs one."""

    directory: Directory
    """Who may have which leaf."""
    tokens: TokenAuthenticator
    """Authenticates first certificates; leaves authenticate everything after."""
    signer: Signer
    """Signs leaves."""
    fetch_bundle: Callable[[], TrustBundle]
    """Returns the roots that parties are given, and that leaves are verified against."""
    on_report: OnReport
    """Called with each party's newest report, in the door's thread: it must not block."""
    clock: Callable[[], datetime]
    """Returns the moment, with time zone."""

    def build_app(self) -> web.Application:
        """Builds a fresh application: reports are remembered for its lifetime."""
        return build_app(
            IntakeHandlers(
                directory=self.directory,
                tokens=self.tokens,
                leaves=LeafAuthenticator(self.directory, fetch_bundle=self.fetch_bundle, clock=self.clock),
                signer=self.signer,
                fetch_bundle=self.fetch_bundle,
                reports=NewestReports(self.on_report),
            )
        )


class RunningIntake:
    """A door that is open.

    Args:
        url: Its base URL.
        stop: Makes its thread end.
        thread: Its thread.
    """

    def __init__(self, url: str, *, stop: Callable[[], None], thread: threading.Thread) -> None:
        self.url = url
        self._stop = stop
        self._thread = thread

    def close(self) -> None:
        """Closes the door and waits for its thread; a second call does nothing."""
        if self._thread.is_alive():
            self._stop()
        self._thread.join()


def build_door_context(ca: SiteCA, *, names: Sequence[str], bundle: TrustBundle, now: datetime) -> ssl.SSLContext:
    """Builds the door's TLS context with a fresh key and a certificate of the site's own CA.

    Args:
        ca: Issues the door's certificate: parties get its root with their document.
        names: DNS names and addresses under which parties reach the door.
        bundle: Whose leaves may finish a handshake; each request checks them again, exactly.
        now: The moment, with time zone.
    """
    key = generate_key()
    leaf_pem = ca.issue_server_leaf(key.public_key(), names, now=now)
    return build_server_context(leaf_pem, render_key_pem(key), client_roots_pem=bundle.render_pem())


def serve_in_thread(
    server: IntakeServer, *, tls: ssl.SSLContext, host: str = "127.0.0.1", port: int = 0
) -> RunningIntake:
    """Opens a door in a thread of its own; returns when it listens.

    Args:
        server: What stands behind it.
        tls: As ``build_door_context`` made it.
        host: Address to listen at; the URL names it.
        port: TCP port, or 0 for any free one.

    Raises:
        OSError: if the address cannot be had.
    """
    opened: _Opened = concurrent.futures.Future()

    def run() -> None:
        try:
            asyncio.run(_serve(server, tls, host, port, opened))
        except BaseException as error:
            if opened.done():
                raise
            opened.set_exception(error)

    thread = threading.Thread(target=run, name="splittraining-intake", daemon=True)
    thread.start()
    url, stop = opened.result()
    return RunningIntake(url, stop=stop, thread=thread)


async def _serve(server: IntakeServer, tls: ssl.SSLContext, host: str, port: int, opened: _Opened) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.call_soon_threadsafe(stopping.set)

    runner = web.AppRunner(
        server.build_app(), access_log=None, keepalive_timeout=KEEP_ALIVE_S, shutdown_timeout=SHUTDOWN_TIMEOUT_S
    )
    await runner.setup()
    assert runner.server is not None
    try:
        # aiohttp's own TCPSite offers no handshake timeout, and asyncio's default is a minute.
        listener = await loop.create_server(
            runner.server, host, port, ssl=tls, ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S
        )
        bound = listener.sockets[0].getsockname()[1]
        opened.set_result((f"https://{host}:{bound}", stop))
        await stopping.wait()
        listener.close()
    finally:
        transports = [connection.transport for connection in runner.server.connections if connection.transport]
        await runner.cleanup()
        # Closing TLS politely waits for the peer's goodbye; the loop ends here, and would leave the socket open.
        for transport in transports:
            transport.abort()
