"""What goes wrong on a real node shows in the status within half a minute, with its own reason and a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from cluster.client import find_condition
from support.installation import Hospitals, Room, get_state, read_hospitals

WITHIN_S = 30.0
TOO_MANY_GPUS = 64


@dataclass(frozen=True)
class Trouble:
    """Something that goes wrong.

    Attributes:
        condition: Where it shows.
        reason: As which reason.
        words: What the sentence must hold.
        spoil: Makes it go wrong: changes the training, or the namespace.
        is_late: It shows in a party that has started, for which it imports PyTorch.
    """

    condition: str
    reason: str
    words: tuple[str, ...]
    spoil: Callable[[Hospitals, Room], None]
    is_late: bool = False


def name_an_image_that_is_nowhere(hospitals: Hospitals, _room: Room) -> None:
    hospitals.client("st-luke")["image"] = "registry.invalid/party:1"


def withhold_a_claim(hospitals: Hospitals, _room: Room) -> None:
    volume = hospitals.client("st-luke")["data"]["volume"]
    volume["persistentVolumeClaim"]["claimName"] = "not-there"


def ask_for_gpus(hospitals: Hospitals, _room: Room) -> None:
    hospitals.client("st-luke")["device"] = "CPU"
    hospitals.client("st-luke")["pod"] = {"resources": {"limits": {"nvidia.com/gpu": str(TOO_MANY_GPUS)}}}


def leave_no_room(_hospitals: Hospitals, room: Room) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small"},
        "spec": {"hard": {"pods": "2"}},
    }
    room.apply(quota)


def give_too_little_memory(hospitals: Hospitals, _room: Room) -> None:
    hospitals.client("st-luke")["pod"] = {"resources": {"limits": {"memory": "96Mi"}}}


def break_the_model(hospitals: Hospitals, _room: Room) -> None:
    source = hospitals.others[0]["data"]
    source["digits_model.py"] = source["digits_model.py"].replace(
        "return DigitsModel(width)", "raise OSError('no such weights')"
    )


def ask_for_a_gpu_that_has_no_cuda(hospitals: Hospitals, _room: Room) -> None:
    hospitals.client("st-luke")["pod"] = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}


def forget_the_source(hospitals: Hospitals, _room: Room) -> None:
    hospitals.spec["model"]["source"]["configMap"]["name"] = "not-there"


TROUBLES = {
    "an image that cannot be pulled": Trouble(
        "PartiesReady", "ImagePull", ("st-luke", "registry.invalid/party:1"), name_an_image_that_is_nowhere
    ),
    "a claim that is not there": Trouble("PartiesReady", "ClaimMissing", ("st-luke", "not-there"), withhold_a_claim),
    "more GPUs than there are": Trouble("PartiesReady", "Unschedulable", ("st-luke", "nvidia.com/gpu"), ask_for_gpus),
    "a quota that is used up": Trouble("PartiesReady", "Quota", ("small", "pods"), leave_no_room),
    "a limit of memory that is too low": Trouble(
        "Failed", "OutOfMemory", ("st-luke", "memory"), give_too_little_memory, is_late=True
    ),
    "a model whose code raises": Trouble("Failed", "ModelCodeFailed", ("OSError",), break_the_model, is_late=True),
    "a GPU without CUDA": Trouble(
        "Failed", "DeviceUnavailable", ("st-luke", "CUDA"), ask_for_a_gpu_that_has_no_cuda, is_late=True
    ),
    "a source that is not there": Trouble("Accepted", "SourceMissing", ("not-there",), forget_the_source),
}


@pytest.mark.parametrize(
    "trouble",
    [
        # How soon a late one shows is said of a node that does nothing else.
        pytest.param(trouble, id=name, marks=[pytest.mark.alone] if trouble.is_late else [])
        for name, trouble in TROUBLES.items()
    ],
)
def test_a_trouble_shows_with_its_own_reason(room: Room, trouble: Trouble) -> None:
    hospitals = read_hospitals()
    if trouble.is_late:
        hospitals.keep_only("st-luke")
    trouble.spoil(hospitals, room)
    hospitals.begin(room)

    def shows(seen: dict[str, Any]) -> bool:
        return find_condition(seen, trouble.condition).get("reason") == trouble.reason

    training = room.wait_for(hospitals.name, trouble.reason, shows, patience_s=WITHIN_S)
    message = find_condition(training, trouble.condition)["message"]
    assert all(word in message for word in trouble.words), message
    listed = room.kubectl("get", "splittrainings", hospitals.name, "-o", "wide")
    assert trouble.reason in listed or get_state(training) == trouble.reason, listed


def test_a_training_that_cannot_be_scheduled_gives_back_what_it_holds_and_tries_again(room: Room) -> None:
    hospitals = read_hospitals()
    ask_for_gpus(hospitals, room)
    hospitals.client("st-mary")["device"] = "CPU"
    hospitals.client("st-mary")["pod"] = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
    hospitals.spec["startup"] = {"readyTimeoutSeconds": 10, "retryPeriodSeconds": 5}
    hospitals.begin(room)
    room.wait_for(hospitals.name, "a first attempt", lambda seen: seen.get("status", {}).get("attempt") == 1)

    def holds_nothing(seen: dict[str, Any]) -> bool:
        return bool(seen["status"].get("nextAttemptTime")) and not room.list_pods()

    training = room.wait_for(hospitals.name, "its pods gone, and a time for the next", holds_nothing, patience_s=60)
    assert get_state(training) == "Pending"
    assert "st-luke" in find_condition(training, "Progressing")["message"]
    assert all(party.get("gpus", 0) == 0 for party in training["status"]["parties"])
    room.wait_for(hospitals.name, "a second attempt", lambda seen: seen["status"]["attempt"] == 2, patience_s=60)
