"""An object that is not as it was seen: it is looked at anew, since its watch may be late or away."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from splittraining.api.names import TRAINING_UID_LABEL
from splittraining.cluster.errors import ApiError, Conflict, NotFound
from splittraining.cluster.resources import SERVICE, SPLIT_TRAINING, Resource
from splittraining.controller.execute import Outdated
from splittraining.controller.kube import Cluster
from splittraining.controller.metrics import Metrics
from splittraining.controller.state import State
from splittraining.controller.work_queue import Key
from support.api_objects import NAMESPACE, TRAINING_UID, make_child, make_training
from support.clocks import ManualClock
from support.cluster_api import forbid

KEY = Key(NAMESPACE, "chest-xray")


@dataclass
class Rival:
    """An API server at which somebody else has always just written; `now` is what is there."""

    now: dict[str, Any] | ApiError
    refusal: ApiError = field(default_factory=lambda: Conflict("PATCH /x", "409 the object has been modified"))
    calls: list[str] = field(default_factory=list)

    async def call(self, method: str, path: str, **_: object) -> dict[str, Any]:
        self.calls.append(f"{method} {path.rpartition('/')[2]}")
        raise self.refusal

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        self.calls.append(f"GET {name}")
        assert (bool(resource.kind), namespace) == (True, NAMESPACE)
        if isinstance(self.now, ApiError):
            raise self.now
        return self.now


def at(obj: dict[str, Any], version: int, **metadata: Any) -> dict[str, Any]:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version), **metadata}}


def write_status(rival: Rival) -> State:
    """Writes the status of a training that the state knows at version 5; returns the state."""
    clock = ManualClock()
    state = State(wake=lambda _: None, monotonic_s=clock.monotonic_s)
    state.take_object(SPLIT_TRAINING, at(make_training(), 5))
    cluster = Cluster(rival, state, metrics=Metrics(), clock=clock.now, instance="a")  # type: ignore[arg-type]
    seen = state.find_training(KEY)
    assert seen is not None
    with pytest.raises(Outdated):
        asyncio.run(cluster.write_status(seen, {"attempt": 1}))
    return state


def get_version(state: State) -> str:
    known = state.find_training(KEY)
    assert known is not None
    return str(known["metadata"]["resourceVersion"])


def test_what_is_there_now_is_known_before_the_next_look() -> None:
    rival = Rival(at(make_training(), 9))
    assert get_version(write_status(rival)) == "9"
    assert rival.calls == ["PATCH status", "GET chest-xray"]


@pytest.mark.parametrize("now", [NotFound("GET /x", "404"), forbid("get", "splittrainings", "splitlearning.dev")])
def test_what_is_gone_or_may_not_be_seen_is_left_to_the_watch(now: ApiError) -> None:
    assert get_version(write_status(Rival(now))) == "5"


def test_a_status_of_what_is_gone_is_no_error() -> None:
    gone = NotFound("PATCH /x", "404")
    assert get_version(write_status(Rival(gone, refusal=gone))) == "5"


def test_an_object_that_is_another_one_by_now_is_known_as_that_one() -> None:
    service = make_child("v1", "Service", "server", owner=("SplitParticipation", "splitparticipation-server"))
    clock = ManualClock()
    state = State(wake=lambda _: None, monotonic_s=clock.monotonic_s)
    state.take_object(SERVICE, at(service, 5))
    rival = Rival(at(service, 9, uid="of a namesake"))
    cluster = Cluster(rival, state, metrics=Metrics(), clock=clock.now, instance="a")  # type: ignore[arg-type]
    name = service["metadata"]["name"]
    manifest = {**service, "metadata": {**service["metadata"], "annotations": {}}}
    assert manifest["metadata"]["labels"][TRAINING_UID_LABEL] == TRAINING_UID
    with pytest.raises(Outdated):
        asyncio.run(cluster.apply(manifest, owner_uids=(), existing=state.find("Service", NAMESPACE, name)))
    known = state.find("Service", NAMESPACE, name)
    assert known is not None
    assert known["metadata"]["uid"] == "of a namesake"
