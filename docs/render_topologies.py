"""Writes docs/topologies.md, whose pictures are drawn from models that this project cuts: `make docs`.

Each topology has a tiny model. What its picture shows is the wire plan of that model, not somebody's drawing of it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from topology_texts import INTRODUCTION, SCHEDULES, TEXTS, Text
from torch import Tensor, nn

from splittraining.api.plan_report import PlanReport
from splittraining.api.spec.model import InputSpec, LabelSpec
from splittraining.api.spec.split_training import Topology
from splittraining.api.wire_plan import CLIENT_OWNER, DType
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


class Tasks(nn.Module):
    """Two branches, a trunk, and two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.image_tower, self.blood_tower = nn.Linear(8, 16), nn.Linear(5, 4)
        self.trunk, self.heart_head, self.tumor_head = nn.Linear(20, 12), nn.Linear(12, 2), nn.Linear(12, 2)

    def forward(self, image: Tensor, blood: Tensor) -> dict[str, Tensor]:
        """Returns the logits of two classes for each question."""
        both = torch.cat([self.image_tower(image).relu(), self.blood_tower(blood).relu()], dim=1)
        found = self.trunk(both)
        return {"heart": self.heart_head(found.relu()), "tumor": self.tumor_head(found.relu())}


def render_page() -> str:
    """Renders docs/topologies.md."""
    sections = [INTRODUCTION]
    sections += [
        _render_section(topology, TEXTS[topology], render_diagram(build_report(topology))) for topology in Topology
    ]
    return "\n\n".join([*sections, SCHEDULES])


def _render_section(topology: Topology, text: Text, diagram: str) -> str:
    parts = [f"## {topology.value}", text.what, f"```mermaid\n{diagram}```", f"**Choose it when** {text.when}"]
    leaks = "\n".join(f"- {line}" for line in text.reveals)
    return "\n\n".join([*parts, f"**What it reveals to whom**\n\n{leaks}"])


def build_report(topology: Topology) -> PlanReport:
    """Returns a topology's plan."""
    model, stages, inputs = _list_stages(topology)
    specs = [InputSpec(name=name, dtype=DType.FLOAT32, shape=(size,)) for name, size in inputs]
    label = None if topology is Topology.MULTI_TASK else LABEL
    return cut_model(model, stages=stages, inputs=specs, label=label, seed=1).report


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
        case Topology.MULTI_TASK:
            heads = [
                StageSpec(owner, holds_label=True, task=task, output=task)
                for owner, task in (("cardiology", "heart"), ("oncology", "tumor"))
            ]
            trunk = StageSpec("server", cut_points=("trunk",))
            return Tasks(), [imaging, laboratory, trunk, *heads], [IMAGE, ("blood", 5)]
        case Topology.MULTI_HOP:
            hops = [
                StageSpec("ward", cut_points=("first",), arguments=("image",)),
                StageSpec("hospital", cut_points=("second",)),
                StageSpec("region", cut_points=("third",)),
            ]
            return chain, [*hops, StageSpec("server", holds_label=True)], [IMAGE]


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
