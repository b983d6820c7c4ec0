"""Renders a cut as the documents of the API: the wire plan and the plan report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from torch import Tensor

from splittraining.api.errors import SpecInvalid
from splittraining.api.plan_report import PlanReport, SegmentReport
from splittraining.api.spec.model import LabelSpec
from splittraining.api.wire_plan import LossStage, Stage, Value, ValueSource, WirePlan
from splittraining.party.model.crossings import LABEL, Crossing
from splittraining.party.model.ownership import Ownership
from splittraining.party.model.stages import StageSpec
from splittraining.party.model.state import StateShare
from splittraining.party.model.trace import get_origin


def build_wire_plan(stages: Sequence[StageSpec], crossings: Sequence[Crossing], label: LabelSpec | None) -> WirePlan:
    """Builds the wire plan; labels are its last value where they travel.

    Raises:
        SpecInvalid: if labels must travel and their shape is not declared.
    """
    values = [
        Value(
            id=number,
            name=item.name,
            source=item.source,
            dtype=item.layout.dtype,
            shape=item.layout.shape,
            batch_dimension=item.layout.batch_dimension,
            differentiable=item.layout.differentiable,
            producer=item.producer,
            consumers=item.consumers,
        )
        for number, item in enumerate(crossings)
    ]
    last = len(stages) - 1
    if not any(stage.holds_label and stage.owner == stages[last].owner for stage in stages):
        if label is None:
            raise SpecInvalid(
                "the labels travel to the party that computes the loss, and model.label does not say what they are",
                allowed="model.label with dtype and shape of one row",
                remedy="add model.label, for example {dtype: Int64, shape: []}",
            )
        values.append(
            Value(
                id=len(values),
                name=LABEL,
                source=ValueSource.LABEL,
                dtype=label.dtype,
                shape=(1, *label.shape),
                batch_dimension=0,
                differentiable=False,
                producer=next(index for index, stage in enumerate(stages) if stage.holds_label),
                consumers=(last,),
            )
        )
    return WirePlan(
        stages=tuple(Stage(index=index, owner=stage.owner) for index, stage in enumerate(stages)),
        loss_stage=last,
        loss_stages=tuple(LossStage(stage=index, task=stage.task) for index, stage in enumerate(stages) if stage.task),
        values=tuple(values),
    )


def build_report(
    ownership: Ownership, shares: Sequence[StateShare], wire_plan: WirePlan, inexact: Sequence[str]
) -> PlanReport:
    """Builds the plan report."""
    layers = _list_layers(ownership)
    notes = [
        f"no operation uses {', '.join(share.uncalled)}; {stage.owner} keeps them as they are"
        for share, stage in zip(shares, ownership.stages, strict=True)
        if share.uncalled
    ]
    return PlanReport(
        segments=tuple(
            SegmentReport(
                stage=index,
                owner=stage.owner,
                num_parameters=sum(tensor.numel() for tensor in shares[index].parameters.values()),
                num_buffers=sum(tensor.numel() for tensor in shares[index].buffers.values()),
                layers=layers[index],
                **sizes,
            )
            for (index, stage), sizes in zip(
                enumerate(ownership.stages), _measure(ownership.stages, shares), strict=True
            )
        ),
        wire_plan=wire_plan,
        wire_plan_digest=wire_plan.compute_digest(),
        inexact=tuple(inexact),
        notes=tuple(notes),
    )


def _measure(stages: Sequence[StageSpec], shares: Sequence[StateShare]) -> Iterator[dict[str, int]]:
    """Yields the sizes of every stage's tensors; one that its owner has at an earlier stage too is one tensor."""
    seen: set[tuple[str, int]] = set()
    uncalled = {name for share in shares for name in share.uncalled}
    for stage, share in zip(stages, shares, strict=True):
        parameters = {name: each for name, each in share.parameters.items() if (stage.owner, id(each)) not in seen}
        buffers = [each for each in share.buffers.values() if (stage.owner, id(each)) not in seen]
        seen |= {(stage.owner, id(each)) for each in (*parameters.values(), *buffers)}
        trained = [each for name, each in parameters.items() if each.requires_grad and name not in uncalled]
        yield {
            "weight_bytes": _count_bytes([*parameters.values(), *buffers]),
            "parameter_bytes": _count_bytes(parameters.values()),
            "trained_bytes": _count_bytes(trained),
            "num_trained": len(trained),
        }


def _count_bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _list_layers(ownership: Ownership) -> list[tuple[str, ...]]:
    """Lists, per stage, the largest modules whose operations all lie in it."""
    stages_below: dict[str, set[int]] = defaultdict(set)
    for node, stage in ownership.stage_of.items():
        if node.op in ("call_module", "call_function", "call_method"):
            for prefix in _list_prefixes(get_origin(node).path):
                stages_below[prefix].add(stage)
    layers: list[dict[str, None]] = [{} for _ in ownership.stages]
    for node in ownership.trace.graph.nodes:
        if node.op not in ("call_module", "call_function", "call_method") or node not in ownership.stage_of:
            continue
        whole = [path for path in _list_prefixes(get_origin(node).path) if len(stages_below[path]) == 1]
        if whole:
            layers[ownership.stage_of[node]][whole[0]] = None
    return [tuple(names) for names in layers]


def _list_prefixes(path: str) -> list[str]:
    """Lists a module's name and those around it, outermost first, without the model itself."""
    parts = path.split(".") if path else []
    return [".".join(parts[: length + 1]) for length in range(len(parts))]
