"""What the API server says in its own words, in the words that decisions read."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from splittraining.controller.observe import (
    find_participation_images,
    find_participation_uids,
    find_pod_refusal,
    observe_job,
    observe_jobs,
    observe_pod,
    observe_pods,
    observe_source,
)
from support.api_objects import TRAINING_UID, make_child, make_job, make_participation, make_pod

PARTY = "st-mary"


def container(state: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "party", "state": state, **fields}]}


PODS = {
    "a pod that nobody has seen yet": ({}, {"phase": "Pending", "exit_code": None, "unschedulable_message": ""}),
    "a pod that no node takes": (
        {
            "phase": "Pending",
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
                }
            ],
        },
        {"unschedulable_message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."},
    ),
    "a pod that somebody holds back on purpose is not unschedulable": (
        {
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "x"}],
        },
        {"unschedulable_message": ""},
    ),
    "an image that cannot be pulled": (
        {"phase": "Pending", **container({"waiting": {"reason": "ImagePullBackOff", "message": "back-off"}})},
        {"waiting_reason": "ImagePullBackOff", "waiting_message": "back-off", "exit_code": None},
    ),
    "memory that ran out": (
        {
            "phase": "Failed",
            **container({"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-01T12:05:00Z"}}),
        },
        {
            "exit_code": 137,
            "end_reason": "OOMKilled",
            "ended_at": datetime(2026, 1, 1, 12, 5, tzinfo=UTC),
        },
    ),
    "an eviction": (
        {
            "phase": "Failed",
            "reason": "Evicted",
            "message": "The node was low on resource: memory.",
            "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}],
        },
        {"reason": "Evicted", "message": "The node was low on resource: memory.", "was_disrupted": True},
    ),
    "last words": (
        {"phase": "Failed", **container({"terminated": {"exitCode": 64, "message": '{"code":64}'}})},
        {"exit_code": 64, "last_words": '{"code":64}'},
    ),
    "a container that somebody's webhook has put first does not speak for the party": (
        {
            "phase": "Running",
            "containerStatuses": [
                {"name": "mesh", "state": {"terminated": {"exitCode": 1}}},
                {"name": "party", "state": {"running": {}}},
            ],
        },
        {"exit_code": None, "phase": "Running"},
    ),
}


@pytest.mark.parametrize("case", PODS)
def test_a_pod_is_seen_as(case: str) -> None:
    status, expected = PODS[case]
    seen = observe_pod(make_pod(PARTY, status))
    assert {name: getattr(seen, name) for name in expected} == expected


def test_a_pod_has_its_party_attempt_node_and_gpus() -> None:
    limits = {"nvidia.com/gpu": "2", "memory": "1Gi"}
    pod = make_pod(PARTY, nodeName="node-1", containers=[{"resources": {"limits": limits}}, {}])
    seen = observe_pod(pod)
    assert (seen.party, seen.attempt, seen.node, seen.num_gpus) == (PARTY, 1, "node-1", 2)


def test_pods_that_only_look_like_ours_are_not_seen() -> None:
    stranger = make_child("v1", "Pod", PARTY, name="stranger", owner=("Job", "another"), spec={}, status={})
    orphan = make_child("v1", "Pod", PARTY, name="orphan", spec={}, status={})
    (seen,) = observe_pods([stranger, make_pod(PARTY), orphan], job_uids=[f"job-{PARTY}"])
    assert seen.uid == f"pod-{PARTY}"


def test_of_two_pods_of_a_party_the_later_one_comes_last() -> None:
    earlier, later = make_pod(PARTY), make_pod(PARTY)
    later["metadata"] |= {"name": "later", "creationTimestamp": "2026-01-01T12:10:00Z"}
    assert [pod.name for pod in observe_pods([later, earlier], job_uids=[f"job-{PARTY}"])][-1] == "later"


def condition(kind: str, **fields: str) -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": "True", **fields}]}


JOBS = {
    "a Job that runs": ({}, {"has_failed": False, "has_succeeded": False}),
    "a Job that is complete": (condition("Complete"), {"has_succeeded": True, "has_failed": False}),
    "a Job that has failed": (
        condition("Failed", message="Container party failed with exit code 64"),
        {"has_failed": True, "failure_message": "Container party failed with exit code 64"},
    ),
    "a Job that will be failed once its pod has ended": (
        condition("FailureTarget", message="exit code 64"),
        {"has_failed": True, "failure_message": "exit code 64"},
    ),
    "a condition that does not hold says nothing": (
        {"conditions": [{"type": "Failed", "status": "False", "message": "no"}]},
        {"has_failed": False, "failure_message": ""},
    ),
}


@pytest.mark.parametrize("case", JOBS)
def test_a_job_is_seen_as(case: str) -> None:
    status, expected = JOBS[case]
    seen = observe_job(make_job(PARTY, **status))
    assert {name: getattr(seen, name) for name in expected} == expected


def test_a_job_that_is_going_says_so() -> None:
    job = make_job(PARTY)
    job["metadata"]["deletionTimestamp"] = "2026-01-01T12:10:00Z"
    assert observe_job(job).is_deleting


def test_jobs_of_others_are_not_seen() -> None:
    job = make_job(PARTY)
    assert observe_jobs([job], owner_uids=["another"], refused={}) == ()
    assert len(observe_jobs([job], owner_uids=[f"splitparticipation-{PARTY}"], refused={})) == 1


def test_only_participations_of_this_very_training_count() -> None:
    own, other, going = (make_participation(party) for party in ("st-mary", "st-luke", "server"))
    other["metadata"]["ownerReferences"][0]["uid"] = "an earlier training of that name"
    going["metadata"]["deletionTimestamp"] = "2026-01-01T12:10:00Z"
    assert find_participation_uids([own, other, going], training_uid=TRAINING_UID) == {
        "st-mary": "splitparticipation-st-mary"
    }


def test_what_a_participation_runs_is_its_own_spec_and_not_a_newer_operators_default() -> None:
    old, going = make_participation("st-mary"), make_participation("server")
    old["spec"]["image"] = going["spec"]["image"] = "registry.example/party:0.1.0"
    going["metadata"]["deletionTimestamp"] = "2026-01-01T12:10:00Z"
    assert find_participation_images([old, going], training_uid=TRAINING_UID) == {
        "st-mary": "registry.example/party:0.1.0"
    }


def event(message: str, *, at: str = "2026-01-01T12:00:00Z", reason: str = "FailedCreate") -> dict[str, Any]:
    return {"metadata": {}, "reason": reason, "message": message, "lastTimestamp": at}


REFUSALS = {
    "a quota": ('pods "x" is forbidden: exceeded quota: lab, requested: cpu=4', "Quota"),
    "a quota that wants limits": ('pods "x" is forbidden: failed quota: lab: must specify limits.cpu', "Quota"),
    "a limit range": ('pods "x" is forbidden: maximum memory usage per Container is 1Gi', "PodRefused"),
    "an admission webhook": ('admission webhook "policy" denied the request', "PodRefused"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_pod_was_refused_by(case: str) -> None:
    message, reason = REFUSALS[case]
    assert find_pod_refusal([event(message)]) == (reason, message)


def test_the_newest_refusal_counts_and_other_events_do_not() -> None:
    events = [
        event("exceeded quota: new", at="2026-01-01T12:05:00Z"),
        event("denied", at="2026-01-01T12:00:00Z"),
        event("Created pod", at="2026-01-01T13:00:00Z", reason="SuccessfulCreate"),
    ]
    assert find_pod_refusal(events) == ("Quota", "exceeded quota: new")
    assert find_pod_refusal([]) == ("", "")


def test_a_source_has_text_and_binary_files() -> None:
    encoded = base64.b64encode(b"\xff\x00").decode()
    config_map = {"data": {"model.py": "def build(): ...\n"}, "binaryData": {"table.bin": encoded}}
    seen = observe_source(config_map, name="xray-code", namespace="trial")
    assert seen.files == {"model.py": b"def build(): ...\n", "table.bin": b"\xff\x00"}
    assert not seen.problem


@pytest.mark.parametrize(("config_map", "words"), [(None, "is not in namespace 'trial'"), ({}, "holds no files")])
def test_a_source_that_cannot_be_used_says_why(config_map: dict[str, Any] | None, words: str) -> None:
    problem = observe_source(config_map, name="xray-code", namespace="trial").problem
    assert words in problem
    assert "xray-code" in problem
