"""A training's life on a real node: suspended and resumed, deleted in the middle, and made anew under the same name."""

from __future__ import annotations

from cluster.client import find_condition, wait_until
from support.installation import Room, begin_lasting, get_state, is_training, read_leisurely_hospitals

KINDS = (
    "splitparticipations", "jobs", "pods", "services", "serviceaccounts", "configmaps", "networkpolicies",
    "persistentvolumeclaims",
)  # fmt: skip


def list_left(room: Room) -> set[str]:
    """Lists what is in the namespace, but for what Kubernetes and the user made."""
    names = room.kubectl("get", ",".join(KINDS), "-o", "name", "-l", "app.kubernetes.io/managed-by=splittraining")
    return set(names.split())


def list_volumes(room: Room) -> set[str]:
    """Lists the volume claims among it."""
    return {each for each in list_left(room) if each.startswith("persistentvolumeclaim")}


def test_a_training_is_suspended_resumed_deleted_in_the_middle_made_anew_at_once_and_loses_a_party(room: Room) -> None:
    """One walk under one name, since every other step waits for pods: a training's life."""
    training = begin_lasting(room)
    name, uid = training["metadata"]["name"], training["metadata"]["uid"]
    volumes = list_volumes(room)
    assert len(volumes) == 2

    room.kubectl("patch", "splittraining", name, "--type=merge", "-p", '{"spec":{"suspend":true}}')
    room.kubectl("wait", f"splittraining/{name}", "--for=condition=Suspended", "--timeout=60s")
    assert room.list_pods() == []
    assert list_volumes(room) == volumes

    room.kubectl("patch", "splittraining", name, "--type=merge", "-p", '{"spec":{"suspend":false}}')
    training = room.wait_for(name, "a trained step", is_training)
    assert training["status"]["attempt"] == 2
    assert "begins at round 1" in find_condition(training, "CheckpointAvailable")["message"]

    room.kubectl("delete", "splittraining", name, "--wait=true")
    hospitals = read_leisurely_hospitals(rounds=2)
    hospitals.spec["startup"] = {"retryPeriodSeconds": 1}
    room.apply(hospitals.training)
    training = room.wait_for(name, "a trained step", is_training)
    assert training["metadata"]["uid"] != uid

    pod = room.list_pods(party="st-mary")[0]["metadata"]["name"]
    room.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
    training = room.wait_for_state(name, "Completed", "Failed", patience_s=240)
    assert get_state(training) == "Completed", training["status"]
    assert training["status"]["attempt"] == 2

    room.kubectl("delete", "splittraining", name, "--wait=true")
    wait_until("nothing but volumes", lambda: list_left(room) == list_volumes(room))
    assert room.list_pods() == []


def test_a_deadline_ends_a_training_and_its_time_to_live_removes_it(room: Room) -> None:
    training = begin_lasting(room)
    name = training["metadata"]["name"]
    room.kubectl(
        *("patch", "splittraining", name, "--type=merge", "-p"),
        '{"spec":{"activeDeadlineSeconds":1,"ttlSecondsAfterFinished":5}}',
    )
    training = room.wait_for_state(name, "Failed")
    assert find_condition(training, "Failed")["reason"] == "DeadlineExceeded"
    wait_until("it is removed", lambda: not room.get(name))
    assert room.list_pods() == []
