"""What each node depends on: which arguments' data, which parameters, which nodes before it.

Reading memory that another node wrote in place depends on that node too, although no edge of the graph says so.
A size depends on no data: `x.size(0)` tells how many rows there are and nothing of what is in them. So whoever needs a
size, or a tensor of zeros of that size, does not need the tensor that is asked for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import fx, nn

from splittraining.party.model.shapes import Shapes
from splittraining.party.model.trace import Trace

_FACTORIES = frozenset(
    {"new_empty", "new_full", "new_ones", "new_zeros", "empty_like", "full_like", "ones_like", "zeros_like"}
)
"""Operations that make a tensor after the pattern of their first argument and read nothing of it."""

StateId = int
"""Identity of a parameter or buffer: several names may stand for one."""


@dataclass(frozen=True, slots=True)
class Dependence:
    """The dependences of one trace."""

    inputs: dict[fx.Node, tuple[fx.Node, ...]]
    """Nodes whose values each node reads, with writers of the memory it reads."""
    arguments: dict[fx.Node, frozenset[str]]
    """Names of the arguments of forward whose values reach each node."""
    state: dict[fx.Node, frozenset[StateId]]
    """Parameters and updated buffers that each node itself uses."""
    is_free: dict[fx.Node, bool]
    """Whether a node depends on neither data nor parameters: everybody may compute it for themselves."""

    def collect_ancestors(self, nodes: Iterable[fx.Node]) -> frozenset[fx.Node]:
        """Returns the nodes and everything they depend on."""
        found: set[fx.Node] = set()
        pending = list(nodes)
        while pending:
            node = pending.pop()
            if node not in found:
                found.add(node)
                pending.extend(self.inputs[node])
        return frozenset(found)


def find_dependence(trace: Trace, shapes: Shapes) -> Dependence:
    """Finds what each node of a trace depends on."""
    inputs = _find_inputs(trace, shapes)
    state = _find_state(trace, shapes)
    arguments: dict[fx.Node, frozenset[str]] = {}
    for node in trace.graph.nodes:
        if node.op == "placeholder":
            arguments[node] = frozenset({str(node.target)})
        elif _is_fact(node, shapes):
            arguments[node] = frozenset()
        else:
            arguments[node] = frozenset().union(*(arguments[source] for source in inputs[node]))
    bound = _find_bound(trace, shapes, inputs, state, arguments)
    return Dependence(inputs, arguments, state, {node: node not in bound for node in trace.graph.nodes})


def list_asked(node: fx.Node, shapes: Shapes) -> tuple[fx.Node, ...]:
    """Lists the nodes that a node asks for size, dtype or device only."""
    if _is_fact(node, shapes):
        return tuple(source for source in node.all_input_nodes if shapes.holds_tensors(source))
    name = getattr(node.target, "__name__", str(node.target))
    is_factory = node.op in ("call_function", "call_method") and name in _FACTORIES
    return tuple(node.all_input_nodes[:1]) if is_factory else ()


def _is_fact(node: fx.Node, shapes: Shapes) -> bool:
    return node.op != "output" and not shapes.holds_tensors(node)


def _find_bound(
    trace: Trace,
    shapes: Shapes,
    inputs: dict[fx.Node, tuple[fx.Node, ...]],
    state: dict[fx.Node, frozenset[StateId]],
    arguments: dict[fx.Node, frozenset[str]],
) -> set[fx.Node]:
    """Finds the nodes that depend on data or parameters, or share memory that such a node writes into."""
    written: frozenset[int] = frozenset()
    while True:
        bound: set[fx.Node] = set()
        for node in trace.graph.nodes:
            if node.op == "get_attr" or _is_fact(node, shapes):
                continue
            reads_state = any(source.op == "get_attr" and state[source] for source in inputs[node])
            if (
                arguments[node]
                or state[node]
                or reads_state
                or shapes.storages[node] & written
                or any(source in bound for source in inputs[node])
            ):
                bound.add(node)
        now_written = frozenset().union(*(shapes.writes[node] for node in bound))
        if now_written == written:
            return bound
        written = now_written  # two owners would hold two versions of it, so whoever makes it is bound as well


def _find_inputs(trace: Trace, shapes: Shapes) -> dict[fx.Node, tuple[fx.Node, ...]]:
    writers: dict[int, list[fx.Node]] = defaultdict(list)
    inputs: dict[fx.Node, tuple[fx.Node, ...]] = {}
    for node in trace.graph.nodes:
        asked = list_asked(node, shapes)
        read = [source for source in node.all_input_nodes if source not in asked]
        storages = {storage for source in read for storage in shapes.storages[source]}
        earlier = [writer for storage in sorted(storages) for writer in writers[storage]]
        inputs[node] = tuple(dict.fromkeys([*read, *earlier]))
        for storage in shapes.writes[node]:
            writers[storage].append(node)
    return inputs


def _find_state(trace: Trace, shapes: Shapes) -> dict[fx.Node, frozenset[StateId]]:
    modules = dict(trace.root.named_modules(remove_duplicate=False))
    written = frozenset().union(*(shapes.writes[node] for node in trace.graph.nodes))
    state: dict[fx.Node, frozenset[StateId]] = {}
    for node in trace.graph.nodes:
        if node.op == "call_module":
            state[node] = frozenset(id(tensor) for tensor in _iterate_state(modules[str(node.target)]))
        elif node.op == "get_attr":
            tensor = get_attribute(trace.root, str(node.target))
            is_state = isinstance(tensor, nn.Parameter) or bool(shapes.storages[node] & written)
            state[node] = frozenset({id(tensor)}) if is_state else frozenset()
        else:
            state[node] = frozenset()
    return state


def _iterate_state(module: nn.Module) -> Iterable[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def get_attribute(root: nn.Module, target: str) -> object:
    """Returns what a `get_attr` node reads."""
    value: object = root
    for part in target.split("."):
        value = getattr(value, part)
    return value
