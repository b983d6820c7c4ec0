"""What time alone brings about, in a pretended cluster whose controller looks after events and when it asked to.

Nothing here looks for the sake of looking: a transition whose moment no decision asked for would never come.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from splittraining.api.exit_codes import ExitCode
from splittraining.api.report import PartyState
from splittraining.plan.endings import PATIENCE
from splittraining.plan.observed import ObservedPod, Source
from splittraining.plan.reconcile import SOURCE_RETRY_S
from support.builders import a_vanilla_training
from support.observed import NOW, PARTIES, a_look
from support.world import World

DAY_S = 86400
LOST = {"code": 76, "reason": "PeerLost", "message": "the connection to st-mary ended without a Goodbye."}


def a_world(**spec: object) -> World:
    look = replace(a_look(), participations=())
    for path, value in spec.items():
        look = look.with_spec(path.replace("__", "."), value)
    return World(look).live()


def a_running_world(**spec: object) -> World:
    world = a_world(**spec).start_pods().live()
    assert world.condition("Progressing").reason == "Running"
    return world


def jobs(world: World) -> list[str]:
    return [f"{job.party}/{job.attempt}" for job in world.look.jobs]


def all_jobs(attempt: int) -> list[str]:
    return [f"{party}/{attempt}" for party in PARTIES]


def seconds_to_next_attempt(world: World) -> float:
    assert world.status.next_attempt_time is not None
    return (world.status.next_attempt_time - world.now).total_seconds()


def test_a_training_at_rest_is_left_at_rest():
    for world in (a_running_world(), a_running_world(activeDeadlineSeconds=2 * DAY_S), a_world(suspend=True)):
        looks = world.num_looks
        world.live(DAY_S)
        assert world.num_looks == looks


def test_parties_that_do_not_come_are_released_at_the_ready_timeout_and_started_again_at_their_time():
    world = a_world().start_pods(reports=PartyState.CONNECTING).live(599)
    assert jobs(world) == all_jobs(1)
    world.live(1)
    assert jobs(world) == []
    seconds = seconds_to_next_attempt(world)
    assert seconds >= 120
    world.live(seconds - 1)
    assert (world.status.attempt, jobs(world)) == (1, [])
    world.live(1)
    assert (world.status.attempt, jobs(world)) == (2, all_jobs(2))
    world.live(600)
    assert jobs(world) == []


def test_the_ready_timeout_holds_for_a_controller_that_starts_anew_in_between():
    world = a_world().live(500)
    world.next_look_at, world.looked_at = None, None
    world.live(99)
    assert jobs(world) == all_jobs(1)
    assert jobs(world.live(1)) == []


def test_after_a_crash_all_are_started_over_when_the_pause_is_over():
    world = a_running_world().end_pod("st-mary", 139).live()
    assert jobs(world) == []
    seconds = seconds_to_next_attempt(world)
    assert seconds >= 10
    world.live(seconds - 1)
    assert jobs(world) == []
    assert jobs(world.live(1)) == all_jobs(2)


def test_a_pod_that_is_slow_to_end_holds_the_next_attempt_back_until_it_has_ended():
    world = a_running_world().end_pod("st-mary", 139).live()
    lingering = ObservedPod("st-luke-1-abcde", "uid-of-it", "st-luke", 1, "Running", is_deleting=True)
    world.look = replace(world.look, pods=(lingering,))
    looks = world.num_looks
    world.live(3600)
    assert (world.status.attempt, jobs(world)) == (1, [])
    assert world.num_looks <= looks + 2
    world.look = replace(world.look, pods=())
    assert jobs(world.live()) == all_jobs(2)


def test_a_loss_that_nobody_explains_starts_all_over_when_patience_is_over():
    world = a_running_world().end_pod("st-luke", ExitCode.PEER_LOST, words=LOST).live(PATIENCE.total_seconds() - 1)
    assert jobs(world) == all_jobs(1)
    world.live(1)
    assert jobs(world) == []
    assert world.condition("PartiesReady").reason == "Crashed"


def test_the_deadline_ends_a_running_training_to_the_second():
    world = a_running_world(activeDeadlineSeconds=3600).live(3599)
    assert world.condition("Failed").status == "False"
    world.live(1)
    assert world.condition("Failed").reason == "DeadlineExceeded"
    assert jobs(world) == []


def test_the_deadline_ends_a_training_that_waits_for_its_next_attempt():
    world = a_running_world(activeDeadlineSeconds=60, startup__retryPeriodSeconds=DAY_S)
    world.live(55).end_pod("st-mary", 139).live()
    assert seconds_to_next_attempt(world) > 5
    world.live(4)
    assert world.condition("Failed").status == "False"
    world.live(1)
    assert world.condition("Failed").reason == "DeadlineExceeded"
    assert (world.status.next_attempt_time, jobs(world)) == (None, [])
    writes = world.num_writes
    assert world.live(DAY_S).num_writes == writes


def test_a_deadline_that_is_set_while_it_runs_holds_at_once():
    world = a_running_world().live(100)
    world.look = world.look.with_spec("activeDeadlineSeconds", 120)
    world.live(19)
    assert world.condition("Failed").status == "False"
    assert world.live(1).condition("Failed").reason == "DeadlineExceeded"


def test_a_training_that_is_over_goes_when_its_time_has_come():
    world = a_running_world(ttlSecondsAfterFinished=3600).end_all_pods().live(3599)
    assert not world.is_deleted
    assert world.live(1).is_deleted


def test_a_training_without_a_time_to_go_stays():
    world = a_running_world().end_all_pods().live()
    looks = world.num_looks
    assert not world.live(365 * DAY_S).is_deleted
    assert world.num_looks == looks


def test_a_source_that_comes_later_is_found_though_nobody_tells():
    world = World(replace(a_look(), participations=(), source=Source(problem="ConfigMap xray-code is not there")))
    world.live(5)
    world.change_unseen(source=a_look().source).live(SOURCE_RETRY_S - 6)
    assert world.objects == {}
    assert jobs(world.live(1)) == all_jobs(1)


def test_a_source_that_comes_a_moment_after_its_training_is_found_at_once():
    young = a_vanilla_training().with_value("metadata.creationTimestamp", NOW.isoformat())
    missing = Source(problem="ConfigMap xray-code is not there")
    world = World(replace(a_look(), training=young, participations=(), source=missing))
    world.live(0.5)
    world.change_unseen(source=a_look().source)
    assert jobs(world.live(1)) == all_jobs(1)


def test_a_source_that_is_put_back_is_found_though_nobody_tells():
    world = a_running_world()
    world.look = replace(world.look, source=Source({"model.py": b"other\n"}))
    assert world.live().condition("Accepted").reason == "SourceMissing"
    world.change_unseen(source=a_look().source).live(SOURCE_RETRY_S)
    assert world.condition("Accepted").reason == "Accepted"


def test_suspending_is_over_when_the_last_pod_is_gone():
    world = a_running_world()
    world.look = world.look.with_spec("suspend", value=True)
    world.step()
    lingering = ObservedPod("st-luke-1-abcde", "uid-of-it", "st-luke", 1, "Running", is_deleting=True)
    world.look = replace(world.look, pods=(lingering,))
    assert world.live(3600).condition("Suspended").reason == "Suspending"
    world.look = replace(world.look, pods=())
    assert world.live().condition("Suspended").reason == "Suspended"


@pytest.mark.parametrize("early_s", [0.001, 0.4])
def test_a_look_that_comes_a_little_early_asks_for_the_rest(early_s: float):
    world = a_world().live(600 - early_s)
    looks = world.num_looks
    decision = world.step()
    assert decision.requeue_after_s == pytest.approx(early_s)
    assert world.num_looks == looks + 1
    world.now += timedelta(seconds=early_s)
    assert jobs(world.live()) == []
