"""A plan as a picture: parties as boxes, their segments inside, and everything that crosses between them as arrows.

The text is Mermaid, which Git forges and most Markdown viewers draw by themselves. Plain arrows are values going
forward, dashed ones their gradients coming back, thick ones labels. What is not drawn does not cross.
"""

from __future__ import annotations

import re

from splittraining.api.plan_report import PlanReport, SegmentReport
from splittraining.api.wire_plan import CLIENT_OWNER, Direction, Transfer, ValueSource, WirePlan

_MAX_LAYERS = 3
_CLIENT_TITLE = "each client"


def render_diagram(report: PlanReport) -> str:
    """Renders a plan as a Mermaid flowchart."""
    plan = report.wire_plan
    loss_stages = {stage.index for stage in plan.stages if plan.computes_loss(stage.index)}
    lines = ["flowchart LR"]
    owners = list(dict.fromkeys(stage.owner for stage in plan.stages))
    for number, owner in enumerate(owners):
        lines.append(f'  subgraph party{number}["{_escape(_CLIENT_TITLE if owner == CLIENT_OWNER else owner)}"]')
        lines += [f"    {_render_segment(segment)}" for segment in report.segments if segment.owner == owner]
        lines += [f'    loss{stage}(("loss"))' for stage in sorted(loss_stages) if plan.stages[stage].owner == owner]
        lines.append("  end")
    lines += [f"  stage{stage} --> loss{stage}" for stage in sorted(loss_stages)]
    lines += [
        f"  {_render_local(plan, value.producer, value.consumers[-1], value.name)}"
        for value in plan.values
        if value.source is ValueSource.LOCAL
    ]
    lines += [f"  {_render_transfer(transfer, loss_stages)}" for transfer in plan.iterate_transfers(training=True)]
    return "\n".join(lines) + "\n"


def _render_segment(segment: SegmentReport) -> str:
    layers = ", ".join(segment.layers[:_MAX_LAYERS])
    if len(segment.layers) > _MAX_LAYERS:
        layers += f" and {len(segment.layers) - _MAX_LAYERS} more"
    size = f"{segment.num_parameters} parameters"
    return f'stage{segment.stage}["{_escape(layers or "nothing of its own")}<br/>{size}"]'


def _render_transfer(transfer: Transfer, losses: set[int]) -> str:
    value = transfer.value
    shape = " x ".join(str(size) for axis, size in enumerate(value.shape) if axis != value.batch_dimension) or "1"
    start, end = f"stage{transfer.from_stage}", f"stage{transfer.to_stage}"
    if value.source is ValueSource.LABEL:
        target = f"loss{transfer.to_stage}" if transfer.to_stage in losses else end
        return f'{start} ==>|"{_escape(value.name)}: {shape} {value.dtype}"| {target}'
    if transfer.direction is Direction.BACKWARD:
        return f'{start} -.->|"gradient of {_escape(value.name)}"| {end}'
    return f'{start} -->|"{_escape(value.name)}: {shape} {value.dtype}"| {end}'


def _render_local(plan: WirePlan, start: int, end: int, name: str) -> str:
    assert plan.stages[start].owner == plan.stages[end].owner, "a local value stays with its owner"
    return f'stage{start} -->|"{_escape(name)}, stays here"| stage{end}'


def _escape(text: str) -> str:
    """Writes what has a meaning in Mermaid, and in the HTML it becomes, by its number."""
    return re.sub(r"[^\w ,.:@/+()-]", lambda found: f"#{ord(found.group())};", text)
