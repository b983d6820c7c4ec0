"""The operator's own process before a real API server. There is no Jobs controller: pods are nobody's business here."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from splittraining.controller.process import EXIT_LEASE_LOST, EXIT_STOPPED
from support.builders import a_vanilla_training
from support.operators import OPERATORS

LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases/splittraining-controller"
TRAININGS = "/apis/splitlearning.dev/v1alpha1/namespaces/{}/splittrainings"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices/splittraining-reports"
BLACKHOLE_S = 60
Wait = Callable[..., Any]


def get_lease(place: Any) -> dict[str, Any]:
    return dict(place.server.get(LEASES.format(place.operators)).get("spec", {}))


def wait_for_renewals(place: Any, wait: Wait, number: int) -> None:
    """Waits until the Lease was renewed some times: then that much time of the leader's has passed."""
    for _ in range(number):
        seen = get_lease(place)["renewTime"]
        wait("a renewal of the Lease", lambda seen=seen: get_lease(place)["renewTime"] != seen)


def list_told_states(place: Any) -> list[str]:
    """Returns what the participations say of their parties."""
    children = place.list_children()
    return [obj.get("status", {}).get("state", "") for (kind, _), obj in children.items() if "Participation" in kind]


@pytest.mark.xdist_group("patient")
def test_a_training_gets_its_objects_and_then_nothing_is_written_any_more(place: Any, wait: Wait) -> None:
    operator = place.start()
    wait("a ready operator", operator.is_ready)
    place.apply_training()
    place.wait_for_children()
    wait("the state", lambda: place.get_state() == "Starting")
    wait("what each institution is told", lambda: list_told_states(place) == ["Starting"] * 3)
    wait_for_renewals(place, wait, 3)
    children, written = place.list_children(), place.list_writes()
    once = [write for write in written if "patch splittrainings/status" not in write]
    assert len(once) == len(set(once))
    assert len(written) - len(once) <= 4, "the status is written on transitions only"
    wait_for_renewals(place, wait, 200)  # a minute
    assert place.list_writes() == written
    assert place.list_children() == children


def test_a_restart_writes_nothing_that_is_there_already(place: Any, wait: Wait) -> None:
    first = place.start()
    place.apply_training()
    place.wait_for_children()
    wait("the state", lambda: place.get_state() == "Starting")
    wait("what each institution is told", lambda: list_told_states(place) == ["Starting"] * 3)
    children = place.list_children()
    assert first.stop() == EXIT_STOPPED
    assert get_lease(place)["holderIdentity"] == ""
    written = place.list_writes()
    second = place.start("operator-b", SPLITTRAINING_INTAKE_PORT=str(first.intake_port))
    wait("the next leader", second.is_leading)
    wait_for_renewals(place, wait, 10)
    more = place.list_writes()[len(written) :]
    assert more == ["patch endpointslices splittraining-reports"], "the leader's address is another one"
    assert place.list_children() == children


def test_what_is_removed_by_hand_comes_back(place: Any, wait: Wait) -> None:
    place.start()
    place.apply_training()
    children = place.wait_for_children()
    name = next(name for kind, name in children if kind == "NetworkPolicy")
    path = f"/apis/networking.k8s.io/v1/namespaces/{place.namespace}/networkpolicies/{name}"
    uid = place.server.get(path)["metadata"]["uid"]
    assert place.server.call("DELETE", path)[0] == 200
    wait("a new policy", lambda: place.server.get(path).get("metadata", {}).get("uid", uid) != uid)


def test_a_policy_that_was_opened_by_hand_is_closed_again(place: Any, wait: Wait) -> None:
    place.start()
    place.apply_training()
    children = place.wait_for_children()
    name = next(name for kind, name in children if kind == "NetworkPolicy")
    path = f"/apis/networking.k8s.io/v1/namespaces/{place.namespace}/networkpolicies/{name}"
    before = place.server.get(path)["spec"]
    opened = {"spec": {"ingress": [{}]}}
    assert place.server.call("PATCH", path, opened, content_type="application/merge-patch+json")[0] == 200
    wait("the policy as it was", lambda: place.server.get(path)["spec"] == before)


def test_somebody_elses_object_is_never_adopted(place: Any, wait: Wait) -> None:
    operator = place.start()
    wait("a ready operator", operator.is_ready)
    training = place.apply_training()
    children = place.wait_for_children()
    assert operator.stop() == EXIT_STOPPED
    (name,) = (name for kind, name in children if kind == "Service")
    path = f"/api/v1/namespaces/{place.namespace}/services/{name}"
    place.server.call("DELETE", path)
    foreign = {"metadata": {"name": name}, "spec": {"ports": [{"port": 1}]}}
    uid = place.server.create(f"/api/v1/namespaces/{place.namespace}/services", foreign)["metadata"]["uid"]
    place.start("operator-b")

    def find_refusal() -> Any:
        conditions = place.get_training().get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["reason"] == "NameTaken"), None)

    refusal = wait("a refusal", find_refusal)
    assert name in refusal["message"] or "belongs to" in refusal["message"]
    kept = place.server.get(path)
    assert (kept["metadata"]["uid"], kept["metadata"].get("labels")) == (uid, None)
    assert place.get_training()["metadata"]["uid"] == training["metadata"]["uid"]


def test_a_value_that_only_the_api_server_refuses_is_told_by_name(place: Any, wait: Wait) -> None:
    place.start()
    toleration = {"key": "nvidia.com/gpu", "operator": "Exists", "value": "a100"}
    training = a_vanilla_training().with_value("metadata.namespace", place.namespace)
    training = training.with_value("spec.clients.0.pod", {"tolerations": [toleration]})
    place.server.create(TRAININGS.format(place.namespace), training.as_manifest())

    def find_refusal() -> Any:
        conditions = place.get_training().get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["reason"] == "ObjectInvalid"), None)

    refusal = wait("a refusal", find_refusal)
    assert (refusal["type"], refusal["status"]) == ("Accepted", "False")
    assert "Job chest-xray-st-mary" in refusal["message"]
    assert "value must be empty" in refusal["message"]


def test_a_source_that_comes_later_lets_the_training_begin(place: Any, wait: Wait) -> None:
    path = f"/api/v1/namespaces/{place.namespace}/configmaps"
    place.server.call("DELETE", f"{path}/xray-code")
    place.start()
    place.apply_training()
    wait("the reason", lambda: "SourceMissing" in str(place.get_training().get("status")))
    assert place.list_children() == {}
    place.server.create(path, {"metadata": {"name": "xray-code"}, "data": {"model.py": "def build(): ...\n"}})
    place.wait_for_children()


def test_a_controller_that_dies_after_every_single_write_ends_where_an_undisturbed_one_does(
    place: Any, wait: Wait
) -> None:
    place.start("operator-a", DIE_AFTER_EVERY_WRITE="yes")
    place.apply_training()
    place.wait_for_children(patience_s=300)  # each of them by a process of its own, one after the other
    told = "what each institution is told"
    wait(told, lambda: list_told_states(place) == ["Starting"] * 3, patience_s=120)
    children = place.list_children()
    wait_for_renewals(place, wait, 20)
    assert place.list_children() == children
    owners = {place.get_training()["metadata"]["uid"]}
    owners |= {obj["metadata"]["uid"] for (kind, _), obj in children.items() if kind == "SplitParticipation"}
    for (kind, name), obj in children.items():
        references = obj["metadata"].get("ownerReferences", [])
        assert (kind == "PersistentVolumeClaim") == (not references), name
        assert {reference["uid"] for reference in references} <= owners
    assert len(place.list_writes()) >= len(children) + 2 + 3


def test_the_standby_takes_over_when_the_leader_is_killed_and_they_never_both_write(place: Any, wait: Wait) -> None:
    first = place.start("operator-a")
    wait("a leader", first.is_leading)
    second = place.start("operator-b")
    wait("a standby that is ready: it signs certificates", second.is_ready)
    assert not second.is_leading()
    place.apply_training("one")
    place.wait_for_children()
    assert place.list_writes(of="operator-b") == []
    first.process.send_signal(signal.SIGKILL)
    wait("the next leader", second.is_leading, patience_s=20)
    place.apply_training("two")
    wait("the second training", lambda: place.get_state("two") == "Starting")
    slice_ = place.server.get(SLICES.format(place.operators))
    assert slice_["endpoints"][0]["targetRef"]["name"] == "operator-b"


def test_a_leader_that_was_frozen_writes_nothing_after_it_wakes(place: Any, wait: Wait) -> None:
    first = place.start("operator-a")
    wait("a leader", first.is_leading)
    second = place.start("operator-b")
    wait("a standby", second.is_ready)
    first.freeze()
    wait("the next leader", second.is_leading, patience_s=20)
    place.apply_training()
    place.wait_for_children()
    written = place.list_writes(of="operator-a")
    first.thaw()
    assert first.process.wait(20) == EXIT_LEASE_LOST
    assert place.list_writes(of="operator-a") == written


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_operator_that_is_asked_to_stop_gives_the_lease_back(place: Any, wait: Wait, number: signal.Signals) -> None:
    operator = place.start()
    wait("a leader", operator.is_leading)
    operator.process.send_signal(number)
    assert operator.process.wait(20) == EXIT_STOPPED
    assert get_lease(place)["holderIdentity"] == ""


@pytest.mark.xdist_group("patient")
def test_when_nobody_answers_for_a_minute_the_leader_ends_and_the_standby_goes_on_afterwards(
    place: Any, wait: Wait
) -> None:
    first = place.start("operator-a")
    wait("a leader", first.is_leading)
    second = place.start("operator-b")
    wait("a standby", second.is_ready)
    place.apply_training("before")
    place.wait_for_children()
    wait("what each institution is told", lambda: list_told_states(place) == ["Starting"] * 3)
    children = place.list_children()
    place.server.freeze()
    try:
        silent_until_s = time.monotonic() + BLACKHOLE_S
        assert first.process.wait(20) == EXIT_LEASE_LOST
        with pytest.raises(subprocess.TimeoutExpired):
            second.process.wait(max(0.0, silent_until_s - time.monotonic()))
        assert second.fetch(second.probe_port, "/healthz") == (200, "ok\n")
        assert not second.is_leading()
    finally:
        place.server.thaw()
    wait("the next leader", second.is_leading, patience_s=30)
    place.apply_training("after")
    wait("all of both", lambda: len(place.list_children()) == 2 * len(children))
    after = place.list_children()
    assert {key: after[key]["metadata"]["uid"] for key in children} == {
        key: obj["metadata"]["uid"] for key, obj in children.items()
    }


def test_an_api_server_that_is_started_again_is_found_again(place: Any, wait: Wait) -> None:
    operators = [place.start(user) for user in OPERATORS]
    wait("a leader", lambda: any(each.is_leading() for each in operators))
    place.apply_training("before")
    children = place.wait_for_children()
    place.server.restart()

    def is_led() -> bool:
        # One that lost its Lease meanwhile has ended, as it must: whoever runs pods starts it again.
        for number, user in enumerate(OPERATORS):
            if operators[number].process.poll() is not None:
                operators[number] = place.start(user)
        return any(each.is_leading() for each in operators)

    wait("a leader again", is_led, patience_s=30)
    place.apply_training("after")
    wait("all of both", lambda: len(place.list_children()) == 2 * len(children))
    after = place.list_children()
    assert {key: after[key]["metadata"]["uid"] for key in children} == {
        key: obj["metadata"]["uid"] for key, obj in children.items()
    }


def test_a_training_that_is_deleted_is_forgotten(place: Any, wait: Wait) -> None:
    operator = place.start()
    wait("a leader", operator.is_leading)
    place.apply_training()
    place.wait_for_children()
    shown = 'splittraining_training_attempt{name="chest-xray"'
    wait("its metrics", lambda: shown in operator.fetch(operator.metrics_port, "/metrics")[1])
    path = f"/apis/splitlearning.dev/v1alpha1/namespaces/{place.namespace}/splittrainings/chest-xray"
    assert place.server.call("DELETE", path)[0] == 200
    wait("nothing of it", lambda: shown not in operator.fetch(operator.metrics_port, "/metrics")[1])


def test_the_same_name_made_anew_gets_objects_of_its_own(place: Any, wait: Wait) -> None:
    operator = place.start()
    wait("a leader", operator.is_leading)
    place.apply_training()
    place.wait_for_children()
    wait("what each institution is told", lambda: list_told_states(place) == ["Starting"] * 3)
    before = place.list_children()
    path = f"/apis/splitlearning.dev/v1alpha1/namespaces/{place.namespace}/splittrainings/chest-xray"
    assert place.server.call("DELETE", path)[0] == 200
    training = place.apply_training()
    kept = {key for key in before if key[0] == "PersistentVolumeClaim"}

    def has_only_new() -> bool:
        names = place.list_children().keys()
        return len(names) == len(before) + len(kept) and names & before.keys() == kept

    wait("children anew, and the volumes that outlive their training", has_only_new)
    new = [obj for key, obj in place.list_children().items() if key not in kept]
    assert {obj["metadata"]["labels"]["splitlearning.dev/training-uid"] for obj in new} == {training["metadata"]["uid"]}
