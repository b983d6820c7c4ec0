"""The door: a whole model and a topology in, segments, wire plan and report out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from splittraining.api.errors import ModelInvalid, NumericsInvalid
from splittraining.api.plan_report import PlanReport
from splittraining.api.spec.model import InputSpec, LabelSpec
from splittraining.api.wire_plan import WirePlan
from splittraining.party.model.containers import take_containers_apart
from splittraining.party.model.crossings import Crossing, check_extra_crossings, find_crossings
from splittraining.party.model.exactness import find_inexact
from splittraining.party.model.mutation import defuse_writes
from splittraining.party.model.outputs import check_outputs, mark_outputs
from splittraining.party.model.ownership import Ownership, decide_ownership
from splittraining.party.model.programs import build_stage_graph
from splittraining.party.model.report import build_report, build_wire_plan
from splittraining.party.model.segment import Segment
from splittraining.party.model.shapes import propagate
from splittraining.party.model.stages import StageSpec
from splittraining.party.model.state import assign_state
from splittraining.party.model.trace import check_signature, get_stable_key, trace_model


@dataclass(frozen=True, slots=True)
class CutModel:
    """A model in segments."""

    wire_plan: WirePlan
    segments: tuple[Segment, ...]
    """One per stage, in forward order."""
    report: PlanReport
    root: nn.Module

    @torch.no_grad()
    def keep_only(self, owner: str) -> None:
        """Frees the memory of every parameter and buffer that the owner's segments do not need, for good."""
        kept = {
            tensor_id for segment in self.segments if segment.owner == owner for tensor_id in segment.list_tensor_ids()
        }
        for tensor in (*self.root.parameters(), *self.root.buffers()):
            if id(tensor) not in kept:
                tensor.data = tensor.data.new_empty(0)


@dataclass(frozen=True, slots=True)
class _Analysis:
    ownership: Ownership
    crossings: tuple[Crossing, ...]


def cut_model(
    module: nn.Module,
    *,
    stages: Sequence[StageSpec],
    inputs: Sequence[InputSpec],
    label: LabelSpec | None,
    seed: int,
    extra_crossings: Sequence[str] = (),
    exact: bool = True,
) -> CutModel:
    """Cuts a model into one segment per stage.

    The model is left in training mode; modules that would overwrite a crossing value have `inplace` switched off.

    Args:
        module: The whole model.
        stages: What the topology asks for, in forward order.
        inputs: The forward's arguments, each with the shape of one row.
        label: The labels, which cross where the last stage's owner does not hold them.
        seed: What random operations are keyed with.
        extra_crossings: Names of values beside the cuts' own that may cross.
        exact: Whether a cut that equals the uncut model only up to rounding is refused.

    Raises:
        ModelInvalid: if the model cannot be traced, or not be cut so.
        NumericsInvalid: if exactness is asked for and cannot be had.
    """
    check_signature(module, [item.name for item in inputs])
    training = _analyze_until_safe(module, stages, inputs, extra_crossings, training=True)
    names = {get_stable_key(node): node.name for node in training.ownership.trace.graph.nodes}
    evaluation = _analyze_until_safe(module, stages, inputs, extra_crossings, training=False, names=names)
    module.train()
    check_extra_crossings(training.ownership, training.crossings, extra_crossings)
    _refuse_different_modes(training.crossings, evaluation.crossings)
    inexact = find_inexact(training.ownership, training.crossings)
    if inexact and exact:
        raise NumericsInvalid(
            "this cut cannot be exact: " + "; ".join(inexact),
            allowed="cuts whose gradients add up in the order of the uncut model",
            remedy="move the cut as said",
        )
    return _build_cut_model(training, evaluation, label=label, seed=seed, exact=exact, inexact=inexact)


def _build_cut_model(
    training: _Analysis,
    evaluation: _Analysis,
    *,
    label: LabelSpec | None,
    seed: int,
    exact: bool,
    inexact: tuple[str, ...],
) -> CutModel:
    root, stages = training.ownership.trace.root, training.ownership.stages
    graphs = [
        {
            mode: build_stage_graph(analysis.ownership, analysis.crossings, stage)
            for mode, analysis in ((True, training), (False, evaluation))
        }
        for stage in range(len(stages))
    ]
    shares = assign_state([training.ownership, evaluation.ownership], graphs)
    wire_plan = build_wire_plan(stages, training.crossings, label)
    segments = tuple(
        Segment(
            stage=index,
            owner=stage.owner,
            root=root,
            graphs=graphs[index],
            share=shares[index],
            layouts={item.name: item.layout for item in training.crossings},
            seed=seed,
            exact=exact,
        )
        for index, stage in enumerate(stages)
    )
    return CutModel(wire_plan, segments, build_report(training.ownership, shares, wire_plan, inexact), root)


def _analyze_until_safe(
    module: nn.Module,
    stages: Sequence[StageSpec],
    inputs: Sequence[InputSpec],
    extra_crossings: Sequence[str],
    *,
    training: bool,
    names: dict[tuple[object, ...], str] | None = None,
) -> _Analysis:
    """Analyzes one mode, again after in-place modules were defused: what was one memory may now be two."""
    while True:
        trace = trace_model(module, inputs=[item.name for item in inputs], training=training)
        mark_outputs(trace, stages)
        shapes = propagate(trace, inputs)
        check_outputs(trace, shapes, stages)
        take_containers_apart(trace, shapes)
        ownership = decide_ownership(trace, shapes, stages)
        _refuse_bare_cuts(ownership)
        crossings = find_crossings(
            ownership,
            extra_crossings=extra_crossings,
            name_node=lambda node: (names or {}).get(get_stable_key(node), node.name),
        )
        if not defuse_writes(ownership, crossings):
            return _Analysis(ownership, crossings)


def _refuse_bare_cuts(ownership: Ownership) -> None:
    parameters = {id(parameter) for parameter in ownership.trace.root.parameters()}
    for index, stage in enumerate(ownership.stages):
        has_parameter = any(index in used for state, used in ownership.state_stages.items() if state in parameters)
        if stage.cut_points and not has_parameter:
            raise ModelInvalid(
                f"cut point {stage.cut_points[0]!r} has no parameter before it that {stage.owner} would train; what "
                "crosses would be its input as it is",
                allowed="cuts after at least one layer with parameters",
                remedy="cut after a later layer",
            )


def _refuse_different_modes(training: Sequence[Crossing], evaluation: Sequence[Crossing]) -> None:
    described = [
        {(item.name, item.producer, item.consumers, item.layout) for item in crossings}
        for crossings in (training, evaluation)
    ]
    different = sorted({item[0] for item in described[0] ^ described[1]})
    if different:
        raise ModelInvalid(
            f"other values cross in training than in evaluation: {', '.join(different)}",
            allowed="cuts where both modes send the same values with the same shapes and dtypes",
            remedy="move the cut to where the model does not branch on self.training",
        )
