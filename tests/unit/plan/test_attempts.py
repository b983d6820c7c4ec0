"""When the next try begins, and what the last one leaves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from splittraining.plan.attempts import compute_pause, compute_ready_end, is_released, list_releases
from support.observed import NOW, UID, a_look

STARTUP = a_look().build().training.spec.startup


@given(base_s=st.integers(1, 86400), uid=st.uuids().map(str), attempt=st.integers(1, 1000))
def test_a_pause_is_bounded_and_always_the_same(base_s: int, uid: str, attempt: int):
    pause = compute_pause(base_s, uid=uid, attempt=attempt)
    assert timedelta(seconds=base_s) <= pause <= timedelta(seconds=32 * base_s)
    assert pause == compute_pause(base_s, uid=uid, attempt=attempt)


def test_pauses_double_and_differ_between_trainings():
    assert compute_pause(120, uid=UID, attempt=3) >= timedelta(seconds=4 * 120)
    assert len({compute_pause(120, uid=f"{UID}-{number}", attempt=1) for number in range(20)}) > 10


def test_the_ready_timeout_runs_from_the_first_job():
    look = a_look().with_job("server", created_at=NOW - timedelta(seconds=600)).with_job("st-mary", created_at=NOW)
    jobs = look.build().jobs
    assert compute_ready_end(jobs, STARTUP) == NOW
    assert compute_ready_end((), STARTUP) is None


def test_jobs_are_released_once_and_ended_ones_may_stay():
    look = a_look().with_job("server").with_job("st-mary", has_failed=True).with_job("st-luke", is_deleting=True)
    observed = look.build()
    assert [reference.name for reference in list_releases(observed)] == ["server-1", "st-mary-1"]
    assert [reference.name for reference in list_releases(observed, keep_ended=True)] == ["server-1"]
    assert {reference.uid for reference in list_releases(observed)} == {"uid-server-1", "uid-st-mary-1"}


def test_released_means_that_no_job_and_no_living_pod_is_left():
    assert is_released(a_look().build())
    assert not is_released(a_look().with_job("server").build())
    assert not is_released(replace(a_look().with_pod("server"), jobs=()).build())
    assert is_released(replace(a_look().with_pod("server", exit_code=1), jobs=()).build())
