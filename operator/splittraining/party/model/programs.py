"""Builds the graph of one stage: what it takes in, its own nodes, what it gives out."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.fx.node import Argument

from splittraining.api.errors import ModelInvalid
from splittraining.party.model.crossings import OUTPUT, Crossing
from splittraining.party.model.ownership import Ownership
from splittraining.party.model.shapes import ROWS
from splittraining.party.model.trace import get_origin


@dataclass(frozen=True, slots=True)
class StageGraph:
    """The graph of one stage in one mode. Its placeholders are arguments, values, rows, device, in this order."""

    graph: fx.Graph
    arguments: tuple[str, ...]
    values: tuple[str, ...]
    needs_rows: bool
    needs_device: bool
    outputs: tuple[str, ...]


def build_stage_graph(ownership: Ownership, crossings: Sequence[Crossing], stage: int) -> StageGraph:
    """Builds the graph of one stage.

    Sizes of values that belong to other stages are worked out from the number of rows, so that no size crosses.

    Raises:
        ModelInvalid: if such a size does not follow from the number of rows.
    """
    return _Builder(ownership, crossings, stage).build()


class _Builder:
    def __init__(self, ownership: Ownership, crossings: Sequence[Crossing], stage: int) -> None:
        self._ownership = ownership
        self._stage = stage
        self._nodes = list(ownership.trace.graph.nodes)
        self._incoming = [item for item in crossings if stage in item.consumers]
        self._outgoing = [item for item in crossings if item.producer == stage]
        self._is_last = stage == len(ownership.stages) - 1
        self._graph = fx.Graph()
        self._env: dict[fx.Node, Argument] = {}
        self._rows: fx.Node
        self._device: fx.Node

    def build(self) -> StageGraph:
        needed = self._find_needed()
        arguments = self._add_arguments(needed)
        for number, item in enumerate(self._incoming):  # names such as block.0 are no names in Python
            self._env[item.node] = self._graph.placeholder(f"value_{number}")
        self._rows, self._device = self._graph.placeholder("rows"), self._graph.placeholder("device")
        for node in self._nodes:
            if node not in needed or node in self._env or node.op == "output":
                continue
            if self._is_foreign_fact(node):
                self._env[node] = self._rebuild_fact(node, *self._ownership.shapes.values[node])
            else:
                self._env[node] = self._graph.node_copy(node, self._get)
        results = [self._get(item.node) for item in self._outgoing]
        names = [item.name for item in self._outgoing]
        if self._is_last:
            results.append(self._get(self._ownership.trace.output.all_input_nodes[0]))
            names.append(OUTPUT)
        self._graph.output(tuple(results))
        needs_rows, needs_device = bool(self._rows.users), bool(self._device.users)
        for placeholder, needs in ((self._device, needs_device), (self._rows, needs_rows)):
            if not needs:
                self._graph.erase_node(placeholder)
        self._graph.lint()
        values = tuple(item.name for item in self._incoming)
        return StageGraph(self._graph, arguments, values, needs_rows, needs_device, tuple(names))

    def _find_needed(self) -> set[fx.Node]:
        """Finds the stage's own nodes and the free ones they read or that write into what they read."""
        dependence = self._ownership.dependence
        needed = {node for node, stage in self._ownership.stage_of.items() if stage == self._stage}
        pending = list(needed)
        while pending:
            node = pending.pop()
            if self._is_foreign_fact(node):
                continue
            for source in dependence.inputs[node]:
                if source not in needed and (dependence.is_free[source] or self._is_own_argument(source)):
                    needed.add(source)
                    pending.append(source)
        return needed

    def _add_arguments(self, needed: set[fx.Node]) -> tuple[str, ...]:
        names: list[str] = []
        for node in self._nodes:
            if node.op == "placeholder" and node in needed and node.users:
                self._env[node] = self._graph.placeholder("argument_" + str(node.target))
                names.append(str(node.target))
        return tuple(names)

    def _is_own_argument(self, node: fx.Node) -> bool:
        own = self._ownership.stages[self._stage].arguments
        return node.op == "placeholder" and str(node.target) in own

    def _is_foreign_fact(self, node: fx.Node) -> bool:
        """Returns whether a node asks something of a tensor that this stage does not have, such as its size."""
        shapes, stage_of = self._ownership.shapes, self._ownership.stage_of
        if node.op == "output" or shapes.holds_tensors(node):
            return False
        tensors = [source for source in node.all_input_nodes if source in stage_of]
        incoming = {item.node for item in self._incoming}
        return any(
            stage_of[source] != self._stage and source not in incoming and not self._is_own_argument(source)
            for source in tensors
        )

    def _rebuild_fact(self, node: fx.Node, small: Any, large: Any) -> Any:
        """Builds what another stage's tensor would answer: a constant, or a linear function of the rows."""
        if isinstance(small, torch.device):
            return self._device
        if isinstance(small, tuple | list):
            return tuple(self._rebuild_fact(node, *pair) for pair in zip(small, large, strict=True))
        if small == large and type(small) is type(large):
            return small
        is_number = isinstance(small, int) and not isinstance(small, bool)
        per_row, remainder = divmod(large - small, ROWS[1] - ROWS[0]) if is_number else (0, 1)
        if remainder:
            raise ModelInvalid(
                f"`{node.name}` at {get_origin(node).place} is {small} for {ROWS[0]} rows and {large} for {ROWS[1]}, "
                "and another stage needs it",
                allowed="sizes that are a multiple of the rows plus a constant",
                remedy="take the size of a value on the same side of the cut",
            )
        scaled = self._graph.call_function(operator.mul, (self._rows, per_row))
        return self._graph.call_function(operator.add, (scaled, small - per_row * ROWS[0]))

    def _get(self, node: fx.Node) -> Argument:
        if node not in self._env:
            raise AssertionError(f"{node.name} is read in stage {self._stage} but was not decided to cross")
        return self._env[node]
