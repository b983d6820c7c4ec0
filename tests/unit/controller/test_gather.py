"""What is put together before a decision: from the store, and by live looks where the store cannot know."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from splittraining.api.resource import parse_split_training
from splittraining.controller.execute import WriteRefused
from splittraining.controller.gather import ASK_PERIOD_S, PODLESS_S, Gathered, Gatherer
from splittraining.plan.observed import Refusal
from support.api_objects import (
    CREATED,
    child_name,
    make_job,
    make_participation,
    make_pod,
    make_training,
)
from support.clocks import START

PARTIES = ("server", "st-mary", "st-luke")
FILES = {"model.py": "def build(): ...\n"}
DIGEST = "sha256:" + "0" * 64
QUOTA = {"metadata": {}, "reason": "FailedCreate", "message": "exceeded quota: lab", "lastTimestamp": CREATED}


@dataclass
class Surroundings:
    """A cluster of objects in memory; what is looked at live is written down."""

    objects: list[dict[str, Any]] = field(default_factory=list)
    config_maps: dict[str, dict[str, Any]] = field(default_factory=lambda: {"xray-code": {"data": FILES}})
    events: list[dict[str, Any]] = field(default_factory=list)
    refusal: WriteRefused | None = None
    looked: list[str] = field(default_factory=list)
    age_s: float = 60

    def find(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        wanted = kind, namespace, name
        found = (o for o in self.objects if (o["kind"], o["metadata"]["namespace"], o["metadata"]["name"]) == wanted)
        return next(found, None)

    def list_children(self, kind: str, training_uid: str) -> Sequence[dict[str, Any]]:
        assert training_uid
        return [obj for obj in self.objects if obj["kind"] == kind]

    async def get_config_map(self, namespace: str, name: str) -> dict[str, Any] | None:
        assert namespace == "trial"
        self.looked.append(name)
        if self.refusal:
            raise self.refusal
        return self.config_maps.get(name)

    async def list_events_of(self, obj: dict[str, Any]) -> Sequence[dict[str, Any]]:
        self.looked.append(f"events of {obj['metadata']['name']}")
        return self.events

    def gather(
        self, gatherer: Gatherer | None = None, *, age_s: float = 60, refusals: tuple[Refusal, ...] = (), **status: Any
    ) -> Gathered:
        resource = make_training(**status)
        self.looked.clear()
        given = gatherer or self.build(age_s=age_s)
        return asyncio.run(given.gather(resource, parse_split_training(resource), refusals))

    def build(self, *, age_s: float = 60) -> Gatherer:
        self.age_s = age_s
        return Gatherer(
            self,
            self,
            get_reports=lambda _: {},
            get_bundle_pem=lambda: "PEM",
            clock=lambda: START + timedelta(seconds=self.age_s),
        )


def test_children_are_followed_by_their_owners() -> None:
    stranger = make_pod("st-luke")
    stranger["metadata"]["ownerReferences"][0]["uid"] = "a Job of somebody else"
    around = Surroundings([*map(make_participation, PARTIES), make_job("st-mary"), make_pod("st-mary"), stranger])
    observed = around.gather().observed
    assert observed.participation_uids == {party: f"splitparticipation-{party}" for party in PARTIES}
    assert [job.party for job in observed.jobs] == ["st-mary"]
    assert [pod.party for pod in observed.pods] == ["st-mary"]
    assert observed.trust_bundle_pem == "PEM"


def test_a_job_without_a_pod_is_asked_after_some_seconds_why() -> None:
    around = Surroundings([make_participation("st-mary"), make_job("st-mary")], events=[QUOTA])
    early = around.gather(age_s=1)
    assert early.look_again_s == PODLESS_S - 1
    assert around.looked == ["xray-code"]
    late = around.gather(age_s=PODLESS_S)
    assert late.look_again_s == ASK_PERIOD_S
    (job,) = late.observed.jobs
    assert (job.refused_pod_reason, job.refused_pod_message) == ("Quota", "exceeded quota: lab")


def test_a_job_that_has_a_pod_or_has_ended_is_not_asked() -> None:
    ended = make_job("st-luke", conditions=[{"type": "Complete", "status": "True"}])
    participations = map(make_participation, ("st-mary", "st-luke"))
    around = Surroundings([*participations, make_job("st-mary"), make_pod("st-mary"), ended])
    around.gather()
    assert around.looked == ["xray-code"]


def test_before_the_contract_stands_the_original_counts() -> None:
    around = Surroundings()
    source = around.gather().observed.source
    assert source is not None
    assert source.files == {"model.py": b"def build(): ...\n"}


def test_once_it_stands_a_copy_counts_and_is_read_once() -> None:
    copy = f"{child_name('server')}-source"
    around = Surroundings(config_maps={copy: {"data": FILES}})
    gatherer = around.build()
    status = {"contractDigest": DIGEST}
    for looked in ([copy], []):
        source = around.gather(gatherer, **status).observed.source
        assert source is not None
        assert not source.problem
        assert around.looked == looked


def test_before_the_copies_are_made_the_original_is_looked_at_each_time() -> None:
    around = Surroundings()
    gatherer = around.build()
    for _ in range(2):
        around.gather(gatherer, contractDigest=DIGEST)
        assert around.looked == [f"{child_name('server')}-source", "xray-code"]


def test_a_source_that_may_not_be_read_says_so() -> None:
    around = Surroundings(refusal=WriteRefused("NotInvited", "namespace 'trial' does not let the operator in"))
    for status in ({}, {"contractDigest": DIGEST}):
        source = around.gather(**status).observed.source
        assert source is not None
        assert source.reason == "NotInvited"
        assert "does not let the operator in" in source.problem


def test_a_training_that_is_over_needs_no_source() -> None:
    complete = {"type": "Complete", "status": "True", "reason": "Completed", "lastTransitionTime": CREATED}
    around = Surroundings()
    assert around.gather(conditions=[complete]).observed.source is None
    assert around.looked == []


def test_refusals_of_the_last_try_are_part_of_what_is_known() -> None:
    refusal = Refusal("NameTaken", "somebody else's", "st-mary")
    assert Surroundings().gather(refusals=(refusal,)).observed.refusals == (refusal,)


def test_a_job_is_not_asked_at_every_look() -> None:
    around = Surroundings([make_participation("st-mary"), make_job("st-mary")], events=[QUOTA])
    gatherer = around.build()
    for age_s, looked, again_s in ((60, 1, ASK_PERIOD_S), (61, 0, ASK_PERIOD_S - 1), (60 + ASK_PERIOD_S, 1, 15)):
        around.age_s = age_s
        gathered = around.gather(gatherer)
        (job,) = gathered.observed.jobs
        assert job.refused_pod_reason == "Quota"
        assert sum("events of" in look for look in around.looked) == looked
        assert gathered.look_again_s == again_s
