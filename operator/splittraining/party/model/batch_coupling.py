"""What a plan has to say of layers that normalize over the rows of a batch, where several clients run them at once."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from splittraining.api.spec.schedule import ScheduleMode, ScheduleSpec
from splittraining.api.wire_plan import CLIENT_OWNER
from splittraining.party.model.cut import CutModel

_OWN = "running statistics stay with each client"

_EFFECTS = {
    ScheduleMode.PARALLEL: f"a parallel step is then not equal to one large batch, and {_OWN}",
    ScheduleMode.SPLIT_FED: "running statistics are averaged with the weights, by rows",
}
"""By mode, where the clients' weights come together. Where every client keeps its own there is nothing to compare."""


def explain_batch_coupling(cut: CutModel, schedule: ScheduleSpec) -> list[str]:
    """Returns a sentence where clients that train at once normalize each over its own rows, else nothing."""
    if schedule.mode not in _EFFECTS:
        return []
    effect = _OWN if schedule.averaging_at is None else _EFFECTS[schedule.mode]
    held = {
        name
        for segment in cut.segments
        if segment.owner == CLIENT_OWNER
        for name in (*segment.parameters(), *segment.buffers())
    }
    layers = [
        name for name, module in cut.root.named_modules() if isinstance(module, _BatchNorm) and _has(module, name, held)
    ]
    if not layers:
        return []
    named = ", ".join(layers)
    return [f"{named} of the clients' segment normalizes over each client's own rows: {effect}"]


def _has(module: nn.Module, name: str, held: set[str]) -> bool:
    return any(f"{name}.{each}" in held for each in module.state_dict())
