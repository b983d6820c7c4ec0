"""The life of a training, decided look by look over a small pretended cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest

from splittraining.api.conditions import ALWAYS_PRESENT, AcceptedReason, ConditionStatus
from splittraining.api.exit_codes import ExitCode
from splittraining.api.report import Isolation, LinkBytes, Metric, PartyState
from splittraining.plan.observed import Refusal, Source
from splittraining.plan.reconcile import SOURCE_RETRY_S
from support.builders import a_vanilla_training
from support.observed import PARTIES, a_look
from support.world import World

RUNNING = {"round": 2, "rounds": 20, "step": 40, "steps": 400, "active_party": "st-mary"}


def jobs(world: World) -> list[str]:
    return [f"{job.party}/{job.attempt}" for job in world.look.jobs]


def a_started_world() -> World:
    world = World()
    world.settle()
    return world


def a_running_world() -> World:
    world = a_started_world().start_pods()
    world.settle()
    return world


def a_finished_world() -> World:
    world = a_running_world().end_all_pods()
    world.settle()
    return world


# --- acceptance -------------------------------------------------------------------------------------------------------


def test_all_conditions_are_there_after_the_first_look():
    world = World()
    world.step()
    assert [condition.type for condition in world.status.conditions] == [kind.value for kind in ALWAYS_PRESENT]
    assert world.condition("Accepted").status is ConditionStatus.TRUE
    assert world.condition("Progressing").reason == "Pending"


def test_a_party_in_another_namespace_is_refused_with_a_sentence():
    world = World(replace(a_look(), participations=()).with_spec("clients.1.namespace", "st-luke"))
    world.settle()
    accepted = world.condition("Accepted")
    assert (accepted.status, accepted.reason) == (ConditionStatus.FALSE, "NotSupported")
    assert "party st-luke is to run in namespace st-luke, the training is in trial" in accepted.message
    assert world.objects == {}
    assert [(event.kind, event.reason) for event in world.events] == [("Warning", "NotSupported")]


def test_what_this_version_does_not_run_is_refused():
    world = World(replace(a_look(), participations=()).with_spec("training.numerics.mode", "Fast"))
    world.settle()
    assert world.condition("Accepted").reason == "NotSupported"
    assert "Fast" in world.condition("Progressing").message


def test_a_missing_source_is_waited_for():
    world = World(replace(a_look(), participations=(), source=Source(problem="ConfigMap xray-code is not there")))
    decision = world.settle()
    assert world.condition("Accepted").reason == "SourceMissing"
    assert decision.requeue_after_s is not None
    world.look = replace(world.look, source=a_look().source)
    world.settle()
    assert world.condition("Accepted").status is ConditionStatus.TRUE
    assert len(world.look.jobs) == 3


def test_a_source_that_may_not_be_read_is_no_missing_one():
    problem = "namespace 'trial' does not let the operator in"
    source = Source(problem=problem, reason=AcceptedReason.NOT_INVITED)
    world = World(replace(a_look(), participations=(), source=source))
    decision = world.settle()
    accepted = world.condition("Accepted")
    assert (accepted.reason, accepted.message, world.status.reason) == ("NotInvited", problem, "NotInvited")
    assert decision.requeue_after_s == SOURCE_RETRY_S


def test_a_source_that_changes_after_acceptance_starts_nothing_new():
    world = a_running_world()
    world.look = replace(world.look, source=Source({"model.py": b"other\n"}))
    writes = world.num_writes
    world.step()
    assert "the source ConfigMap has changed" in world.condition("Accepted").message
    assert world.num_writes == writes + 1


def test_another_default_image_of_a_newer_operator_changes_nothing_under_way():
    world = World(replace(a_look(), participations=(), training=a_vanilla_training().without("spec.image")))
    world.settle()
    world.start_pods().settle()
    world.settings = replace(world.settings, party_image="registry.example/party:0.2.0")
    writes = world.num_writes
    world.settle()
    assert world.num_writes == writes


def test_an_object_of_somebody_else_is_told():
    world = World()
    world.step()
    world.look = replace(world.look, refusals=(Refusal("NameTaken", "Service x is somebody else's", "server"),))
    world.step()
    assert world.condition("Accepted").reason == "NameTaken"


def test_a_namespace_that_lets_nobody_in_is_told_and_forgotten_once_it_does():
    world = World()
    refusal = Refusal("NotInvited", "namespace 'trial' does not let the operator in", "server")
    world.look = replace(world.look, refusals=(refusal,))
    assert world.decide().status.reason == "NotInvited"
    accepted = next(each for each in world.decide().status.conditions if each.type == "Accepted")
    assert (accepted.status, accepted.reason, accepted.message) == ("False", "NotInvited", refusal.message)
    world.look = replace(world.look.with_status(world.decide().status), refusals=())
    world.settle()
    assert (world.condition("Accepted").reason, world.status.reason) == ("Accepted", "")


# --- the good way -----------------------------------------------------------------------------------------------------


def test_each_party_is_told_how_the_training_ends_and_nothing_of_others():
    world = World()
    world.settle()
    told = world.told["st-mary"].conditions
    assert [each.type for each in told] == ["Approved", "Suspended", "Complete", "Failed"]
    assert {each.message for each in told} == {""}
    times = {each.type: each.last_transition_time for each in world.status.conditions}
    assert {each.type: each.last_transition_time for each in told}.items() <= times.items()


def test_participations_come_first_then_their_objects_then_jobs():
    world = World()
    order = []
    for _ in range(5):
        before = set(world.objects)
        world.step()
        order.append({kind for kind, _ in set(world.objects) - before})
    assert order[0] == {"SplitParticipation"}
    assert "Job" not in order[1]
    assert {"ServiceAccount", "ConfigMap", "NetworkPolicy", "PersistentVolumeClaim"} <= order[1]
    assert order[2] == {"Job"}
    assert order[3] == order[4] == set()


def test_a_training_goes_from_pending_to_completed():
    world = a_started_world()
    assert world.condition("Progressing").reason == "Starting"
    assert world.status.parties_summary == "0/3"
    world.start_pods(reports=PartyState.CONNECTING)
    world.settle()
    assert world.condition("CertificatesReady").status is ConditionStatus.TRUE
    assert world.condition("PartiesReady").reason == "AwaitingParties"
    world.wait(5).start_pods()
    world.settle()
    assert world.condition("Progressing").reason == "Running"
    assert world.condition("PartiesReady").status is ConditionStatus.TRUE
    assert world.condition("NetworkIsolated").status is ConditionStatus.TRUE
    assert world.status.start_time is not None
    world.end_all_pods()
    world.settle()
    assert world.condition("Complete").status is ConditionStatus.TRUE
    assert world.condition("Failed").status is ConditionStatus.FALSE
    assert world.condition("Progressing").reason == "Completed"
    assert world.status.completion_time is not None
    assert len(world.look.jobs) == 3  # for their logs


def test_nothing_is_written_at_rest():
    for world in (a_started_world(), a_running_world(), a_finished_world()):
        before = world.num_writes
        world.wait(60).settle()
        assert world.num_writes == before


def test_transitions_are_told_once_as_events():
    world = a_finished_world()
    reasons = [event.reason for event in world.events]
    assert reasons == ["Accepted", "Starting", "PoliciesApplied", "AllReady", "Completed"] or sorted(reasons) == sorted(
        ["Accepted", "Starting", "PoliciesApplied", "AllReady", "Completed"]
    )


def test_progress_comes_from_the_server_and_bytes_from_every_party():
    world = a_running_world().wait(100)
    link = LinkBytes(peer="st-mary", payload_sent=1000, framing_sent=64, payload_received=2000)
    world.report("server", PartyState.TRAINING, metrics=(Metric(name="loss", value="0.5"),), links=(link,), **RUNNING)
    world.settle()
    status = world.status
    assert status.progress is not None
    assert (status.progress.round, status.progress.step, status.progress.percent) == (2, 40, 10)
    assert status.progress.eta_seconds == 900  # a tenth took 100 s
    assert (status.rounds_summary, status.progress_summary, status.eta_summary) == ("2/20", "10%", "15m")
    assert status.metrics[0].value == "0.5"
    assert (status.parties[0].bytes_sent, status.parties[0].bytes_received) == (1064, 2000)


def test_the_first_step_says_nothing_of_the_time_left():
    world = a_running_world().wait(100)
    world.report("server", PartyState.TRAINING, **(RUNNING | {"step": 1}))
    world.settle()
    assert world.status.progress is not None
    assert (world.status.progress.step, world.status.progress.eta_seconds) == (1, None)
    assert world.status.eta_summary == ""


def test_a_training_that_ended_while_no_operator_listened_is_told_whole():
    world = a_running_world().wait(100)
    world.report("server", PartyState.TRAINING, **RUNNING)
    world.settle()
    world.end_all_pods().settle()
    progress = world.status.progress
    assert progress is not None
    assert (progress.round, progress.step, progress.percent, progress.eta_seconds) == (20, 400, 100, 0)
    assert progress.active_party == ""
    assert (world.status.rounds_summary, world.status.progress_summary) == ("20/20", "100%")


def test_a_controller_that_starts_anew_keeps_what_the_status_knows():
    world = a_running_world().wait(100)
    world.report("server", PartyState.TRAINING, **RUNNING)
    world.settle()
    known = world.status
    world.look = replace(world.look, reports=())
    world.wait(3).settle()
    assert world.status == known


def test_a_network_that_enforces_nothing_is_told():
    world = a_started_world().start_pods()
    world.report("st-mary", PartyState.TRAINING, isolation=Isolation.OPEN)
    world.settle()
    isolated = world.condition("NetworkIsolated")
    assert (isolated.status, isolated.reason) == (ConditionStatus.FALSE, "NotEnforced")
    assert "st-mary" in isolated.message


def test_a_network_that_enforces_nothing_is_still_told_after_the_controller_started_anew():
    world = a_started_world().start_pods()
    for party in ("st-mary", "st-luke"):
        world.report(party, PartyState.TRAINING, isolation=Isolation.OPEN)
    world.settle()
    told, num_events = world.condition("NetworkIsolated"), len(world.events)
    assert told.reason == "NotEnforced"
    world.look = replace(world.look, reports=())
    world.settle()
    assert world.condition("NetworkIsolated") == told
    for party, isolation in (("server", Isolation.ISOLATED), ("st-mary", Isolation.OPEN)):
        world.report(party, PartyState.TRAINING, isolation=isolation)
        world.settle()
        assert world.condition("NetworkIsolated") == told
    world.report("st-mary", PartyState.TRAINING, isolation=Isolation.ISOLATED)
    world.report("st-luke", PartyState.TRAINING, isolation=Isolation.UNKNOWN)
    world.settle()
    assert world.condition("NetworkIsolated") == told
    assert len(world.events) == num_events
    world.report("st-luke", PartyState.TRAINING, isolation=Isolation.ISOLATED)
    world.settle()
    assert world.condition("NetworkIsolated").reason == "PoliciesApplied"


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_party_that_cannot_go_on_fails_the_training_and_releases_the_others():
    world = a_running_world()
    world.end_pod("st-luke", ExitCode.DATA_INVALID, words={"code": 65, "reason": "DataInvalid", "message": "no row."})
    world.settle()
    failed = world.condition("Failed")
    assert (failed.status, failed.reason, failed.message) == (ConditionStatus.TRUE, "DataInvalid", "st-luke: no row.")
    assert world.status.reason == "DataInvalid"
    assert jobs(world) == ["st-luke/1"]  # its logs stay
    assert next(party.message for party in world.status.parties if party.name == "st-luke") == "no row."


def test_a_crash_starts_everybody_over_from_round_1():
    world = a_running_world()
    world.report("server", PartyState.TRAINING, **RUNNING)
    world.settle()
    world.end_pod("st-mary", 139)
    world.settle()
    assert jobs(world) == []
    assert world.condition("PartiesReady").reason == "Crashed"
    assert "started over from round 1" in world.condition("Progressing").message
    assert world.status.progress is None
    world.wait(60).settle()
    assert jobs(world) == ["server/2", "st-mary/2", "st-luke/2"]
    assert [party.restarts for party in world.status.parties] == [0, 1, 0]
    assert world.condition("Progressing").reason == "Starting"


def test_a_new_attempt_shows_nothing_of_the_one_before_but_the_restarts():
    world = a_running_world()
    world.report("server", PartyState.TRAINING, **RUNNING, samples=320, device="cpu")
    world.settle()
    assert world.status.parties[0].step > 0
    world.end_pod("st-mary", 139)
    world.settle()
    world.wait(60).settle()
    assert {(party.step, party.round, party.samples, party.device) for party in world.status.parties} == {(0, 0, 0, "")}
    assert [party.restarts for party in world.status.parties] == [0, 1, 0]
    assert world.status.metrics == ()


def test_a_party_that_crashes_for_ever_fails_the_training():
    world = World(replace(a_look(), participations=()).with_spec("faultTolerance.maxRestartsPerParty", 2))
    world.settle()
    for _ in range(3):
        world.start_pods()
        world.settle()
        world.end_pod("st-mary", 139)
        world.settle()
        world.wait(3600).settle()
    assert world.condition("Failed").reason == "TooManyRestarts"
    assert world.status.attempt == 3


def test_parties_that_do_not_all_come_are_all_released_and_tried_again():
    world = a_started_world()
    for party in ("server", "st-mary"):
        world.look = world.look.with_pod(party)
        world.report(party, PartyState.CONNECTING)
    world.look = world.look.with_pod("st-luke", phase="Pending", unschedulable_message="3 Insufficient nvidia.com/gpu.")
    world.settle()
    ready = world.condition("PartiesReady")
    assert ready.reason == "Unschedulable"
    assert ready.message.startswith("st-luke: no node takes its pod: 3 Insufficient nvidia.com/gpu.")
    assert world.status.reason == "Unschedulable"
    world.wait(600).settle()
    assert jobs(world) == []
    assert world.condition("PartiesReady").reason == "Unschedulable"
    assert "within 600 s" in world.condition("PartiesReady").message
    world.wait(600).settle()
    assert jobs(world) == ["server/2", "st-mary/2", "st-luke/2"]
    assert [party.restarts for party in world.status.parties] == [0, 0, 0]


def test_a_running_training_is_not_ended_by_the_ready_timeout():
    world = a_running_world().wait(3600)
    world.settle()
    assert world.condition("Progressing").reason == "Running"


def test_a_training_that_runs_too_long_fails():
    world = World(replace(a_look(), participations=()).with_spec("activeDeadlineSeconds", 3600))
    world.settle()
    world.start_pods().settle()
    world.wait(3599).settle()
    assert world.condition("Failed").status is ConditionStatus.FALSE
    world.wait(1).settle()
    assert world.condition("Failed").reason == "DeadlineExceeded"
    assert jobs(world) == []


# --- suspending, ending, deleting -------------------------------------------------------------------------------------


def test_suspending_releases_all_and_resuming_starts_over():
    world = a_running_world()
    volumes = {key for key in world.objects if key[0] == "PersistentVolumeClaim"}
    world.look = world.look.with_spec("suspend", value=True)
    world.settle()
    assert jobs(world) == []
    assert world.condition("Suspended").status is ConditionStatus.TRUE
    assert world.condition("Progressing").reason == "Suspended"
    assert volumes <= set(world.objects)
    world.look = world.look.with_spec("suspend", value=False)
    world.settle()
    assert world.condition("Suspended").status is ConditionStatus.FALSE
    assert jobs(world) == ["server/2", "st-mary/2", "st-luke/2"]


def test_a_training_that_begins_suspended_starts_nothing():
    world = World(replace(a_look(), participations=()).with_spec("suspend", value=True))
    world.settle()
    assert world.look.jobs == ()
    assert world.condition("Suspended").status is ConditionStatus.TRUE
    world.look = world.look.with_spec("suspend", value=False)
    world.settle()
    assert jobs(world) == ["server/1", "st-mary/1", "st-luke/1"]


def test_suspending_while_waiting_for_the_next_attempt_forgets_it():
    world = a_running_world().end_pod("st-mary", 139)
    world.settle()
    world.look = world.look.with_spec("suspend", value=True)
    world.settle()
    assert world.status.next_attempt_time is None
    world.look = world.look.with_spec("suspend", value=False)
    world.settle()
    assert jobs(world) == ["server/2", "st-mary/2", "st-luke/2"]


def test_a_finished_training_goes_when_its_time_has_come():
    world = World(replace(a_look(), participations=()).with_spec("ttlSecondsAfterFinished", 60))
    world.settle()
    world.start_pods().settle()
    world.end_all_pods().settle()
    decision = world.wait(59).settle()
    assert not world.is_deleted
    assert decision.requeue_after_s == 1
    world.wait(1).step()
    assert world.is_deleted


def test_a_training_that_is_being_deleted_is_left_alone():
    world = a_running_world()
    world.look = replace(
        world.look, training=world.look.training.with_value("metadata.deletionTimestamp", "2026-01-02T03:04:05Z")
    )
    before = world.num_writes
    world.settle()
    assert world.num_writes == before


# --- crashes of the controller ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("writes", range(1, 34))
def test_a_controller_that_dies_after_any_write_is_made_up_for(writes: int):
    undisturbed = World()
    undisturbed.settle()
    world = World()
    world.settle_whatever_crashes(after_writes=writes)
    assert world.objects == undisturbed.objects
    assert world.told == undisturbed.told
    assert world.status == undisturbed.status


@pytest.mark.parametrize("writes", range(1, 12))
@pytest.mark.parametrize("code", [65, 139], ids=["for good", "to start over"])
def test_a_controller_that_dies_while_it_ends_an_attempt_is_made_up_for(writes: int, code: int):
    undisturbed, world = a_running_world(), a_running_world()
    for each in (undisturbed, world):
        each.end_pod("st-mary", code)
    undisturbed.settle()
    world.settle_whatever_crashes(after_writes=writes)
    for each in (undisturbed, world):
        each.wait(600).settle()
    assert world.status == undisturbed.status
    assert world.told == undisturbed.told
    assert set(world.objects) == set(undisturbed.objects)
    assert jobs(world) == jobs(undisturbed)
    assert len(jobs(world)) == (1 if code == 65 else len(PARTIES))


# --- what the people of one party see ---------------------------------------------------------------------------------


def test_a_participation_tells_of_its_own_party_alone():
    world = a_running_world()
    told = world.told
    assert [told[party].state for party in PARTIES] == ["Ready"] * 3
    assert told["st-mary"].pod == "st-mary-1-abcde"
    world.end_pod("st-mary", ExitCode.DATA_INVALID, words={"code": 65, "reason": "DataInvalid", "message": "no row."})
    world.settle()
    assert (told["st-mary"].reason, told["st-mary"].message, told["st-mary"].state) == (
        "DataInvalid",
        "no row.",
        "Failed",
    )
    assert (told["st-luke"].reason, told["st-luke"].message) == ("", "")


def test_steps_and_bytes_do_not_move_a_participation():
    world = a_running_world()
    before = world.decide().participations
    world.wait(60).report("server", PartyState.TRAINING, **RUNNING)
    assert world.decide().participations == before
