"""Logs and commands as an API server streams them, over loopback: with refusals, breaks and silence."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import WSCloseCode, WSMsgType, web

from splittraining.cluster.client import connect
from splittraining.cluster.errors import Forbidden, Invalid, Unreachable
from splittraining.cluster.streams import STDERR, STDOUT, running_command, stream_log

POD = "/api/v1/namespaces/trial/pods/st-mary-1"


def write_kubeconfig(folder, port, **context):
    path = folder / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "mary", **context}}],
                "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "mary", "user": {"token": "secret"}}],
            }
        )
    )
    return str(path)


def ask(folder, path, handle, use, **context):
    """Serves one path on loopback while a client uses it; returns what the use returns."""

    async def run():
        application = web.Application()
        application.router.add_get(path, handle)
        runner = web.AppRunner(application, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        client = await connect(kubeconfig=write_kubeconfig(folder, port, **context))
        try:
            return await asyncio.wait_for(use(client), 20)
        finally:
            await client.close()
            await runner.cleanup()

    return asyncio.run(run())


async def read_log(client, **query):
    return [piece async for piece in stream_log(client, "trial", "st-mary-1", query=query, container="party")]


def test_a_log_comes_as_it_is_written_with_the_users_token(tmp_path):
    asked = []

    async def handle(request):
        asked.append((dict(request.query), request.headers["Authorization"]))
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (b"one\n", b"\xff two", b"\n"):
            await response.write(piece)
        return response

    pieces = ask(tmp_path, f"{POD}/log", handle, lambda client: read_log(client, follow="true"))
    assert b"".join(pieces) == b"one\n\xff two\n"
    assert asked == [({"follow": "true", "container": "party"}, "Bearer secret")]


def test_a_log_that_is_refused_is_an_error_by_name(tmp_path):
    async def handle(_):
        status = {"message": "container is waiting to start", "reason": "BadRequest"}
        return web.json_response(status, status=400)

    with pytest.raises(Invalid, match="400 container is waiting to start"):
        ask(tmp_path, f"{POD}/log", handle, read_log)


def test_a_log_that_breaks_is_no_log_that_ends(tmp_path):
    async def handle(request):
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"one\n")
        request.transport.abort()
        return response

    with pytest.raises(Unreachable):
        ask(tmp_path, f"{POD}/log", handle, read_log)


async def run_command(client, *, silence_s=10.0, most=100):
    taken = []
    async with running_command(
        client, "trial", "st-mary-1", ["python3", "-c", "x = 1 & 2"], container="reader", silence_s=silence_s
    ) as messages:
        async for message in messages:
            taken.append(message)
            if len(taken) == most:
                break
    return taken


def test_a_command_writes_to_two_channels_and_gets_its_words_unchanged(tmp_path):
    asked = []

    async def handle(request):
        asked.append((request.query.getall("command"), request.query["stdin"], request.headers["Authorization"]))
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        asked.append(socket.ws_protocol)
        for message in (b"\x01", b"\x01one", b"\x02oh", bytes([1, *range(256)])):
            await socket.send_bytes(message)
        await socket.close()
        return socket

    taken = ask(tmp_path, f"{POD}/exec", handle, run_command)
    assert taken == [(STDOUT, b"one"), (STDERR, b"oh"), (STDOUT, bytes(range(256)))]
    assert asked == [(["python3", "-c", "x = 1 & 2"], "true", "Bearer secret"), "v4.channel.k8s.io"]


def test_a_command_is_told_when_its_reader_has_gone(tmp_path):
    ended = []

    async def handle(request):
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        await socket.send_bytes(b"\x01all")
        ended.append((await socket.receive()).type)
        return socket

    assert ask(tmp_path, f"{POD}/exec", handle, lambda client: run_command(client, most=1)) == [(STDOUT, b"all")]
    assert ended == [WSMsgType.CLOSE]


def test_a_command_that_may_not_be_run_is_an_error_by_name(tmp_path):
    async def handle(_):
        return web.json_response({"message": "pods is forbidden"}, status=403)

    with pytest.raises(Forbidden, match=r"GET /api/v1/namespaces/trial/pods/st-mary-1/exec: 403"):
        ask(tmp_path, f"{POD}/exec", handle, run_command)


def test_silence_ends_a_command(tmp_path):
    async def handle(request):
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        await socket.receive()
        return socket

    with pytest.raises(Unreachable, match=r"nothing came for 0\.05 s"):
        ask(tmp_path, f"{POD}/exec", handle, lambda client: run_command(client, silence_s=0.05))


def test_a_connection_that_breaks_ends_the_messages_or_is_an_error(tmp_path):
    async def handle(request):
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        await socket.send_bytes(b"\x01one")
        await socket.close(code=WSCloseCode.INTERNAL_ERROR)
        return socket

    assert ask(tmp_path, f"{POD}/exec", handle, run_command) == [(STDOUT, b"one")]


@pytest.mark.parametrize(("context", "namespace"), [({"namespace": "trial"}, "trial"), ({}, "")])
def test_the_namespace_is_the_contexts(tmp_path, context, namespace):
    async def handle(_):
        return web.Response()

    async def use(client):
        return client.namespace

    assert ask(tmp_path, "/", handle, use, **context) == namespace
