"""What is known of the cluster: news wakes the training it concerns, the same news twice does not."""

from __future__ import annotations

from typing import Any

import pytest

from splittraining.cluster.resources import POD, SPLIT_TRAINING
from splittraining.controller.state import State
from splittraining.controller.work_queue import Key
from support.api_objects import TRAINING_UID, make_pod, make_training
from support.clocks import ManualClock

KEY = Key("trial", "chest-xray")


class Watched:
    """A state with what it woke."""

    def __init__(self) -> None:
        self.woken: list[Key] = []
        self.clock = ManualClock()
        self.state = State(wake=self.woken.append, monotonic_s=self.clock.monotonic_s)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def at(obj: dict[str, Any], version: int) -> dict[str, Any]:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}


def test_a_training_is_found_by_key_and_by_uid(watched: Watched) -> None:
    watched.state.take_object(SPLIT_TRAINING, at(make_training(), 5))
    assert watched.state.find_key(TRAINING_UID) == KEY
    assert watched.state.find_training(KEY) == watched.state.find_training_by_uid(TRAINING_UID)
    assert watched.woken == [KEY]


def test_a_child_wakes_its_training_and_is_found_by_it(watched: Watched) -> None:
    watched.state.take_object(POD, at(make_pod("st-mary"), 5))
    assert watched.woken == [KEY]
    (pod,) = watched.state.list_children("Pod", TRAINING_UID)
    assert pod["metadata"]["uid"] == "pod-st-mary"


def test_what_is_known_already_wakes_nobody(watched: Watched) -> None:
    for version in (5, 5, 4):
        watched.state.take_object(POD, at(make_pod("st-mary"), version))
    assert watched.woken == [KEY]


def test_a_namesake_takes_the_place_of_a_training_that_is_gone(watched: Watched) -> None:
    watched.state.take_object(SPLIT_TRAINING, at(make_training(), 5))
    watched.state.take_deletion(SPLIT_TRAINING, at(make_training(), 6))
    watched.state.take_object(SPLIT_TRAINING, at(make_training(uid="another"), 7))
    assert watched.state.find_key(TRAINING_UID) is None
    assert watched.state.find_key("another") == KEY


def test_a_list_shows_what_vanished_while_nobody_watched(watched: Watched) -> None:
    watched.state.take_object(SPLIT_TRAINING, at(make_training(), 5))
    watched.woken.clear()
    assert watched.state.take_list(SPLIT_TRAINING, [], version="9") == 1
    assert watched.state.find_training(KEY) is None
    assert watched.state.find_key(TRAINING_UID) is None
    assert watched.woken == [KEY]


def test_a_list_without_news_wakes_nobody_and_counts_as_a_sign_of_life(watched: Watched) -> None:
    watched.state.take_object(SPLIT_TRAINING, at(make_training(), 5))
    watched.woken.clear()
    watched.clock.advance(100)
    assert watched.state.take_list(SPLIT_TRAINING, [at(make_training(), 5)], version="9") == 0
    assert watched.woken == []
    watched.clock.advance(3)
    assert watched.state.get_ages_s() == {"SplitTraining": 3}


def test_of_a_pod_only_what_is_read_is_kept(watched: Watched) -> None:
    pod = make_pod("st-mary", nodeName="node-1", containers=[{"image": "x", "resources": {"limits": {"a": "1"}}}])
    pod["metadata"]["managedFields"] = [{"manager": "kubelet"}]
    watched.state.take_object(POD, at(pod, 5))
    (kept,) = watched.state.list_children("Pod", TRAINING_UID)
    assert kept["spec"] == {"nodeName": "node-1", "containers": [{"resources": {"limits": {"a": "1"}}}]}
    assert "managedFields" not in kept["metadata"]
