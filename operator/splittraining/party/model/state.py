"""Which parameters and buffers are whose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from splittraining.party.model.dependence import get_attribute
from splittraining.party.model.ownership import Ownership
from splittraining.party.model.programs import StageGraph


@dataclass(slots=True)
class StateShare:
    """One stage's parameters and buffers by their names in the model."""

    parameters: dict[str, nn.Parameter] = field(default_factory=dict)
    buffers: dict[str, torch.Tensor] = field(default_factory=dict)
    uncalled: tuple[str, ...] = ()
    """Those among them that no operation uses."""


def assign_state(ownerships: Sequence[Ownership], graphs: Sequence[Mapping[bool, StageGraph]]) -> list[StateShare]:
    """Assigns every parameter and buffer to the stages that use it in either mode.

    What nobody uses goes to the last stage that computes anything, or with tasks to the trunk. A constant buffer that
    several stages read is the first one's; buffers that are not part of the model's state dict are nobody's, unless
    forward updates them.

    Args:
        ownerships: Of both modes.
        graphs: Per stage, the graphs of both modes.
    """
    root, stages = ownerships[0].trace.root, ownerships[0].stages
    used = [_list_used(root, ownerships, graphs[index], index) for index in range(len(stages))]
    updated = {state for ownership in ownerships for state in ownership.state_stages}
    rest = max(index for index, stage in enumerate(stages) if not stage.receives_output and not stage.task)
    shares = [StateShare() for _ in stages]
    uncalled: list[str] = []
    for name, parameter in root.named_parameters():
        users = [index for index, ids in enumerate(used) if id(parameter) in ids]
        for index in users or [rest]:
            shares[index].parameters[name] = parameter
        uncalled += [] if users else [name]
    persistent = root.state_dict().keys()
    for name, buffer in root.named_buffers():
        users = [index for index, ids in enumerate(used) if id(buffer) in ids]
        if name in persistent or id(buffer) in updated:
            for index in (users if id(buffer) in updated else users[:1]) or [rest]:
                shares[index].buffers[name] = buffer
    shares[rest].uncalled = tuple(uncalled)
    return shares


def _list_used(
    root: nn.Module, ownerships: Sequence[Ownership], graphs: Mapping[bool, StageGraph], stage: int
) -> set[int]:
    used = {state for own in ownerships for state, indices in own.state_stages.items() if stage in indices}
    for stage_graph in graphs.values():
        used |= {id(get_attribute(root, str(n.target))) for n in stage_graph.graph.find_nodes(op="get_attr")}
    return used
