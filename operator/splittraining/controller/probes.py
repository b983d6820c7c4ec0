"""The two small HTTP doors for the cluster's own use: /healthz and /readyz, and /metrics."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus

from aiohttp import web

from splittraining.controller.health import Health
from splittraining.controller.metrics import CONTENT_TYPE

Handler = Callable[[web.Request], web.Response]

_ANY_ADDRESS = None  # both IPv4 and IPv6, where the node has both


def build_probe_routes(health: Health) -> Mapping[str, Handler]:
    """Builds the answers to the kubelet."""
    return {
        "/healthz": lambda _: _render_answer(health.find_troubles()),
        "/readyz": lambda _: _render_answer([f"not ready: {part}" for part in health.find_unready()]),
    }


def build_metrics_routes(render: Callable[[], bytes]) -> Mapping[str, Handler]:
    """Builds the answer to Prometheus."""
    return {"/metrics": lambda _: web.Response(body=render(), headers={"Content-Type": CONTENT_TYPE})}


@contextlib.asynccontextmanager
async def serving(routes: Mapping[str, Handler], *, port: int, host: str | None = _ANY_ADDRESS) -> AsyncIterator[int]:
    """Serves some paths while the context lasts.

    Args:
        routes: What answers, by path.
        port: TCP port, or 0 for any free one.
        host: Address to listen at.

    Yields:
        The port.

    Raises:
        OSError: if the port cannot be had.
    """
    app = web.Application()
    for path, handler in routes.items():
        app.router.add_get(path, _as_coroutine(handler))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _as_coroutine(handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.Response:
        return handler(request)

    return answer


def _render_answer(troubles: list[str]) -> web.Response:
    if troubles:
        return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text="\n".join(troubles) + "\n")
    return web.Response(text="ok\n")
