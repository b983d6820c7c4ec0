"""Names of a party's objects: short enough for Kubernetes, and nobody else's."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from splittraining.api.names import build_audience, build_child_name, build_job_name
from splittraining.api.spec.types import NAME_LENGTH

NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True).filter(lambda name: len(name) <= NAME_LENGTH)
UIDS = st.uuids().map(str)


@given(training=NAMES, party=NAMES, uid=UIDS, attempt=st.integers(1, 10**9))
def test_names_are_dns_labels(training: str, party: str, uid: str, attempt: int):
    child = build_child_name(training, party, uid=uid)
    # The longest that is made of it: a copy of the source, a Job of the billionth attempt.
    for name in (child, f"{child}-source", build_job_name(child, attempt)):
        assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name), name


@given(training=NAMES, parties=st.tuples(NAMES, NAMES), uids=st.tuples(UIDS, UIDS))
def test_each_party_of_each_training_has_a_name_of_its_own(
    training: str, parties: tuple[str, str], uids: tuple[str, str]
):
    names = {build_child_name(training, party, uid=uid) for party in set(parties) for uid in set(uids)}
    assert len(names) == len(set(parties)) * len(set(uids))


@given(training=NAMES, party=NAMES, uid=UIDS, attempts=st.sets(st.integers(1, 10**9), min_size=2, max_size=3))
def test_each_attempt_has_a_job_of_its_own(training: str, party: str, uid: str, attempts: set[int]):
    child = build_child_name(training, party, uid=uid)
    assert len({build_job_name(child, attempt) for attempt in attempts}) == len(attempts)


@given(uids=st.tuples(UIDS, UIDS))
def test_a_token_for_one_participation_opens_no_door_of_another(uids: tuple[str, str]):
    assert (build_audience(uids[0]) == build_audience(uids[1])) == (uids[0] == uids[1])


def test_a_namesake_that_is_made_anew_has_other_names():
    assert build_child_name("chest-xray", "server", uid="1") != build_child_name("chest-xray", "server", uid="2")


def test_a_name_tells_whose_it_is():
    assert build_child_name("chest-xray", "st-mary", uid="1").startswith("chest-xray-st-mary-")
