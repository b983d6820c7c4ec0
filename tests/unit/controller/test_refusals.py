"""What an API server refuses, said so that people know where and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from splittraining.cluster.errors import ApiError, build_error
from splittraining.cluster.resources import CONFIG_MAP, JOB
from splittraining.controller.execute import WriteRefused
from splittraining.controller.kube import Cluster
from splittraining.controller.metrics import Metrics
from splittraining.controller.state import State
from splittraining.plan.decision import Reference
from support.api_objects import NAMESPACE, TRAINING_UID, make_job
from support.clocks import ManualClock
from support.cluster_api import PretendedCluster, forbid

REFERENCE = Reference("batch/v1", "Job", NAMESPACE, "chest-xray-st-mary-1", "job-uid")


def make_cluster(client: PretendedCluster) -> Cluster:
    clock = ManualClock()
    state = State(wake=lambda _: None, monotonic_s=clock.monotonic_s)
    return Cluster(client, state, metrics=Metrics(), clock=clock.now, instance="controller-0")  # type: ignore[arg-type]


def read_source(cluster: Cluster) -> Awaitable[Any]:
    return cluster.get_config_map(NAMESPACE, "xray-code")


def apply_job(cluster: Cluster) -> Awaitable[Any]:
    return cluster.apply(make_job("st-mary"), owner_uids={TRAINING_UID}, existing=None)


def delete_job(cluster: Cluster) -> Awaitable[Any]:
    return cluster.delete(REFERENCE)


@pytest.mark.parametrize("call", [read_source, apply_job, delete_job])
def test_a_namespace_without_a_role_binding_is_named_with_the_remedy(call: Callable[[Cluster], Awaitable[Any]]) -> None:
    client = PretendedCluster()
    client.refuse("GET", CONFIG_MAP, forbid("get", "configmaps"))
    client.refuse("GET", JOB, forbid("get", "jobs", "batch"))
    client.refuse("DELETE", JOB, forbid("delete", "jobs", "batch"))
    with pytest.raises(WriteRefused) as caught:
        asyncio.run(call(make_cluster(client)))
    assert caught.value.reason == "NotInvited"
    assert f"namespace {NAMESPACE!r} does not let the operator in" in caught.value.message
    assert "make the RoleBinding there" in caught.value.message


def refuse(message: str, *causes: str) -> ApiError:
    details = {"causes": [{"reason": cause} for cause in causes]}
    return build_error("GET x", 403, {"message": message, "reason": "Forbidden", "details": details})


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (refuse("jobs is forbidden: exceeded quota: lab, requested: count/jobs.batch=1"), "Quota"),
        (refuse('admission webhook "policy.example" denied the request: no cost center'), "PodRefused"),
        (refuse("the namespace goes", "NamespaceTerminating"), "NamespaceTerminating"),
    ],
)
def test_a_refusal_of_another_kind_is_not_said_to_be_a_missing_invitation(error: ApiError, reason: str) -> None:
    client = PretendedCluster()
    client.refuse("GET", JOB, error)
    with pytest.raises(WriteRefused) as caught:
        asyncio.run(apply_job(make_cluster(client)))
    assert caught.value.reason == reason
