"""Decisions carried out: in order, no more than needed, and never on what is somebody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from splittraining.api.base import compute_digest
from splittraining.api.names import APPLIED_DIGEST_ANNOTATION
from splittraining.api.participation import ParticipationStatus
from splittraining.api.resource import parse_split_training
from splittraining.api.status import Condition, Progress, SplitTrainingStatus
from splittraining.controller.execute import (
    CONFIRM_PERIOD_S,
    RETRY_REFUSED_S,
    Carried,
    Executor,
    Memory,
    Outdated,
    Scene,
    WriteRefused,
)
from splittraining.plan.decision import Decision, EventKind, Reference, TrainingEvent
from splittraining.plan.pace import QUIET_PERIOD_S
from support.api_objects import TRAINING_UID, make_child, make_job, make_participation, make_training
from support.clocks import START, ManualClock

JOB = Reference("batch/v1", "Job", "trial", "chest-xray-st-mary-1", "job-uid")
EVENT = TrainingEvent(EventKind.NORMAL, "Starting", "all parties are started")
WATCHED = ("SplitParticipation", "Job", "NetworkPolicy", "PersistentVolumeClaim")


@dataclass
class Scribe:
    """Writes down what was to be written, and refuses what it is told to."""

    done: list[tuple[str, str]] = field(default_factory=list)
    refusals: dict[str, WriteRefused] = field(default_factory=dict)
    is_outdated: bool = False
    failures: dict[str, Exception] = field(default_factory=dict)

    async def apply(
        self,
        manifest: dict[str, Any],
        *,
        owner_uids: Collection[str],  # noqa: ARG002 - whose it is, the real one must know
        existing: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        kind = manifest["kind"]
        if kind in self.refusals:
            self.done.append(("refused", kind))
            raise self.refusals[kind]
        if kind in self.failures:
            raise self.failures.pop(kind)
        self.done.append(("apply" if existing is None else "apply again", kind))
        return {**manifest, "metadata": {**manifest["metadata"], "uid": f"{kind}-uid", "generation": 2}}

    async def delete(self, reference: Reference) -> None:
        if reference.kind in self.refusals:
            raise self.refusals[reference.kind]
        self.done.append(("delete", reference.kind))

    async def write_status(self, seen: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        if self.is_outdated:
            raise Outdated
        if "status" in self.refusals:
            raise self.refusals["status"]
        if seen["kind"] == "SplitParticipation":
            self.done.append((f"status of {seen['spec']['party']}", status["state"]))
        else:
            self.done.append(("status", seen["metadata"]["resourceVersion"]))

    async def record(self, training: Mapping[str, Any], event: TrainingEvent) -> None:
        if "event" in self.failures:
            raise self.failures.pop("event")
        self.done.append(("event", f"{event.reason} at {training['metadata']['resourceVersion']}"))


@dataclass
class Bench:
    """An executor with one training before it."""

    old: SplitTrainingStatus | None = None
    known: list[dict[str, Any]] = field(default_factory=list)
    scribe: Scribe = field(default_factory=Scribe)
    clock: ManualClock = field(default_factory=ManualClock)
    memory: Memory = field(default_factory=Memory)

    def carry_out(self, decision: Decision) -> Carried:
        resource = make_training()
        training = parse_split_training(resource).model_copy(update={"status": self.old})
        known = {(obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"]): obj for obj in self.known}
        scene = Scene(
            resource, training, frozenset({TRAINING_UID, "splitparticipation-st-mary"}), lambda *place: known.get(place)
        )
        executor = Executor(self.scribe, watched_kinds=WATCHED, monotonic_s=self.clock.monotonic_s)
        self.scribe.done.clear()
        carried = asyncio.run(executor.carry_out(decision, scene, self.memory))
        if self.old is None or not carried.postponed_s:
            self.old = decision.status
        return carried

    @property
    def done(self) -> list[tuple[str, str]]:
        """What was done at the last look."""
        return self.scribe.done


def make_status(reason: str = "Starting", **fields: object) -> SplitTrainingStatus:
    condition = Condition(type="Progressing", status="True", reason=reason, last_transition_time=START)
    return SplitTrainingStatus.model_validate({"conditions": (condition,), **fields})


def make_manifest(kind: str = "NetworkPolicy", **spec: Any) -> dict[str, Any]:
    """Makes what a party is to have, as decisions name it."""
    if kind == "SplitParticipation":
        manifest = make_participation("st-mary")
    else:
        manifest = make_child("v1", kind, "st-mary", owner=("SplitParticipation", "splitparticipation-st-mary"))
    del manifest["metadata"]["uid"], manifest["metadata"]["creationTimestamp"]
    return {**manifest, "spec": {**manifest.get("spec", {}), **spec}}


def as_applied(manifest: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """Makes the object as it stands after its manifest was applied."""
    annotations = {APPLIED_DIGEST_ANNOTATION: compute_digest(manifest)}
    return {**manifest, "metadata": {**manifest["metadata"], "uid": "x", "annotations": annotations, **metadata}}


def test_the_status_comes_first_then_what_goes_then_what_comes_then_the_news() -> None:
    bench = Bench()
    bench.carry_out(Decision(make_status(), apply=(make_manifest(),), delete=(JOB,), events=(EVENT,)))
    assert bench.done == [("status", "7"), ("delete", "Job"), ("apply", "NetworkPolicy"), ("event", "Starting at 7")]


def test_where_somebody_wrote_in_between_nothing_is_done() -> None:
    bench = Bench(scribe=Scribe(is_outdated=True))
    with pytest.raises(Outdated):
        bench.carry_out(Decision(make_status(), apply=(make_manifest(),), delete=(JOB,), events=(EVENT,)))
    assert bench.done == []


def test_what_is_as_wanted_is_not_written_again() -> None:
    manifest = make_manifest()
    bench = Bench(old=make_status(), known=[as_applied(manifest)])
    assert bench.carry_out(Decision(make_status(), apply=(manifest,))) == Carried()
    assert bench.done == []


def test_what_is_wanted_otherwise_now_is_applied_to_the_object_that_is_there() -> None:
    bench = Bench(old=make_status(), known=[as_applied(make_manifest(port=1))])
    bench.carry_out(Decision(make_status(), apply=(make_manifest(port=2),)))
    assert bench.done == [("apply again", "NetworkPolicy")]


def test_what_somebody_changed_by_hand_is_put_right() -> None:
    manifest = make_manifest()
    bench = Bench(old=make_status(), known=[as_applied(manifest, generation=2)])
    decision = Decision(make_status(), apply=(manifest,))
    bench.carry_out(decision)
    assert bench.done == []
    bench.known = [as_applied(manifest, generation=3)]
    bench.carry_out(decision)
    assert bench.done == [("apply again", "NetworkPolicy")]


def test_what_vanished_is_made_again() -> None:
    manifest = make_manifest()
    bench = Bench(old=make_status(), known=[as_applied(manifest)])
    bench.known = []
    bench.carry_out(Decision(make_status(), apply=(manifest,)))
    assert bench.done == [("apply", "NetworkPolicy")]


def test_a_job_that_is_there_is_never_written_again() -> None:
    job = make_job("st-mary")
    bench = Bench(old=make_status(), known=[job])
    manifest = {**job, "spec": {"parallelism": 1}}
    bench.carry_out(Decision(make_status(), apply=(manifest,)))
    assert bench.done == []


def test_an_object_that_only_looks_like_ours_is_left_to_the_writer_to_look_at() -> None:
    manifest = make_manifest()
    foreign = as_applied(manifest)
    foreign["metadata"]["ownerReferences"] = [{"kind": "Deployment", "uid": "other", "controller": True}]
    bench = Bench(old=make_status(), known=[foreign])
    bench.carry_out(Decision(make_status(), apply=(manifest,)))
    assert bench.done == [("apply", "NetworkPolicy")]


def test_what_outlives_the_training_is_known_by_its_label() -> None:
    manifest = make_manifest("PersistentVolumeClaim")
    del manifest["metadata"]["ownerReferences"]
    bench = Bench(old=make_status(), known=[as_applied(manifest)])
    bench.carry_out(Decision(make_status(), apply=(manifest,)))
    assert bench.done == []


def test_what_is_not_watched_is_looked_at_now_and_then() -> None:
    decision = Decision(make_status(), apply=(make_manifest("ConfigMap"),))
    bench = Bench(old=make_status())
    bench.carry_out(decision)
    assert bench.done == [("apply", "ConfigMap")]
    bench.carry_out(decision)
    assert bench.done == []
    bench.clock.advance(CONFIRM_PERIOD_S)
    bench.carry_out(decision)
    assert bench.done == [("apply", "ConfigMap")]


NOT_INVITED = WriteRefused("NotInvited", "namespace 'trial' does not let the operator in")
TAKEN = WriteRefused("NameTaken", "somebody else's")


def test_a_refusal_is_remembered_and_tried_again_later() -> None:
    bench = Bench(old=make_status(), scribe=Scribe(refusals={"NetworkPolicy": TAKEN}))
    decision = Decision(make_status(), apply=(make_manifest(),))
    assert bench.carry_out(decision).news
    (refusal,) = bench.memory.refusals
    assert (refusal.reason, refusal.party) == ("NameTaken", "st-mary")
    assert not bench.carry_out(decision).news
    assert bench.done == []
    bench.clock.advance(RETRY_REFUSED_S)
    assert not bench.carry_out(decision).news
    assert bench.done == [("refused", "NetworkPolicy")]
    bench.scribe.refusals.clear()
    bench.clock.advance(RETRY_REFUSED_S)
    assert bench.carry_out(decision).news
    assert bench.memory.refusals == ()


def test_a_refusal_is_tried_again_soon_at_first_and_then_at_peoples_pace() -> None:
    bench = Bench(old=make_status(), scribe=Scribe(refusals={"NetworkPolicy": TAKEN}))
    decision = Decision(make_status(), apply=(make_manifest(),))
    pauses = []
    for _ in range(6):
        pause_s = bench.carry_out(decision).retry_s
        assert bench.done == [("refused", "NetworkPolicy")]
        assert pause_s is not None
        bench.clock.advance(pause_s)
        pauses.append(pause_s)
    assert pauses == [1, 2, 4, 8, 10, 10]


def test_one_refusal_does_not_keep_the_rest_back() -> None:
    bench = Bench(old=make_status(), scribe=Scribe(refusals={"NetworkPolicy": TAKEN}))
    bench.carry_out(Decision(make_status(), apply=(make_manifest(), make_manifest("Service"))))
    assert bench.done == [("refused", "NetworkPolicy"), ("apply", "Service")]


def test_no_job_is_made_while_anything_else_is_refused() -> None:
    job = {**make_job("st-mary"), "spec": {}}
    decision = Decision(make_status(), apply=(make_manifest(), make_manifest("Service"), job))
    bench = Bench(old=make_status(), scribe=Scribe(refusals={"NetworkPolicy": TAKEN}))
    for _ in range(2):
        bench.carry_out(decision)
        assert "Job" not in {kind for _, kind in bench.done}
    bench.scribe.refusals.clear()
    bench.clock.advance(RETRY_REFUSED_S)
    bench.carry_out(decision)
    assert bench.done[0] == ("apply", "NetworkPolicy")
    assert bench.done[-1] == ("apply", "Job")


def test_a_job_that_is_refused_holds_back_no_other() -> None:
    jobs = tuple({**make_job(party), "spec": {}} for party in ("st-mary", "st-luke"))
    bench = Bench(old=make_status(), scribe=Scribe(refusals={"Job": WriteRefused("Quota", "exceeded quota")}))
    bench.carry_out(Decision(make_status(), apply=jobs))
    assert bench.done == [("refused", "Job")] * 2


def test_a_namespace_that_lets_nobody_in_is_asked_once() -> None:
    bench = Bench(old=make_status(), scribe=Scribe(refusals={"NetworkPolicy": NOT_INVITED}))
    bench.carry_out(Decision(make_status(), apply=(make_manifest(), make_manifest("Service"))))
    assert bench.done == [("refused", "NetworkPolicy")]
    assert len(bench.memory.refusals) == 1


def test_a_refusal_of_what_is_wanted_no_more_is_forgotten() -> None:
    bench = Bench(old=make_status(), scribe=Scribe(refusals={"NetworkPolicy": TAKEN}))
    bench.carry_out(Decision(make_status(), apply=(make_manifest(),)))
    assert bench.carry_out(Decision(make_status())).news
    assert bench.memory.refusals == ()


def test_progress_is_written_at_its_pace_and_a_transition_at_once() -> None:
    bench = Bench()
    bench.carry_out(Decision(make_status(progress=Progress(step=1))))
    bench.clock.advance(4)
    carried = bench.carry_out(Decision(make_status(progress=Progress(step=2)), events=(EVENT,)))
    assert (bench.done, carried.postponed_s) == ([], QUIET_PERIOD_S - 4)
    bench.carry_out(Decision(make_status("Running", progress=Progress(step=3))))
    assert bench.done == [("status", "7")]
    bench.clock.advance(QUIET_PERIOD_S)
    bench.carry_out(Decision(make_status("Running", progress=Progress(step=4))))
    assert bench.done == [("status", "7")]


def test_the_first_trained_step_is_told_at_once() -> None:
    bench = Bench()
    for progress in (None, Progress(round=1, steps=9), Progress(round=1, step=1, steps=9)):
        bench.clock.advance(QUIET_PERIOD_S / 4)
        carried = bench.carry_out(Decision(make_status(progress=progress)))
    assert (bench.done, carried.postponed_s) == ([("status", "7")], None)
    carried = bench.carry_out(Decision(make_status(progress=Progress(round=1, step=2, steps=9))))
    assert (bench.done, carried.postponed_s) == ([], QUIET_PERIOD_S)


def test_a_status_that_says_the_same_is_not_written() -> None:
    bench = Bench(old=make_status())
    assert bench.carry_out(Decision(make_status())) == Carried()
    assert bench.done == []


# --- news, and what the people of each party see ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["NetworkPolicy", "event"])
def test_an_event_that_could_not_be_told_is_told_at_the_next_look(kind: str) -> None:
    bench = Bench(scribe=Scribe(failures={kind: RuntimeError("the API server failed")}))
    decision = Decision(make_status(), apply=(make_manifest(),), events=(EVENT,))
    with pytest.raises(RuntimeError):
        bench.carry_out(decision)
    bench.old = decision.status  # it was written before
    again = Decision(make_status(), apply=(make_manifest(),))
    bench.carry_out(again)
    assert bench.done[-1] == ("event", "Starting at 7")
    bench.carry_out(again)
    assert not [what for what, _ in bench.done if what == "event"]


def make_told(party: str = "st-mary", **fields: Any) -> dict[str, Any]:
    """Makes a participation as the API server returns it, with what its status says."""
    participation = make_participation(party)
    participation["metadata"]["generation"] = 3
    return {**participation, "status": {"observedGeneration": 3, **fields}} if fields else participation


TELLING = Decision(make_status(), participations={"st-mary": ParticipationStatus(state="Starting", attempt=1)})


def test_a_participations_status_is_written_last() -> None:
    bench = Bench(known=[make_told()])
    bench.carry_out(replace(TELLING, apply=(make_manifest(),), events=(EVENT,)))
    assert [what for what, _ in bench.done] == ["status", "apply", "event", "status of st-mary"]


@pytest.mark.parametrize(
    ("known", "is_written"),
    [
        (make_told(), True),
        (make_told(state="Starting", attempt=1), False),
        (make_told(state="Starting", attempt=1, node="node-1"), True),
        (make_told(state="Starting", attempt=1, observedGeneration=2), True),
    ],
    ids=["none yet", "the same", "another one", "of an older spec"],
)
def test_a_participations_status_is_written_where_it_differs(known: dict[str, Any], *, is_written: bool) -> None:
    bench = Bench(old=make_status(), known=[known])
    bench.carry_out(TELLING)
    assert bench.done == ([("status of st-mary", "Starting")] if is_written else [])


def test_a_participation_that_is_not_there_or_not_ours_is_told_nothing() -> None:
    foreign = make_told()
    foreign["metadata"]["ownerReferences"][0]["uid"] = "of a namesake"
    going = make_told()
    going["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:01Z"
    for known in ([], [foreign], [going]):
        bench = Bench(old=make_status(), known=known)
        bench.carry_out(TELLING)
        assert bench.done == []


def test_a_participation_that_changed_in_between_is_looked_at_again() -> None:
    bench = Bench(old=make_status(), known=[make_told()], scribe=Scribe(is_outdated=True))
    with pytest.raises(Outdated):
        bench.carry_out(TELLING)


@pytest.mark.parametrize("what", ["Job", "status"], ids=["a deletion", "what a participation is told"])
def test_what_a_namespace_refuses_is_told_and_does_not_keep_the_rest_back(what: str) -> None:
    bench = Bench(old=make_status(), known=[make_told()], scribe=Scribe(refusals={what: NOT_INVITED}))
    decision = replace(TELLING, apply=(make_manifest(),), delete=(JOB,))
    assert bench.carry_out(decision).news
    assert [refusal.reason for refusal in bench.memory.refusals] == ["NotInvited"]
    assert ("apply", "NetworkPolicy") in bench.done
    bench.scribe.refusals.clear()
    bench.carry_out(decision)
    assert len(bench.memory.refusals) == 1  # not asked again so soon
    bench.clock.advance(RETRY_REFUSED_S)
    assert bench.carry_out(decision).news
    assert bench.memory.refusals == ()
    assert {("delete", "Job"), ("status of st-mary", "Starting")} <= set(bench.done)
