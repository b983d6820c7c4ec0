"""What the API server streams: a container's log, and a command in a container. Bytes come as they are, in order.

Source: Kubernetes documentation, "Pod v1 core" (log, exec); the channels of exec are WebSocket messages whose first
byte says which one it is (subprotocol ``v4.channel.k8s.io``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus

import aiohttp

from splittraining.cluster.client import TIMEOUT_S, Client, parse_answer
from splittraining.cluster.errors import Unreachable, build_error
from splittraining.cluster.resources import POD

CHUNK_BYTES = 1 << 16
STDOUT, STDERR, STATUS = 1, 2, 3
"""Channels of exec."""

_SUBPROTOCOL = "v4.channel.k8s.io"
_ALIVE_S = 30.0
"""A ping this often: a proxy in between would otherwise cut what is silent, and a dead peer would never be noticed."""


async def stream_log(
    client: Client, namespace: str, pod: str, *, query: Mapping[str, str] | None = None, container: str = ""
) -> AsyncIterator[bytes]:
    """Yields a container's log in pieces; with ``follow`` in the query for as long as the container runs.

    Raises:
        ApiError: Invalid, while the container has not started; NotFound, if the pod is gone.
    """
    path = POD.get_path(namespace, pod, "log")
    pairs = [*(query or {}).items(), *([("container", container)] if container else [])]
    method, url, headers, *_ = await client.api.param_serialize(
        "GET", path, query_params=pairs, auth_settings=["BearerToken"], header_params={"Accept": "*/*"}
    )
    limits = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_S)
    asked = f"GET {path}"
    try:
        answer = await client.api.call_api(method, url, headers, _request_timeout=limits)
        async with answer.response:
            if answer.status >= HTTPStatus.BAD_REQUEST:
                raise build_error(asked, answer.status, parse_answer(await answer.read()))
            async for piece in answer.response.content.iter_chunked(CHUNK_BYTES):
                yield piece
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise Unreachable(asked, f"{type(error).__name__}: {error}") from error


@asynccontextmanager
async def running_command(
    client: Client, namespace: str, pod: str, command: Sequence[str], *, container: str, silence_s: float
) -> AsyncIterator[AsyncIterator[tuple[int, bytes]]]:
    """Runs a command in a container, and yields what it writes: channel and bytes.

    Its standard input is open and empty until the context ends, so that a command can tell when its reader is done.

    Args:
        client: Calls the API server.
        namespace: Of the pod.
        pod: The pod.
        command: Program and arguments; no shell is involved.
        container: The container.
        silence_s: How long nothing at all may come.

    Raises:
        ApiError: if the command cannot be started, or the connection ends.
    """
    path = POD.get_path(namespace, pod, "exec")
    pairs = [("container", container), ("stdin", "true"), ("stdout", "true"), ("stderr", "true")]
    pairs += [("command", word) for word in command]
    _, url, headers, *_ = await client.api.param_serialize(
        "GET", path, query_params=pairs, auth_settings=["BearerToken"]
    )
    asked = f"GET {path}"
    rest = client.api.rest_client
    if rest.pool_manager is None:
        rest.pool_manager = rest._create_pool_manager()  # noqa: SLF001 - as the package's own WebSocket client does
    try:
        async with rest.pool_manager.ws_connect(
            url,
            headers=headers,
            protocols=(_SUBPROTOCOL,),
            heartbeat=_ALIVE_S,
            # What the package gives to every request of its own.
            proxy=rest.proxy or None,
            proxy_headers=rest.proxy_headers or None,
            server_hostname=client.api.configuration.tls_server_name or None,
        ) as socket:
            yield _iterate_messages(socket, asked, silence_s)
    except aiohttp.WSServerHandshakeError as error:
        raise build_error(asked, error.status, {"message": error.message}) from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unreachable(asked, f"{type(error).__name__}: {error}") from error


async def _iterate_messages(
    socket: aiohttp.ClientWebSocketResponse, asked: str, silence_s: float
) -> AsyncIterator[tuple[int, bytes]]:
    while True:
        try:
            async with asyncio.timeout(silence_s):
                message = await socket.receive()
        except TimeoutError as error:
            raise Unreachable(asked, f"nothing came for {silence_s:g} s") from error
        if message.type is aiohttp.WSMsgType.ERROR:
            raise Unreachable(asked, f"the connection broke: {message.data}")
        if message.type not in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
            return
        data = message.data if isinstance(message.data, bytes) else message.data.encode()
        if len(data) > 1:  # one byte alone opens a channel and says nothing
            yield data[0], data[1:]
