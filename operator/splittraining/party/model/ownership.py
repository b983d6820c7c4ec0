"""Who runs which node.

A(c), the ancestors of what a cut point's call returns, belong to the stage that the cut ends; what lies in no A belongs
to the stage after the last cut. Three things do not follow from that and are decided here: work on raw inputs alone
stays with who holds them (else `h.view(x.size(0), -1)` would send `x` away), what depends on no data and no parameter
is computed by everybody who needs it, and parameters have exactly one owner. With several tasks, `heads` says whose
what lies in no A is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import fx

from splittraining.api.errors import ModelInvalid
from splittraining.party.model.containers import is_access
from splittraining.party.model.dependence import Dependence, StateId, find_dependence
from splittraining.party.model.exits import Exit, find_exit
from splittraining.party.model.heads import Rest, find_rest
from splittraining.party.model.shapes import Shapes
from splittraining.party.model.stages import StageSpec
from splittraining.party.model.trace import Trace, get_origin


@dataclass(frozen=True, slots=True)
class Ownership:
    """The stage of every node of one trace."""

    trace: Trace
    shapes: Shapes
    stages: Sequence[StageSpec]
    exits: tuple[tuple[Exit, ...], ...]
    """Per stage, the results of its cut points."""
    dependence: Dependence
    stage_of: dict[fx.Node, int]
    """Stages of all nodes that are not free; the output node is in the last one."""
    state_stages: dict[StateId, tuple[int, ...]]
    """Stages that use each parameter and updated buffer, ascending."""
    outputs: dict[int, fx.Node]
    """Stages that compute a loss, each with what it computes it of."""

    @property
    def has_tasks(self) -> bool:
        """Whether several stages compute losses."""
        return any(stage.task for stage in self.stages)

    def get_owner(self, stage: int) -> str:
        """Returns who runs a stage."""
        return self.stages[stage].owner

    def list_readers(self, node: fx.Node) -> tuple[fx.Node, ...]:
        """Returns the nodes that read a node's values, in forward order, but for those that only ask for its size."""
        return tuple(user for user in self.trace.graph.nodes if user in node.users and user in self.stage_of)


def decide_ownership(trace: Trace, shapes: Shapes, stages: Sequence[StageSpec]) -> Ownership:
    """Decides the stage of every node.

    Raises:
        ModelInvalid: if cut points are out of order or overlap, a node lies before the cuts of two clients, an argument
            has no holder, or two owners use one parameter.
    """
    dependence = find_dependence(trace, shapes)
    exits = tuple(tuple(find_exit(trace, shapes, layer) for layer in stage.cut_points) for stage in stages)
    inside = [dependence.collect_ancestors(node for found in stage for node in found.nodes) for stage in exits]
    _refuse_disorder(stages, exits, inside)
    holders = _find_holders(trace, stages)
    rest = find_rest(trace, dependence, stages, exits)
    stage_of: dict[fx.Node, int] = {node: stage for stage, node in rest.ends.items()}
    kept = frozenset().union(*inside)
    nodes = [node for node in trace.graph.nodes if node in kept or not rest.is_dead(node)]
    for node in nodes:
        if node in stage_of:
            continue
        if node.op == "placeholder":
            stage_of[node] = holders[str(node.target)]
        elif dependence.is_free[node] or not dependence.arguments[node]:
            continue  # free nodes belong to everybody; what comes from parameters alone is placed below, by its users
        elif is_access(node, shapes) and node.args[0] in stage_of:
            stage_of[node] = stage_of[node.all_input_nodes[0]]
        else:
            stage_of[node] = _choose_stage(node, stages, exits, inside, dependence, stage_of, rest)
    _place_parameter_work(nodes, dependence, inside, stage_of, rest)
    for node in trace.graph.nodes:
        if is_access(node, shapes) and node in stage_of:
            stage_of[node] = stage_of[node.all_input_nodes[0]]
    state_stages = _find_state_stages(trace, dependence, stage_of)
    _refuse_shared_state(trace, stages, state_stages)
    outputs = {stage: end.all_input_nodes[0] if end.op == "output" else end for stage, end in rest.ends.items()}
    return Ownership(trace, shapes, stages, exits, dependence, stage_of, state_stages, outputs)


def _choose_stage(
    node: fx.Node,
    stages: Sequence[StageSpec],
    exits: Sequence[Sequence[Exit]],
    inside: Sequence[frozenset[fx.Node]],
    dependence: Dependence,
    stage_of: Mapping[fx.Node, int],
    rest: Rest,
) -> int:
    candidates = [index for index, ancestors in enumerate(inside) if node in ancestors]
    if candidates:
        parallel = [index for index in candidates if stages[index].arguments]
        if len(parallel) > 1:
            first, second = parallel[:2]
            raise ModelInvalid(
                f"`{node.name}` at {get_origin(node).place} lies before the cuts of {stages[first].owner} and "
                f"{stages[second].owner}, so both would have to compute it from data that one of them does not have",
                allowed="branches that meet only after their cuts",
                remedy=f"move the cut of {stages[first].owner} or {stages[second].owner} before that line",
            )
        return candidates[0]
    sources = [source for source in dependence.inputs[node] if source in stage_of]
    (home, *others) = {stage_of[source] for source in sources}
    is_raw_work = (
        not others
        and bool(stages[home].arguments)
        and bool(stages[home].cut_points)
        and not dependence.state[node]
        and all(dependence.arguments[source] for source in dependence.inputs[node] if not dependence.is_free[source])
        and not any(dependence.state[source] for source in dependence.inputs[node] if source.op == "get_attr")
        and not any(source in found.nodes for found in exits[home] for source in sources)
    )
    return home if is_raw_work else rest.choose(node)


def _place_parameter_work(
    nodes: Sequence[fx.Node],
    dependence: Dependence,
    inside: Sequence[frozenset[fx.Node]],
    stage_of: dict[fx.Node, int],
    rest: Rest,
) -> None:
    """Places nodes that depend on parameters but on no data: with the first stage that uses what they yield."""
    for node in reversed(nodes):
        if node in stage_of or dependence.is_free[node]:
            continue
        candidates = [index for index, ancestors in enumerate(inside) if node in ancestors]
        users = [stage_of[user] for user in node.users if user in stage_of]
        stage_of[node] = candidates[0] if candidates else rest.choose_by_users(users)


def _find_holders(trace: Trace, stages: Sequence[StageSpec]) -> dict[str, int]:
    holders: dict[str, int] = {}
    for node in trace.graph.find_nodes(op="placeholder"):
        name = str(node.target)
        holding = [index for index, stage in enumerate(stages) if name in stage.arguments]
        if not holding:
            raise ModelInvalid(
                f"argument {name!r} of the model's forward is held by nobody",
                allowed="arguments that a client names under data.inputs",
                remedy=f"name {name} at the client that has its columns",
            )
        holders[name] = holding[0]
    return holders


def _refuse_disorder(
    stages: Sequence[StageSpec], exits: Sequence[Sequence[Exit]], inside: Sequence[frozenset[fx.Node]]
) -> None:
    """Refuses cut points of one chain that do not follow each other."""
    for later in range(len(stages)):
        for earlier in range(later):
            if not exits[earlier] or not exits[later] or (stages[later].arguments and stages[earlier].arguments):
                continue
            first, second = exits[earlier][0], exits[later][0]
            if second.nodes <= first.nodes or first.nodes <= second.nodes:
                raise ModelInvalid(
                    f"cut points {first.layer!r} and {second.layer!r} return the same value: nothing lies between them",
                    remedy="move one of them so that layers with parameters lie between them",
                )
            if second.nodes & inside[earlier]:
                raise ModelInvalid(
                    f"cut points out of order: {second.layer!r} comes before {first.layer!r} in the forward pass",
                    allowed="cut points in forward order",
                    remedy=f"list {second.layer!r} before {first.layer!r}",
                )


def _find_state_stages(
    trace: Trace, dependence: Dependence, stage_of: Mapping[fx.Node, int]
) -> dict[StateId, tuple[int, ...]]:
    found: dict[StateId, set[int]] = defaultdict(set)
    for node in trace.graph.nodes:
        for state in dependence.state[node]:
            users = node.users if node.op == "get_attr" else (node,)
            found[state].update(stage_of[user] for user in users if user in stage_of)
    return {state: tuple(sorted(indices)) for state, indices in found.items()}


def _refuse_shared_state(
    trace: Trace, stages: Sequence[StageSpec], state_stages: Mapping[StateId, tuple[int, ...]]
) -> None:
    for state, indices in state_stages.items():
        owners = list(dict.fromkeys(stages[index].owner for index in indices))
        if len(owners) > 1:
            names = name_state(trace, state)
            raise ModelInvalid(
                f"{' (also called '.join(names) + ')' * (len(names) - 1)} is used by {' and '.join(owners)}",
                allowed="parameters and updated buffers that one owner uses alone",
                remedy="give each owner a module of its own, or move the cut so that all uses lie on one side",
            )


def name_state(trace: Trace, state: StateId) -> list[str]:
    """Returns all names of a parameter or buffer."""
    tensors: list[tuple[str, torch.Tensor]] = [
        *trace.root.named_parameters(remove_duplicate=False),
        *trace.root.named_buffers(remove_duplicate=False),
    ]
    return [name for name, tensor in tensors if id(tensor) == state]
