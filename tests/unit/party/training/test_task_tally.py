"""Several tasks' numbers under their names, and their sum."""

from __future__ import annotations

import json

from splittraining.party.training.metrics import EvaluationSums
from splittraining.party.training.tasks import TaskTally
from splittraining.plan.contracts import build_contract
from splittraining.report.metrics import parse_metric_lines
from support.builders import a_multi_task_training, a_vertical_training


def build_tally() -> TaskTally:
    return TaskTally(build_contract(a_multi_task_training().build(), source_digest=""))


def test_losses_of_a_round_are_kept_by_task_and_forgotten_after_it() -> None:
    tally = build_tally()
    tally.add_loss("oncology", 6.0)
    tally.add_loss("oncology", 2.0)
    tally.add_loss("surgery", 4.0)
    tally.add_loss("imaging", 9.0)  # has no task
    assert tally.take_losses(4) == {"train_loss_finding": 2.0, "train_loss_operated": 1.0}
    assert tally.take_losses(4) == {"train_loss_finding": 0.0, "train_loss_operated": 0.0}


def test_metrics_have_the_tasks_names_and_the_losses_are_added() -> None:
    found = build_tally().combine(
        {
            "surgery": EvaluationSums(rows=4, loss_sum=2.0, predictions=4, correct=1, auc=0.5),
            "oncology": EvaluationSums(rows=4, loss_sum=4.0),
        }
    )
    assert found == {
        "loss": 1.5,
        "loss_finding": 1.0,
        "loss_operated": 0.5,
        "accuracy_operated": 0.25,
        "auc_operated": 0.5,
    }


def test_where_nobody_evaluated_there_is_nothing() -> None:
    assert build_tally().combine({}) == {}


def test_without_tasks_nothing_is_kept() -> None:
    tally = TaskTally(build_contract(a_vertical_training().build(), source_digest=""))
    tally.add_loss("registry", 1.0)
    assert not tally.has_tasks
    assert tally.take_losses(1) == {}


def test_a_report_counts_a_step_of_several_tasks_once_and_adds_its_losses() -> None:
    def line(task: str, loss: float) -> str:
        return json.dumps(
            {"kind": "step", "step": 1, "round": 1, "loss": loss, "rows": 4, "client": task, "task": task}
        )

    (step,) = parse_metric_lines([[line("finding", 0.5)], [line("operated", 0.25)]]).steps
    assert (step.step, step.rows, step.loss) == (1, 4, 0.75)
