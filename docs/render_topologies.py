"""Writes docs/topologies.md, whose pictures are drawn from models that this project cuts: `make docs`.

Each topology but MultiTask has a tiny model. What its picture shows is the wire plan of that model, not somebody's
drawing of it. MultiTask's plan is written by hand here: `cut_model` cuts for one loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from topology_texts import INTRODUCTION, SCHEDULES, TEXTS, Text
from torch import Tensor, nn

from splittraining.api.plan_report import PlanReport, SegmentReport
from splittraining.api.spec.model import InputSpec, LabelSpec
from splittraining.api.spec.split_training import Topology
from splittraining.api.wire_plan import CLIENT_OWNER, DType, Stage, Value, ValueSource, WirePlan
from splittraining.party.model.cut import cut_model
from splittraining.party.model.stages import StageSpec
from splittraining.report.diagram import render_diagram

PAGE = Path(__file__).resolve().parent / "topologies.md"
LABEL = LabelSpec(dtype=DType.INT64, shape=())
IMAGE = ("image", 8)


class Chain(nn.Module):
    """Four layers, one after another."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 8)
        self.third, self.head = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, image: Tensor) -> Tensor:
        """Returns the logits of two classes."""
        return self.head(self.third(self.second(self.first(image).relu()).relu()).relu())


class Towers(nn.Module):
    """Two branches, a merge and a trunk."""

    def __init__(self) -> None:
        super().__init__()
        self.image_tower, self.blood_tower = nn.Linear(8, 16), nn.Linear(5, 4)
        self.merge, self.trunk = nn.Linear(20, 12), nn.Linear(12, 2)

    def forward(self, image: Tensor, blood: Tensor) -> Tensor:
        """Returns the logits of two classes."""
        both = torch.cat([self.image_tower(image).relu(), self.blood_tower(blood).relu()], dim=1)
        return self.trunk(self.merge(both).relu())


def render_page() -> str:
    """Renders docs/topologies.md."""
    sections = [INTRODUCTION]
    for topology in Topology:
        report, losses = build_report(topology)
        sections.append(_render_section(topology, TEXTS[topology], render_diagram(report, losses=losses)))
    return "\n\n".join([*sections, SCHEDULES])


def _render_section(topology: Topology, text: Text, diagram: str) -> str:
    parts = [f"## {topology.value}", text.what, f"```mermaid\n{diagram}```", f"**Choose it when** {text.when}"]
    leaks = "\n".join(f"- {line}" for line in text.reveals)
    return "\n\n".join([*parts, f"**What it reveals to whom**\n\n{leaks}"])


def build_report(topology: Topology) -> tuple[PlanReport, Sequence[int]]:
    """Returns a topology's plan and which of its stages compute a loss (none named: the plan's own)."""
    if topology is Topology.MULTI_TASK:
        return _build_multi_task()
    model, stages, inputs = _list_stages(topology)
    specs = [InputSpec(name=name, dtype=DType.FLOAT32, shape=(size,)) for name, size in inputs]
    return cut_model(model, stages=stages, inputs=specs, label=LABEL, seed=1).report, ()


def _list_stages(topology: Topology) -> tuple[nn.Module, list[StageSpec], list[tuple[str, int]]]:
    chain, towers = Chain(), Towers()
    imaging = StageSpec("imaging", cut_points=("image_tower",), arguments=("image",))
    laboratory = StageSpec("laboratory", cut_points=("blood_tower",), arguments=("blood",))
    registry = StageSpec("registry", receives_output=True, holds_label=True)
    match topology:
        case Topology.VANILLA:
            client = StageSpec(CLIENT_OWNER, cut_points=("second",), arguments=("image",), holds_label=True)
            return chain, [client, StageSpec("server")], [IMAGE]
        case Topology.U_SHAPED:
            below = StageSpec(CLIENT_OWNER, cut_points=("first",), arguments=("image",))
            above = StageSpec(CLIENT_OWNER, arguments=("image",), holds_label=True)
            return chain, [below, StageSpec("server", cut_points=("third",)), above], [IMAGE]
        case Topology.VERTICAL:
            return towers, [imaging, laboratory, StageSpec("server"), registry], [IMAGE, ("blood", 5)]
        case Topology.EXTENDED_VANILLA:
            merger = StageSpec("university", cut_points=("merge",))
            server = StageSpec("server", holds_label=True)
            return towers, [imaging, laboratory, merger, server], [IMAGE, ("blood", 5)]
        case _:
            hops = [
                StageSpec("ward", cut_points=("first",), arguments=("image",)),
                StageSpec("hospital", cut_points=("second",)),
                StageSpec("region", cut_points=("third",)),
            ]
            return chain, [*hops, StageSpec("server", holds_label=True)], [IMAGE]


def _build_multi_task() -> tuple[PlanReport, Sequence[int]]:
    """Two branches, a trunk, and a head with a loss at each of two clients.

    The trunk's value stands here once per label party, since each one's gradient goes straight back to the server.
    """
    segments = [
        ("imaging", 144, "image_tower"),
        ("laboratory", 24, "blood_tower"),
        ("server", 252, "trunk"),
        ("cardiology", 26, "heart_head"),
        ("oncology", 13, "tumor_head"),
    ]
    values = [("image_tower", 16, 0, (2,)), ("blood_tower", 4, 1, (2,)), ("trunk", 12, 2, (3,)), ("trunk", 12, 2, (4,))]
    plan = WirePlan(
        stages=tuple(Stage(index=index, owner=owner) for index, (owner, _, _) in enumerate(segments)),
        loss_stage=len(segments) - 1,
        values=tuple(
            Value(
                id=number,
                name=name,
                source=ValueSource.CUT,
                dtype=DType.FLOAT32,
                shape=(1, size),
                producer=producer,
                consumers=consumers,
            )
            for number, (name, size, producer, consumers) in enumerate(values)
        ),
    )
    rows = tuple(
        SegmentReport(stage=index, owner=owner, num_parameters=size, num_buffers=0, layers=(layer,))
        for index, (owner, size, layer) in enumerate(segments)
    )
    return PlanReport(segments=rows, wire_plan=plan, wire_plan_digest=plan.compute_digest()), (3, 4)


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
