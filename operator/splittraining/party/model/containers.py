"""Takes tuples apart, so that every value that may cross is one tensor.

A node that yields a tuple (an LSTM, `chunk`) is followed by accesses to its members. Each member gets exactly one
access node, which belongs to whoever computes the tuple; whoever takes the tuple whole is given its members instead.
"""

# ruff: noqa: ANN401 - tuples, lists and dicts of anything

from __future__ import annotations

import operator
from collections import deque
from dataclasses import replace
from typing import Any, cast

from torch import fx
from torch.fx.node import map_aggregate

from splittraining.party.model.shapes import Shapes
from splittraining.party.model.trace import Trace, get_origin


def is_container(node: fx.Node, shapes: Shapes) -> bool:
    """Returns whether a node yields tensors, but not as one tensor."""
    return node.op != "output" and not shapes.is_tensor(node) and shapes.holds_tensors(node)


def is_access(node: fx.Node, shapes: Shapes) -> bool:
    """Returns whether a node does nothing but take one member out of a container."""
    if node.op != "call_function" or node.target not in (operator.getitem, getattr):
        return False
    source, key = node.args[0], node.args[1]
    return isinstance(source, fx.Node) and is_container(source, shapes) and isinstance(key, int | str)


def take_containers_apart(trace: Trace, shapes: Shapes) -> None:
    """Rewrites the graph in place: one access node per member used, and no container taken whole by another node."""
    pending = deque(trace.graph.nodes)
    while pending:
        node = pending.popleft()
        if is_container(node, shapes):
            pending.extend(_take_apart(trace.graph, node, shapes))


def list_members(node: fx.Node, shapes: Shapes) -> list[tuple[int, fx.Node]]:
    """Returns the tensors inside what a node yields: their position among all of its tensors, and their nodes."""
    if shapes.is_tensor(node):
        return [(0, node)]
    if not is_container(node, shapes):
        return []
    accesses = {user.args[1]: user for user in node.users if is_access(user, shapes)}
    members: list[tuple[int, fx.Node]] = []
    position = 0
    for key, value in _iterate_members(shapes.values[node][0]):
        if key in accesses:
            members += [(position + offset, member) for offset, member in list_members(accesses[key], shapes)]
        position += _count_tensors(value)
    return members


def _take_apart(graph: fx.Graph, node: fx.Node, shapes: Shapes) -> list[fx.Node]:
    """Takes one container apart and returns the access nodes that this made."""
    value = shapes.values[node][0]
    accesses: dict[object, fx.Node] = {}
    for user in [user for user in node.users if is_access(user, shapes)]:
        key = _normalize_key(user.args[1], value)
        if key in accesses:
            user.replace_all_uses_with(accesses[key])
            graph.erase_node(user)
        else:
            user.target = operator.getitem
            user.update_arg(1, key)
            accesses[key] = user
    takers = [user for user in node.users if user not in accesses.values()]
    if not takers or not isinstance(value, tuple | list):
        return []
    made = [_make_access(graph, node, key, shapes) for key in range(len(value)) if key not in accesses]
    accesses |= {access.args[1]: access for access in made}
    members = [accesses[key] for key in range(len(value))]
    for access in reversed(members):
        node.append(access)  # a taker may come before the first access that the model itself makes
    whole = members if isinstance(value, list) else tuple(members)
    for taker in takers:
        taker.args = cast("Any", map_aggregate(taker.args, lambda item: whole if item is node else item))
        taker.kwargs = cast("Any", map_aggregate(taker.kwargs, lambda item: whole if item is node else item))
    return made


def _make_access(graph: fx.Graph, node: fx.Node, key: int, shapes: Shapes) -> fx.Node:
    with graph.inserting_after(node):
        access = graph.call_function(operator.getitem, (node, key))
    origin = get_origin(node)
    access.meta["origin"] = replace(origin, repeat=-1 - origin.repeat)  # the model's own accesses count from zero
    small, large = shapes.values[node]
    shapes.copy_to(access, (small[key], large[key]))
    return access


def _normalize_key(key: Any, value: Any) -> Any:
    """Returns the position of a member that was asked for from the end or, in a named tuple, by name."""
    if isinstance(key, str) and isinstance(value, tuple):
        member = getattr(value, key)
        return next(index for index, item in enumerate(value) if item is member)
    return key + len(value) if isinstance(key, int) and key < 0 and isinstance(value, tuple | list) else key


def _iterate_members(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, tuple | list) else []


def _count_tensors(value: Any) -> int:
    if isinstance(value, dict | tuple | list):
        return sum(_count_tensors(member) for _, member in _iterate_members(value))
    return int(hasattr(value, "untyped_storage"))
