"""A training's life on a real node: suspended and resumed, deleted in the middle, and made anew under the same name."""

from __future__ import annotations

import pytest

from cluster.client import find_condition, wait_until
from support.installation import FOR_A_WHILE, Installation, Room, begin_lasting, get_state, is_training, read_hospitals

KINDS = (
    "splitparticipations", "jobs", "pods", "services", "serviceaccounts", "configmaps", "networkpolicies",
    "persistentvolumeclaims",
)  # fmt: skip


def list_left(room: Room) -> set[str]:
    """Lists what is in the namespace, but for what Kubernetes and the user made."""
    names = room.kubectl("get", ",".join(KINDS), "-o", "name", "-l", "app.kubernetes.io/managed-by=splittraining")
    return set(names.split())


def test_suspending_ends_the_pods_and_keeps_the_volumes_and_resuming_starts_over(room: Room) -> None:
    name = begin_lasting(room)["metadata"]["name"]
    claims = {each for each in list_left(room) if each.startswith("persistentvolumeclaim")}
    room.kubectl("patch", "splittraining", name, "--type=merge", "-p", '{"spec":{"suspend":true}}')
    room.kubectl("wait", f"splittraining/{name}", "--for=condition=Suspended", "--timeout=60s")
    assert room.list_pods() == []
    assert {each for each in list_left(room) if each.startswith("persistentvolumeclaim")} == claims
    room.kubectl("patch", "splittraining", name, "--type=merge", "-p", '{"spec":{"suspend":false}}')
    training = room.wait_for(name, "a trained step", is_training)
    assert training["status"]["attempt"] == 2
    assert "begins at round 1" in find_condition(training, "CheckpointAvailable")["message"]


def test_deleting_in_the_middle_leaves_nothing_but_the_volumes(room: Room) -> None:
    name = begin_lasting(room)["metadata"]["name"]
    room.kubectl("delete", "splittraining", name, "--wait=true")

    def is_clean() -> bool:
        return all(each.startswith("persistentvolumeclaim") for each in list_left(room))

    wait_until("nothing but volumes", is_clean)
    assert len(list_left(room)) == 3
    assert room.list_pods() == []


def test_the_same_name_at_once_is_another_training_and_gets_to_its_end(room: Room) -> None:
    name = begin_lasting(room)["metadata"]["name"]
    before = room.get(name)["metadata"]["uid"]
    room.kubectl("delete", "splittraining", name, "--wait=true")
    anew = read_hospitals(rounds=2)
    room.apply(anew.training)
    training = room.wait_for_state(name, "Completed", "Failed")
    assert get_state(training) == "Completed", training["status"]
    assert training["metadata"]["uid"] != before


@pytest.mark.alone
def test_a_namespace_goes_while_the_operator_is_away(installation: Installation) -> None:
    room = installation.make_room()
    begin_lasting(room)
    installation.scale(0)
    try:
        room.remove()
    finally:
        installation.scale(2)


def test_a_deadline_ends_a_training_and_its_time_to_live_removes_it(room: Room) -> None:
    hospitals = read_hospitals(rounds=FOR_A_WHILE)
    hospitals.spec.update(activeDeadlineSeconds=25, ttlSecondsAfterFinished=10)
    hospitals.begin(room)
    training = room.wait_for_state(hospitals.name, "Failed", patience_s=60)
    assert find_condition(training, "Failed")["reason"] == "DeadlineExceeded"
    wait_until("it is removed", lambda: not room.get(hospitals.name))


def test_a_killed_party_is_started_over_and_the_training_completes(room: Room) -> None:
    hospitals = read_hospitals(rounds=60)
    hospitals.begin(room)
    room.wait_for(hospitals.name, "a trained step", is_training)
    pod = room.list_pods(party="st-mary")[0]["metadata"]["name"]
    room.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
    training = room.wait_for_state(hospitals.name, "Completed", "Failed", patience_s=240)
    assert get_state(training) == "Completed", training["status"]
    assert training["status"]["attempt"] == 2
