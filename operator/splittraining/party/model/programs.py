"""Builds the graph of one stage: what it takes in, its own nodes, what it gives out."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import fx
from torch.fx.node import Argument

from splittraining.api.errors import ModelInvalid
from splittraining.party.dtypes import TORCH_DTYPES
from splittraining.party.model.crossings import OUTPUT, Crossing
from splittraining.party.model.dependence import list_asked
from splittraining.party.model.ownership import Ownership
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
        ModelInvalid: if such a size is not a multiple of the number of rows.
    """
    return _Builder(ownership, crossings, stage).build()


class _Builder:
    def __init__(self, ownership: Ownership, crossings: Sequence[Crossing], stage: int) -> None:
        self._ownership = ownership
        self._stage = stage
        self._nodes = list(ownership.trace.graph.nodes)
        self._incoming = [item for item in crossings if stage in item.consumers]
        self._outgoing = [item for item in crossings if item.producer == stage]
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
            for source in list_asked(node, self._ownership.shapes):
                if source not in self._env:
                    self._env[source] = self._add_stand_in(source)
            self._env[node] = self._graph.node_copy(node, self._get)
        results = [self._get(item.node) for item in self._outgoing]
        names = [item.name for item in self._outgoing]
        if self._stage in self._ownership.outputs:
            results.append(self._get(self._ownership.outputs[self._stage]))
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
            for source in (*dependence.inputs[node], *list_asked(node, self._ownership.shapes)):
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

    def _add_stand_in(self, node: fx.Node) -> Argument:
        """Adds a tensor without memory that answers what another stage's tensor would: shape, dtype, device."""
        shapes = self._ownership.shapes
        if not shapes.is_tensor(node):
            raise ModelInvalid(
                f"`{node.name}` at {get_origin(node).place} is asked for by another stage, and is not one tensor",
                allowed="sizes of tensors",
                remedy="take it from a value on the same side of the cut",
            )
        layout = shapes.describe(node)
        sizes: list[int | fx.Node] = list(layout.shape)
        if layout.batch_dimension >= 0:
            per_row = layout.shape[layout.batch_dimension]
            sizes[layout.batch_dimension] = self._graph.call_function(operator.mul, (self._rows, per_row))
        options: dict[str, Argument] = {"dtype": TORCH_DTYPES[layout.dtype], "device": self._device}
        scalar = self._graph.call_function(torch.empty, ((),), options)
        return self._graph.call_method("expand", (scalar, tuple(sizes)))

    def _get(self, node: fx.Node) -> Argument:
        if node not in self._env:
            raise AssertionError(f"{node.name} is read in stage {self._stage} but was not decided to cross")
        return self._env[node]
