"""Which operations after the trunk belong to which task's head.

An operation after the ends of the trunk that leads to one task's output belongs to that task's party. What leads to
several outputs is the trunk's, which is the server's; with parameters of its own that is refused, since the trunk then
ends too early. What leads to no task's output is not computed at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import fx

from splittraining.api.errors import ModelInvalid
from splittraining.party.model.dependence import Dependence
from splittraining.party.model.exits import Exit
from splittraining.party.model.outputs import list_marks
from splittraining.party.model.stages import StageSpec
from splittraining.party.model.trace import Trace, get_origin


@dataclass(frozen=True, slots=True)
class Rest:
    """The stages of the operations that lie before no cut point."""

    stage: int
    """The stage that takes what is left: the last that computes, or with tasks the trunk."""
    ends: dict[int, fx.Node]
    """Where the forward ends: the output in the last stage, or with tasks the mark of each output in its head."""
    has_tasks: bool
    reached: dict[fx.Node, tuple[int, ...]]
    """With tasks: the heads' stages whose outputs depend on each node."""
    after_trunk: frozenset[fx.Node]
    """With tasks: the operations that depend on the trunk's ends."""
    dependence: Dependence
    stages: Sequence[StageSpec]

    def is_dead(self, node: fx.Node) -> bool:
        """Returns whether nothing that anybody computes a loss of depends on a node before no cut point."""
        return self.has_tasks and not self.reached[node]

    def choose(self, node: fx.Node) -> int:
        """Returns the stage of an operation on data.

        Raises:
            ModelInvalid: if it has parameters that the heads of several tasks would train.
        """
        if not self.has_tasks or node not in self.after_trunk:
            return self.stage
        first, *others = self.reached[node]
        if not others:
            return first
        if self._uses_state(node):
            raise ModelInvalid(
                f"`{node.name}` at {get_origin(node).place} lies after the ends of the trunk and has parameters, and "
                f"the outputs of tasks {self._render_tasks(node)} depend on it",
                allowed="heads of one task each",
                remedy="let model.cutPoints name a layer after that line, or give each task a layer of its own",
            )
        return self.stage

    def choose_by_users(self, users: Sequence[int]) -> int:
        """Returns the stage of an operation on parameters alone: its first user's, or between heads the trunk."""
        if self.has_tasks and len(set(users)) > 1:
            return self.stage
        return min(users, default=self.stage)

    def _uses_state(self, node: fx.Node) -> bool:
        state = self.dependence.state
        return bool(state[node]) or any(
            state[source] for source in self.dependence.inputs[node] if source.op == "get_attr"
        )

    def _render_tasks(self, node: fx.Node) -> str:
        return " and ".join(self.stages[stage].task for stage in self.reached[node])


def find_rest(
    trace: Trace, dependence: Dependence, stages: Sequence[StageSpec], exits: Sequence[Sequence[Exit]]
) -> Rest:
    """Finds where operations that lie before no cut point go."""
    heads = [index for index, stage in enumerate(stages) if stage.task]
    if not heads:
        last = max(index for index, stage in enumerate(stages) if not stage.cut_points and not stage.receives_output)
        ends = {len(stages) - 1: trace.output}
        return Rest(
            last, ends, has_tasks=False, reached={}, after_trunk=frozenset(), dependence=dependence, stages=stages
        )
    trunk = max(index for index, stage in enumerate(stages) if not stage.task)
    marks = dict(zip(heads, list_marks(trace), strict=True))
    needed = {stage: dependence.collect_ancestors([mark]) for stage, mark in marks.items()}
    reached = {
        node: tuple(stage for stage, ancestors in needed.items() if node in ancestors) for node in trace.graph.nodes
    }
    trunk_ends = frozenset().union(*(found.nodes for found in exits[trunk]))
    after: set[fx.Node] = set()
    for node in trace.graph.nodes:
        if any(source in trunk_ends or source in after for source in dependence.inputs[node]):
            after.add(node)
    return Rest(
        trunk,
        marks,
        has_tasks=True,
        reached=reached,
        after_trunk=frozenset(after),
        dependence=dependence,
        stages=stages,
    )
