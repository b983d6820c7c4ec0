"""Single calls and lists against a server on loopback that answers as it is told, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration

from splittraining.cluster.client import Client
from splittraining.cluster.errors import Gone, ServerFailed, TooManyRequests, Unreachable
from splittraining.cluster.resources import JOB

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ResultT = TypeVar("ResultT")
EXPIRED = {"kind": "Status", "code": 410, "reason": "Expired", "message": "the continue token is too old"}


def ask(handler: Handler, question: Callable[[Client], Awaitable[ResultT]], *, timeout_s: float = 10) -> ResultT:
    """Asks a server something and returns the answer."""

    async def run() -> ResultT:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        async with TestServer(app) as server:
            client = Client(ApiClient(Configuration(host=str(server.make_url("")).rstrip("/"))), timeout_s=timeout_s)
            try:
                return await question(client)
            finally:
                await client.close()

    return asyncio.run(run())


def get_job(client: Client) -> Awaitable[dict[str, Any]]:
    return client.get(JOB, "trial", "x")


def list_jobs(client: Client) -> Awaitable[tuple[list[dict[str, Any]], str]]:
    return client.list_all(JOB, namespace="trial")


class Pages:
    """A list of two pages, whose second one is too old as often as it is told."""

    def __init__(self, num_expired: int) -> None:
        self.num_expired = num_expired
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        token = request.query.get("continue", "")
        self.asked.append(token)
        if token and self.num_expired:
            self.num_expired -= 1
            return web.json_response(EXPIRED, status=410)
        metadata = {"resourceVersion": str(len(self.asked)), **({} if token else {"continue": "next"})}
        name = "second" if token else "first"
        return web.json_response({"metadata": metadata, "items": [{"metadata": {"name": name}}]})


@pytest.mark.parametrize(("num_expired", "asked"), [(0, ["", "next"]), (1, ["", "next"] * 2)])
def test_a_list_that_grew_too_old_is_begun_anew(num_expired: int, asked: list[str]) -> None:
    pages = Pages(num_expired)
    found, version = ask(pages.answer, list_jobs)
    assert [(each["kind"], each["metadata"]["name"]) for each in found] == [("Job", "first"), ("Job", "second")]
    assert version == str(len(asked) - 1), "what came after the first page, the list cannot know"
    assert pages.asked == asked


def test_a_list_that_grows_too_old_again_and_again_is_given_up() -> None:
    pages = Pages(9)
    with pytest.raises(Gone):
        ask(pages.answer, list_jobs)
    assert pages.asked == ["", "next"] * 2


@pytest.mark.parametrize(
    ("header", "pause_s"), [("7", 7.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), (None, None)], ids=str
)
def test_an_api_server_that_asks_for_patience_says_for_how_long(header: str | None, pause_s: float | None) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        headers = {"Retry-After": header} if header else {}
        return web.json_response({"message": "busy"}, status=429, headers=headers)

    with pytest.raises(TooManyRequests) as caught:
        ask(answer, get_job)
    assert caught.value.retry_after_s == pause_s


def test_a_proxys_page_is_an_error_with_its_own_words() -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=502, text="<html>bad gateway</html>", content_type="text/html")

    with pytest.raises(ServerFailed, match="bad gateway"):
        ask(answer, get_job)


def test_a_connection_on_which_nothing_comes_ends_in_time() -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
        ask(answer, get_job, timeout_s=0.2)


def test_an_answer_that_breaks_off_is_none() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"kind": "Job"')
        assert request.transport is not None
        request.transport.abort()
        return response

    with pytest.raises(Unreachable):
        ask(answer, get_job)
