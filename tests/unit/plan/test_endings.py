"""How an attempt ends, and whose fault it is said to be."""

from __future__ import annotations

from datetime import timedelta

import pytest

from splittraining.api.conditions import FailedReason, PartiesReadyReason
from splittraining.api.exit_codes import ExitCode
from splittraining.plan.endings import Ending, EndingKind, decide_ending, parse_last_words
from support.observed import NOW, PARTIES, LookBuilder, a_look

LOST = {"code": 76, "reason": "PeerLost", "message": "the connection to st-mary ended without a Goodbye."}


def decide(look: LookBuilder, *, after_s: float = 0) -> Ending | None:
    return decide_ending(look.build(), 1, PARTIES, now=NOW + timedelta(seconds=after_s))


def all_running() -> LookBuilder:
    return a_look().with_all_pods()


def test_running_parties_have_no_ending():
    assert decide(all_running()) is None


def test_a_training_without_jobs_has_no_ending():
    assert decide(a_look()) is None


def test_all_succeeded_is_complete():
    look = a_look()
    for party in PARTIES:
        look = look.with_job(party, has_succeeded=True).with_pod(party, exit_code=0)
    assert decide(look) == Ending(EndingKind.COMPLETE)


def test_some_succeeded_is_not_the_end():
    assert decide(all_running().with_job("st-mary", has_succeeded=True).with_pod("st-mary", exit_code=0)) is None


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (ExitCode.DATA_INVALID, FailedReason.DATA_INVALID),
        (ExitCode.MODEL_CODE, FailedReason.MODEL_CODE_FAILED),
        (ExitCode.DEVICE_UNAVAILABLE, FailedReason.DEVICE_UNAVAILABLE),
        (ExitCode.INTERNAL, FailedReason.INTERNAL_ERROR),
    ],
)
def test_what_trying_again_cannot_mend_fails_at_once_with_the_partys_own_words(code: ExitCode, reason: FailedReason):
    words = {"code": code, "reason": "x", "message": "column finding is not in train.npz."}
    ending = decide(all_running().with_pod("st-luke", exit_code=code, words=words))
    assert ending == Ending(EndingKind.FAIL, reason, "st-luke", "column finding is not in train.npz.")


def test_a_party_that_said_nothing_gets_the_remedy_of_its_exit_code():
    ending = decide(all_running().with_pod("st-luke", exit_code=ExitCode.STORAGE))
    assert ending is not None
    assert "Free space on the volume" in ending.message


def test_memory_above_the_containers_limit_fails_by_name():
    ending = decide(all_running().with_pod("st-mary", exit_code=137, end_reason="OOMKilled"))
    assert ending is not None
    assert (ending.kind, ending.reason, ending.party) == (EndingKind.FAIL, FailedReason.OUT_OF_MEMORY, "st-mary")


def test_the_cause_is_told_and_not_who_noticed_first():
    look = all_running().with_pod("server", exit_code=77, words={"code": 77, "reason": "PeerFailed", "message": "..."})
    look = look.with_pod("st-luke", exit_code=ExitCode.NUMERICS)
    ending = decide(look)
    assert ending is not None
    assert (ending.reason, ending.party) == (FailedReason.NUMERICS_INVALID, "st-luke")


def test_who_only_lost_another_is_waited_out_for_the_cause():
    look = all_running().with_pod("server", exit_code=76, words=LOST)
    assert decide(look, after_s=19) is None
    late = decide(look, after_s=20)
    assert late is not None
    assert (late.kind, late.party) == (EndingKind.START_OVER, "server")


def test_when_all_only_lost_each_other_nobody_is_waited_for():
    ending = decide(a_look().with_all_pods(exit_code=76, words=LOST))
    assert ending is not None
    assert ending.kind is EndingKind.START_OVER


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        pytest.param({"exit_code": 139}, PartiesReadyReason.CRASHED, id="a crash"),
        pytest.param({"exit_code": 137}, PartiesReadyReason.OUT_OF_MEMORY, id="killed from outside its container"),
        pytest.param({"exit_code": 75}, PartiesReadyReason.CRASHED, id="asked to stop"),
        pytest.param({"phase": "Failed", "reason": "Evicted"}, PartiesReadyReason.EVICTED, id="evicted"),
        pytest.param({"phase": "Failed", "reason": "NodeLost"}, PartiesReadyReason.NODE_LOST, id="a node lost"),
        pytest.param({"exit_code": 143, "was_disrupted": True}, PartiesReadyReason.EVICTED, id="drained"),
    ],
)
def test_what_trying_again_can_mend_starts_over(facts: dict[str, object], reason: PartiesReadyReason):
    ending = decide(all_running().with_pod("st-mary", **facts))
    assert ending is not None
    assert (ending.kind, ending.reason, ending.party) == (EndingKind.START_OVER, reason, "st-mary")


def test_a_failed_job_whose_pod_is_gone_starts_over():
    look = a_look().with_job("st-mary", has_failed=True, failure_message="Job has reached the specified backoff limit")
    ending = decide(look.with_pod("server").with_pod("st-luke"))
    assert ending is not None
    assert (ending.kind, ending.party) == (EndingKind.START_OVER, "st-mary")
    assert "backoff limit" in ending.message


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"code": "x", "reason": "", "message": ""}', '"text"'])
def test_what_is_no_termination_message_says_nothing(text: str):
    assert parse_last_words(text) is None
