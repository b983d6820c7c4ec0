"""A plan as a picture: every party a box, every transfer an arrow, nothing else."""

from __future__ import annotations

import re

from splittraining.api.plan_report import PlanReport, SegmentReport
from splittraining.api.wire_plan import DType, LossStage, Stage, Value, ValueSource, WirePlan
from splittraining.report.diagram import render_diagram
from support.report_support import build_plan_report


def a_u_shape() -> PlanReport:
    values = (
        Value(
            id=0, name="encoder", source=ValueSource.CUT, dtype=DType.FLOAT32, shape=(1, 8), producer=0, consumers=(1,)
        ),
        Value(
            id=1, name="trunk", source=ValueSource.CUT, dtype=DType.FLOAT32, shape=(1, 6), producer=1, consumers=(2,)
        ),
        Value(
            id=2, name="skip", source=ValueSource.LOCAL, dtype=DType.FLOAT32, shape=(1, 8), producer=0, consumers=(2,)
        ),
    )
    stages = tuple(Stage(index=index, owner=owner) for index, owner in enumerate(("client", "server", "client")))
    plan = WirePlan(stages=stages, loss_stage=2, values=values)
    segments = [
        SegmentReport(stage=index, owner=stage.owner, num_parameters=index, num_buffers=0, layers=(f"part{index}",))
        for index, stage in enumerate(stages)
    ]
    return PlanReport(segments=tuple(segments), wire_plan=plan, wire_plan_digest="")


def list_arrows(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines() if re.search(r"-->|-\.->|==>", line)}


def test_values_gradients_and_labels_have_arrows_of_their_own() -> None:
    assert list_arrows(render_diagram(build_plan_report())) == {
        "stage1 --> loss1",
        'stage0 -->|"body: 3 Float32"| stage1',
        'stage0 ==>|"label: 1 Int64"| loss1',
        'stage1 -.->|"gradient of body"| stage0',
    }


def test_each_party_is_one_box_with_its_segments_and_its_loss() -> None:
    text = render_diagram(a_u_shape())
    boxes = re.findall(r'subgraph party\d+\["(.*?)"\]\n(.*?)\n  end', text, re.DOTALL)
    held = {title: re.findall(r"^ +(\w+)[\[(]", body, re.MULTILINE) for title, body in boxes}
    assert held == {"each client": ["stage0", "stage2", "loss2"], "server": ["stage1"]}


def test_what_stays_with_its_owner_is_drawn_as_staying() -> None:
    assert 'stage0 -->|"skip, stays here"| stage2' in list_arrows(render_diagram(a_u_shape()))


def test_every_transfer_of_a_step_is_drawn_and_nothing_more() -> None:
    report = a_u_shape()
    num_transfers = len(list(report.wire_plan.iterate_transfers(training=True)))
    assert len(list_arrows(render_diagram(report))) == num_transfers + len(("the loss", "the local value"))


def test_each_task_has_its_loss() -> None:
    report = a_u_shape()
    losses = tuple(LossStage(stage=stage, task=f"task{stage}") for stage in (1, 2))
    plan = report.wire_plan.model_copy(update={"loss_stages": losses})
    text = render_diagram(report.model_copy(update={"wire_plan": plan}))
    assert {"stage1 --> loss1", "stage2 --> loss2"} <= list_arrows(text)


def test_names_cannot_break_out_of_their_label() -> None:
    report = a_u_shape()
    renamed = report.segments[0].model_copy(update={"layers": ('a"]; click stage0 call x', "b", "c", "d", "e")})
    text = render_diagram(report.model_copy(update={"segments": (renamed, *report.segments[1:])}))
    assert 'stage0["a#34;#93;#59; click stage0 call x, b, c and 2 more<br/>0 parameters"]' in text
