"""What Prometheus sees: the names of docs/metrics.md, and nothing of trainings that are gone."""

from __future__ import annotations

import re
from pathlib import Path

from splittraining.api.contract import Role
from splittraining.api.status import Condition, PartyStatus, Progress, SplitTrainingStatus
from splittraining.controller.metrics import Metrics, list_metrics
from splittraining.controller.work_queue import Key
from support.clocks import START
from support.house_support import ROOT

PAGE = Path(ROOT) / "docs" / "metrics.md"
KEY = Key("trial", "chest-xray")


def make_status(state: str = "Running", **fields: object) -> SplitTrainingStatus:
    progressing = Condition(type="Progressing", status="True", reason=state, last_transition_time=START)
    return SplitTrainingStatus.model_validate({"conditions": (progressing,), **fields})


def test_the_page_names_every_metric_and_no_other() -> None:
    shown = [row.name for row in list_metrics(Metrics())]
    assert re.findall(r"^\| `(\w+)`", PAGE.read_text(), re.MULTILINE) == shown
    assert len(shown) > 15


def test_every_metric_says_what_it_is_and_whose() -> None:
    for row in list_metrics(Metrics()):
        assert row.name.startswith("splittraining_")
        assert row.meaning.endswith(".")


def test_a_training_is_shown_as_its_status_says() -> None:
    metrics = Metrics()
    party = PartyStatus(name="st-mary", role=Role.CLIENT, ready=True, bytes_sent=7)
    metrics.show_training(KEY, make_status(progress=Progress(round=3, rounds=20, step=40), parties=(party,)))
    text = metrics.render().decode()
    assert 'splittraining_training_state{name="chest-xray",namespace="trial",state="Running"} 1.0' in text
    assert 'splittraining_training_round{name="chest-xray",namespace="trial"} 3.0' in text
    assert 'splittraining_party_ready{name="chest-xray",namespace="trial",party="st-mary"} 1.0' in text
    assert 'direction="sent",name="chest-xray",namespace="trial",party="st-mary"} 7.0' in text


def test_a_training_has_one_state_at_a_time() -> None:
    metrics = Metrics()
    metrics.show_training(KEY, make_status("Starting"))
    metrics.show_training(KEY, make_status("Running"))
    text = metrics.render().decode()
    assert 'state="Running"' in text
    assert 'state="Starting"' not in text


def test_nothing_is_left_of_a_training_that_is_gone() -> None:
    metrics = Metrics()
    metrics.show_training(
        KEY, make_status(progress=Progress(), parties=(PartyStatus(name="st-mary", role=Role.CLIENT),))
    )
    metrics.forget_training(KEY)
    assert "chest-xray" not in metrics.render().decode()
