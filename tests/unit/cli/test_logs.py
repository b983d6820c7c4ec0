"""Logs of the parties' pods: in order, as they come, and what is said where they are gone."""

from __future__ import annotations

import asyncio
from io import StringIO

import pytest

from splittraining.api.names import ATTEMPT_LABEL
from splittraining.api.usage import UsageInvalid
from splittraining.cli.log_streams import MOST_LINE_BYTES, merge_by_time, split_lines
from splittraining.cli.logs_command import LogPrinter, follow_logs, show_logs
from splittraining.cli.trainings import choose_parties, parse_training
from splittraining.cluster.errors import Forbidden
from splittraining.cluster.resources import POD
from support.api_objects import NAMESPACE, make_pod, make_training
from support.cluster_api import PretendedCluster, forbid, iterate

STARTED = {"containerStatuses": [{"name": "party", "state": {"running": {}}}]}
OVER = {
    "conditions": [
        {
            "type": "Failed",
            "status": "True",
            "reason": "ModelCodeFailed",
            "lastTransitionTime": "2026-01-01T12:00:00Z",
        }
    ]
}


def pod_of(party, attempt=1, status=STARTED):
    pod = make_pod(party, status)
    pod["metadata"]["labels"][ATTEMPT_LABEL] = str(attempt)
    pod["metadata"]["name"] = f"{party}-{attempt}"
    return pod


def show(cluster, status, party="", attempt=None, *, is_tame=False):
    training = parse_training(make_training(**status))
    parties = choose_parties(training, party)
    output, notices = StringIO(), StringIO()
    printer = LogPrinter(output, parties, is_tame=is_tame)
    asyncio.run(show_logs(cluster, training, parties, printer, attempt=attempt, notices=notices))
    return output.getvalue().splitlines(), notices.getvalue().splitlines()


def test_lines_of_all_parties_come_in_the_order_of_their_times_behind_their_names():
    cluster = PretendedCluster(pod_of("server"), pod_of("st-mary"))
    cluster.logs = {
        "server-1": [b"2026-01-01T12:00:01.5Z one\n2026-01-01T12:00:03Z thr", b"ee\n"],
        "st-mary-1": [b"2026-01-01T12:00:01.500000001Z two\n2026-01-01T12:00:04Z four\n"],
    }
    lines, notices = show(cluster, {"attempt": 1})
    assert lines == ["server  | one", "st-mary | two", "server  | three", "st-mary | four"]
    assert notices == ["note: the pod of st-luke in attempt 1 is gone"]


def test_one_party_is_shown_without_its_name():
    cluster = PretendedCluster(pod_of("server"), pod_of("st-mary"))
    cluster.logs = {"server-1": [b"2026-01-01T12:00:01Z one\n"], "st-mary-1": [b"2026-01-01T12:00:02Z two\n"]}
    assert show(cluster, {"attempt": 1}, "st-mary") == (["two"], [])


def test_the_latest_attempt_is_shown_unless_another_one_is_asked_for():
    cluster = PretendedCluster(pod_of("server", 1), pod_of("server", 2))
    cluster.logs = {"server-1": [b"2026-01-01T12:00:01Z old\n"], "server-2": [b"2026-01-01T12:00:02Z new\n"]}
    assert show(cluster, {"attempt": 2}, "server")[0] == ["new"]
    assert show(cluster, {"attempt": 2}, "server", 1)[0] == ["old"]


def test_what_moves_a_cursor_is_written_out_on_a_terminal_and_kept_elsewhere():
    cluster = PretendedCluster(pod_of("server"))
    cluster.logs = {"server-1": [b"2026-01-01T12:00:01Z a\x1b]0;owned\x07\tb\n"]}
    assert show(cluster, {"attempt": 1}, "server", is_tame=True)[0] == ["a\\x1b]0;owned\\x07\tb"]
    assert show(cluster, {"attempt": 1}, "server")[0] == ["a\x1b]0;owned\x07\tb"]


def test_logs_of_pods_that_are_gone_are_said_to_be_on_the_volume():
    with pytest.raises(UsageInvalid) as refused:
        show(PretendedCluster(pod_of("st-mary", 1)), {"attempt": 2}, "st-mary")
    text = str(refused.value)
    assert "the pods of st-mary in attempt 2 are gone" in text
    assert "attempts whose pods are left: 1" in text
    assert "log.jsonl" in text
    assert "`kubectl splittraining fetch chest-xray st-mary`" in text


def test_before_the_first_attempt_status_is_pointed_to():
    with pytest.raises(UsageInvalid, match=r"was started yet.*kubectl splittraining status chest-xray"):
        show(PretendedCluster(), {})


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (
            {
                "containerStatuses": [
                    {"name": "party", "state": {"waiting": {"reason": "ErrImagePull", "message": "x"}}}
                ]
            },
            "ErrImagePull: x",
        ),
        (
            {
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no GPU"}
                ]
            },
            "Unschedulable: no GPU",
        ),
        ({"phase": "Pending"}, "Pending"),
    ],
)
def test_a_pod_that_has_not_started_is_told_with_what_it_waits_for(status, why):
    waiting = pod_of("st-mary", status=status)
    with pytest.raises(UsageInvalid, match=f"no pod of st-mary has started yet: st-mary: {why}"):
        show(PretendedCluster(waiting), {"attempt": 1}, "st-mary")
    cluster = PretendedCluster(waiting, pod_of("server"))
    assert f"note: the pod of st-mary in attempt 1 has not started: {why}" in show(cluster, {"attempt": 1})[1]


def test_a_missing_right_to_logs_is_no_empty_log():
    cluster = PretendedCluster(pod_of("server"))
    cluster.logs = {"server-1": forbid("get", "pods/log")}
    with pytest.raises(Forbidden):
        show(cluster, {"attempt": 1}, "server")


def follow(cluster, status, attempt=None):
    training = parse_training(make_training(**status))
    output = StringIO()
    printer = LogPrinter(output, training.parties, is_tame=False)
    asyncio.run(follow_logs(cluster, training, training.parties, printer, attempt=attempt, look_s=0.01))
    return sorted(output.getvalue().splitlines())


def test_following_goes_on_into_the_next_attempt_and_ends_with_the_training():
    cluster = PretendedCluster(make_training(attempt=1), pod_of("server", 1))
    cluster.logs = {"server-1": [b"t one\n"], "server-2": [b"t two\n"], "st-mary-2": [b"t three\n"]}

    def read(count):
        if count == 2:
            cluster.add(make_training(attempt=2))
            cluster.add(pod_of("server", 2))
        if count == 4:
            cluster.add(pod_of("st-mary", 2))
            cluster.add(make_training(attempt=2, **OVER))

    cluster.on_read = read
    assert follow(cluster, {"attempt": 1}) == ["server  | one", "server  | two", "st-mary | three"]


def test_following_one_attempt_ends_with_it():
    cluster = PretendedCluster(make_training(attempt=2), pod_of("server", 1), pod_of("server", 2))
    cluster.logs = {"server-1": [b"t one\n"], "server-2": [b"t two\n"]}
    assert follow(cluster, {"attempt": 2}, attempt=1) == ["server  | one"]


def test_following_a_training_whose_pods_are_gone_says_so():
    with pytest.raises(UsageInvalid, match="are gone"):
        follow(PretendedCluster(make_training(attempt=1, **OVER)), {"attempt": 1, **OVER})


def test_following_never_goes_over_to_a_namesake():
    cluster = PretendedCluster(make_training(uid="another"))
    with pytest.raises(UsageInvalid, match="made anew"):
        follow(cluster, {"attempt": 1})


def test_a_stream_that_breaks_ends_following():
    cluster = PretendedCluster(make_training(attempt=1), pod_of("server"))
    cluster.logs = {"server-1": forbid("get", "pods/log")}
    with pytest.raises(Forbidden):
        follow(cluster, {"attempt": 1})


def collect(lines):
    async def gather():
        return [line async for line in lines]

    return asyncio.run(gather())


def test_a_line_without_an_end_is_cut_and_the_last_one_told():
    lines = collect(split_lines(iterate([b"a" * (MOST_LINE_BYTES + 3), b"\nlast"])))
    assert [len(line) for line in lines] == [MOST_LINE_BYTES, 3, 4]


def test_bytes_that_are_no_text_are_shown():
    assert collect(split_lines(iterate([b"\xff\xfe\n"]))) == ["\\xff\\xfe"]


def test_merging_nothing_yields_nothing():
    assert collect(merge_by_time({"server": iterate([])})) == []


def test_a_pod_that_was_deleted_since_it_was_listed_is_an_empty_log():
    cluster = PretendedCluster(pod_of("server"), pod_of("st-mary"))
    cluster.logs = {"st-mary-1": [b"2026-01-01T12:00:02Z two\n"]}
    listed = cluster.list_all

    async def list_then_lose(*args, **kwargs):
        found = await listed(*args, **kwargs)
        cluster.objects.pop(POD.get_path(NAMESPACE, "server-1"), None)
        return found

    cluster.list_all = list_then_lose
    assert show(cluster, {"attempt": 1})[0] == ["st-mary | two"]
