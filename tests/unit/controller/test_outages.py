"""What watches cannot tell: after an outage they show who is left. So what kopf lists once more is compared."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from splittraining.cluster.resources import JOB, POD, Resource
from splittraining.controller.relist import Demand, keep_comparing
from splittraining.controller.shell import build_handler
from support.api_objects import make_pod


@dataclass
class Listener:
    """Takes what a handler passes on."""

    taken: list[str] = field(default_factory=list)
    listed_again: list[Resource] = field(default_factory=list)

    def take_object(self, resource: Resource, obj: Mapping[str, Any]) -> None:
        assert resource is POD
        self.taken.append(obj["metadata"]["uid"])

    def take_deletion(self, resource: Resource, obj: Mapping[str, Any]) -> None:
        assert resource is POD
        self.taken.append(f"not {obj['metadata']['uid']}")

    def hear(self, *events: tuple[str | None, str]) -> Listener:
        handler = build_handler(self, POD, self.listed_again.append)
        for kind, party in events:
            asyncio.run(_call(handler, {"type": kind, "object": make_pod(party)}))
        return self


async def _call(handler: Any, event: Mapping[str, Any]) -> None:
    await handler(event=event, logger=None)


def test_a_first_list_and_what_comes_after_it_is_no_outage() -> None:
    listener = Listener().hear((None, "server"), (None, "st-mary"), ("ADDED", "st-luke"), ("MODIFIED", "server"))
    assert listener.listed_again == []
    assert listener.taken == ["pod-server", "pod-st-mary", "pod-st-luke", "pod-server"]


def test_a_known_object_in_a_list_means_that_the_kind_was_listed_again() -> None:
    for known in (None, "ADDED", "MODIFIED"):
        assert Listener().hear((known, "server"), (None, "server")).listed_again == [POD]


def test_an_object_that_was_deleted_in_between_is_a_new_one() -> None:
    listener = Listener().hear((None, "server"), ("DELETED", "server"), (None, "server"))
    assert listener.listed_again == []
    assert listener.taken == ["pod-server", "not pod-server", "pod-server"]


@dataclass
class Lister:
    """Lists kinds, and fails as often as it is told."""

    failures: int = 0
    listed: list[Resource] = field(default_factory=list)
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def list_into_state(self, resource: Resource) -> int:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("away")
        self.listed.append(resource)
        if resource is JOB:
            self.enough.set()
        return 2 if resource is POD else 0


def compare(lister: Lister) -> list[tuple[Resource, int]]:
    """Lets two kinds be asked for, one of them often, until both were listed."""
    missed: list[tuple[Resource, int]] = []

    async def run() -> None:
        demand = Demand()
        task = asyncio.create_task(
            keep_comparing(lister, demand, on_missed=lambda *what: missed.append(what), settling_s=0)
        )
        for resource in (POD, POD, POD, JOB):
            demand.ask(resource)
        await asyncio.wait_for(lister.enough.wait(), 10)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(run())
    return missed


def test_what_is_asked_for_often_is_listed_once() -> None:
    lister = Lister()
    assert compare(lister) == [(POD, 2)]
    assert lister.listed == [POD, JOB]


def test_a_list_that_fails_is_made_again() -> None:
    lister = Lister(failures=2)
    assert compare(lister) == [(POD, 2)]
    assert sorted(lister.listed, key=lambda resource: resource.kind) == [JOB, POD]
