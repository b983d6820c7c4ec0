"""How a training in a cluster is shown, once and while it is watched."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from io import StringIO

import pytest
import yaml
from rich.console import Console

from splittraining.api.exit_codes import ExitCode
from splittraining.api.usage import UsageInvalid
from splittraining.cli.status_board import build_board, explain_failure
from splittraining.cli.status_command import list_events, watch_training
from splittraining.cli.status_table import build_status_view
from splittraining.cli.status_views import (
    ChangeView,
    DocumentView,
    LiveStatusView,
    PictureView,
    SummaryView,
    choose_status_view,
    render_summary,
)
from splittraining.cli.trainings import parse_training
from splittraining.cluster.errors import Unreachable
from splittraining.cluster.resources import CORE_EVENT, SPLIT_TRAINING
from support.api_objects import NAME, NAMESPACE, TRAINING_UID, make_training
from support.cluster_api import PretendedCluster, forbid

NOW = datetime(2026, 1, 1, 12, 10, tzinfo=UTC)
SINCE = "2026-01-01T12:00:00Z"


def condition(kind, status, reason, message=""):
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": SINCE}


RUNNING = {
    "conditions": [
        condition("Accepted", "True", "Accepted"),
        condition("NetworkIsolated", "False", "NotEnforced", "st-mary reached 10.0.0.1:443"),
        condition("PartiesReady", "True", "AllReady"),
        condition("Progressing", "True", "Running"),
        condition("CheckpointAvailable", "False", "NotConfigured"),
        condition("Suspended", "False", "NotSuspended"),
        condition("Complete", "False", "NotCompleted"),
        condition("Failed", "False", "NotFailed"),
    ],
    "progress": {
        "round": 3, "rounds": 20, "step": 120, "steps": 800, "percent": 15, "etaSeconds": 240,
        "activeParty": "st-mary", "turn": 5,
    },
    "metrics": [{"name": "loss", "value": "0.25"}, {"name": "accuracy", "value": "0.91"}],
    "parties": [
        {
            "name": "server", "role": "Server", "ready": True, "node": "gpu-1", "round": 3, "step": 120,
            "samples": 7680, "bytesSent": 2048, "bytesReceived": 1048576, "device": "cuda:0 H100",
        },
        {"name": "st-mary", "role": "Client", "ready": False, "reason": "ImagePull"},
    ],
    "attempt": 2,
}  # fmt: skip

FAILED = {
    "conditions": [
        condition("Accepted", "True", "Accepted"),
        condition("PartiesReady", "False", "NotStarted"),
        condition("Progressing", "False", "Failed"),
        condition("Complete", "False", "NotCompleted"),
        condition("Failed", "True", "DataInvalid", "st-mary: no column \x1b[31mfinding in train.npz"),
    ],
    "attempt": 1,
}
COMPLETE = {
    "conditions": [condition("Progressing", "False", "Completed"), condition("Complete", "True", "Completed")],
    "progress": {"round": 20, "rounds": 20, "step": 800, "steps": 800, "percent": 100},
    "attempt": 1,
}


NOT_ENFORCED = (
    "NetworkIsolated: NotEnforced: st-mary reached 10.0.0.1:443. To do: Install a network plugin that enforces "
    "NetworkPolicies, or accept it (network.enforcement: Preferred)."
)
NOT_ENFORCED_IN_TWO = NOT_ENFORCED.replace("it (", "it\n(").splitlines()


def event(number, reason, note, kind="Normal", uid=TRAINING_UID):
    return {
        "kind": "Event",
        "metadata": {"name": f"{NAME}.{number}", "namespace": NAMESPACE},
        "involvedObject": {"uid": uid},
        "eventTime": f"2026-01-01T12:0{number}:00.000000Z",
        "reason": reason,
        "type": kind,
        "message": note,
    }


EVENTS = [event(5, "Started", "attempt 2"), event(2, "Crashed", "st-mary ended\nwithout a word", kind="Warning")]


def board_of(status, events=()):
    return build_board(parse_training(make_training(**status)), events)


def draw(board, note="", width=150):
    console = Console(file=StringIO(), width=width, force_terminal=False)
    console.print(build_status_view(board, now=NOW, note=note))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_the_picture_of_a_training_that_runs():
    assert draw(board_of(RUNNING, EVENTS)) == [
        "trial/chest-xray (Vanilla): Running, attempt 2",
        "━━━━╸                           round 3/20  step 120/800  15%  4 min 0 s left  turn 5: st-mary",
        "┏━━━━━━━━━┳━━━━━━━━┳━━━━━━━┳━━━━━━━┳━━━━━━┳━━━━━━┳━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━━━━┳━━━━━━━┳━━━━━━━━━━━┓",
        "┃ party   ┃ role   ┃ ready ┃ round ┃ step ┃ rows ┃    sent ┃ received ┃ device      ┃ node  ┃ reason    ┃",
        "┡━━━━━━━━━╇━━━━━━━━╇━━━━━━━╇━━━━━━━╇━━━━━━╇━━━━━━╇━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━━━━╇━━━━━━━╇━━━━━━━━━━━┩",
        "│ server  │ server │ yes   │     3 │  120 │ 7680 │ 2.0 KiB │  1.0 MiB │ cuda:0 H100 │ gpu-1 │           │",
        "│ st-mary │ client │ no    │       │      │      │         │          │             │       │ ImagePull │",
        "└─────────┴────────┴───────┴───────┴──────┴──────┴─────────┴──────────┴─────────────┴───────┴───────────┘",
        "loss 0.25, accuracy 0.91",
        *NOT_ENFORCED_IN_TWO,
        "8 min 0 s ago  Warning  Crashed  st-mary ended without a word",
        "5 min 0 s ago  Normal  Started  attempt 2",
    ]


def test_the_plain_lines_of_a_training_that_runs():
    assert render_summary(board_of(RUNNING, EVENTS), now=NOW) == [
        "trial/chest-xray (Vanilla): Running, attempt 2",
        "round 3/20, step 120/800, 15%, 4 min 0 s left, turn 5: st-mary",
        "server: server, ready, round 3, step 120, 7680 rows, sent 2.0 KiB, received 1.0 MiB, cuda:0 H100, on gpu-1",
        "st-mary: client, not ready, ImagePull",
        "loss 0.25, accuracy 0.91",
        NOT_ENFORCED,
        "8 min 0 s ago  Warning  Crashed  st-mary ended without a word",
        "5 min 0 s ago  Normal  Started  attempt 2",
    ]


def test_a_training_that_nobody_has_looked_at_yet_says_so():
    assert render_summary(board_of({}), now=NOW) == [
        "trial/chest-xray (Vanilla): not seen by the operator yet",
        "no step yet, 20 rounds to train",
    ]


def test_a_failure_is_told_with_its_remedy_and_without_what_moves_a_cursor():
    board = board_of(FAILED)
    assert [notice.condition for notice in board.notices] == ["Failed"]
    assert board.notices[0].text == (
        "Failed: DataInvalid: st-mary: no column \\x1b[31mfinding in train.npz. To do: Change the data, or the "
        "columns, shapes and paths that the manifest gives for it."
    )
    code, message = explain_failure(parse_training(make_training(**FAILED)))
    assert code is ExitCode.DATA_INVALID
    assert message.startswith("chest-xray failed: DataInvalid: st-mary: no column \\x1b[31mfinding")


def test_a_reason_of_a_newer_operator_is_shown_without_a_remedy():
    board = board_of({"conditions": [condition("PartiesReady", "False", "SunSpots", "wait.")]})
    assert board.notices[0].text == "PartiesReady: SunSpots: wait."


def test_only_the_last_events_are_shown_and_torn_ones_not_at_all():
    events = [event(number, f"R{number}", "") for number in (7, 1, 6, 2, 5, 3, 4)]
    shown = board_of(RUNNING, [*events, {"reason": "Torn", "eventTime": "soon"}]).events
    assert [line.reason for line in shown] == ["R3", "R4", "R5", "R6", "R7"]


def test_events_of_a_namesake_are_not_shown_and_a_missing_right_hides_them_all():
    cluster = PretendedCluster(make_training(**RUNNING), event(1, "Mine", ""), event(2, "Other", "", uid="other"))
    training = parse_training(make_training(**RUNNING))
    assert [item["reason"] for item in asyncio.run(list_events(cluster, training))] == ["Mine"]
    cluster.refuse("LIST", CORE_EVENT, forbid("list", "events"))
    assert asyncio.run(list_events(cluster, training)) == []


@pytest.mark.parametrize(
    ("is_terminal", "form", "watch", "kind"),
    [
        (True, "", True, LiveStatusView),
        (True, "", False, PictureView),
        (False, "", True, ChangeView),
        (False, "", False, SummaryView),
        (True, "json", True, DocumentView),
    ],
)
def test_a_view_for_every_reader(is_terminal, form, watch, kind):
    console = Console(file=StringIO(), force_terminal=is_terminal)
    assert isinstance(choose_status_view(console, form=form, watch=watch), kind)


def test_changes_are_told_once_and_steps_not_at_all():
    console = Console(file=StringIO(), width=40)
    later = {**RUNNING, "progress": {**RUNNING["progress"], "step": 121}}
    last = {**RUNNING, "progress": {**RUNNING["progress"], "round": 4}}
    with ChangeView(console, monotonic_s=lambda: 0.0) as view:
        for status in (RUNNING, later, last, COMPLETE):
            view.show(parse_training(make_training(**status)), board_of(status))
        view.tell("the cluster has not answered for 2 s")
        view.tell("the cluster has not answered for 4 s")
    assert console.file.getvalue().splitlines() == [
        "    0.0s  trial/chest-xray (Vanilla): Running, attempt 2",
        "    0.0s  round 3/20",
        "    0.0s  server: ready on gpu-1",
        "    0.0s  st-mary: ImagePull",
        f"    0.0s  {NOT_ENFORCED}",
        "    0.0s  round 4/20",
        "    0.0s  trial/chest-xray (Vanilla): Completed",
        "    0.0s  round 20/20, 100%",
        "    0.0s  the cluster has not answered for 2 s",
    ]


@pytest.mark.parametrize(("form", "parse"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_a_document_is_the_resource_without_managed_fields(form, parse):
    console = Console(file=StringIO(), width=20)
    document = make_training(**RUNNING)
    document["metadata"]["managedFields"] = [{"manager": "x"}]
    training = parse_training(document)
    with DocumentView(console, form) as view:
        view.show(training, build_board(training))
        view.show(training, build_board(training))  # of the same version: not again
    printed = parse(console.file.getvalue())
    assert printed["status"] == document["status"]
    assert "managedFields" not in printed["metadata"]


def test_the_live_picture_says_why_nothing_newer_is_known():
    console = Console(file=StringIO(), force_terminal=True, width=150, _environ={})
    with LiveStatusView(console, now=lambda: NOW) as view:
        view.show(parse_training(make_training(**RUNNING)), board_of(RUNNING))
        view.tell("the cluster has not answered for 12 s")
    assert "has not answered for 12 s" in console.file.getvalue()


class Recorder(SummaryView):
    def __init__(self):
        super().__init__(Console(file=StringIO()))
        self.states = []
        self.notes = []

    def show(self, training, board):
        assert training.name == NAME
        self.states.append(board.state)

    def tell(self, note):
        self.notes.append(note)


class Clock:
    def __init__(self):
        self.now_s = 0.0

    async def sleep(self, seconds):
        self.now_s += seconds

    def monotonic(self):
        return self.now_s


def watch(cluster, view):
    clock = Clock()
    return asyncio.run(watch_training(cluster, NAMESPACE, NAME, view, sleep=clock.sleep, monotonic_s=clock.monotonic))


def test_watching_ends_when_the_training_does():
    cluster = PretendedCluster(make_training(**RUNNING))
    cluster.on_read = lambda count: cluster.add(make_training(**(RUNNING if count < 4 else FAILED)))
    view = Recorder()
    assert watch(cluster, view).is_over
    assert view.states == ["Running", "Running", "Running", "Failed"]


def test_watching_survives_a_silent_cluster_and_says_so():
    cluster = PretendedCluster(make_training(**RUNNING))

    def read(count):
        if count in (2, 3):
            raise Unreachable("GET /x", "no answer")
        if count == 5:
            cluster.add(make_training(**COMPLETE))

    cluster.on_read = read
    view = Recorder()
    assert watch(cluster, view).is_over
    assert [note[:40] for note in view.notes] == [
        "the cluster has not answered for 2 s: GE", "the cluster has not answered for 4 s: GE", "", "",
    ]  # fmt: skip


def test_watching_gives_up_a_cluster_that_stays_silent():
    cluster = PretendedCluster(make_training(**RUNNING))

    def read(count):
        if count > 1:
            raise Unreachable("GET /x", "no answer")

    cluster.on_read = read
    with pytest.raises(Unreachable):
        watch(cluster, Recorder())
    assert 150 < cluster.reads < 160


def test_watching_never_goes_over_to_a_namesake():
    cluster = PretendedCluster(make_training(**RUNNING))

    def read(count):
        if count == 2:
            cluster.add(make_training(uid="another", **COMPLETE))

    cluster.on_read = read
    with pytest.raises(UsageInvalid, match="was deleted while it was watched, and made anew"):
        watch(cluster, Recorder())


def test_watching_ends_when_the_training_is_deleted():
    cluster = PretendedCluster(make_training(**RUNNING))

    def read(count):
        if count == 2:
            del cluster.objects[SPLIT_TRAINING.get_path(NAMESPACE, NAME)]

    cluster.on_read = read
    with pytest.raises(UsageInvalid, match="there is no SplitTraining chest-xray"):
        watch(cluster, Recorder())
