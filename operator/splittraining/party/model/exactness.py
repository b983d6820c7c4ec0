"""Whether the gradients of a cut model add up in the order in which autograd adds them uncut.

Addition of floats is not associative. Autograd adds the gradients of a value's readers latest reader first; stages run
backward one after the other, so a value whose readers' stages do not rise in forward order gets another order. With
two readers any order is the same.

With several tasks each head's gradient goes straight to the producer, which adds them up, latest stage first: exact
where each head reads the value once, but for the latest one, whose own sum comes first. See docs/backward.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from torch import fx

from splittraining.party.model.crossings import Crossing
from splittraining.party.model.ownership import Ownership, name_state
from splittraining.party.model.trace import get_origin

_ENOUGH_TO_DIFFER = 3
"""Readers of a value whose gradients can be added in orders with different results."""


def find_inexact(ownership: Ownership, crossings: Sequence[Crossing]) -> tuple[str, ...]:
    """Returns a sentence for each value and each parameter whose gradient adds up in another order."""
    sentences = []
    for crossing in crossings:
        order = _list_reader_stages(ownership, crossing.node)
        if crossing.layout.differentiable and ownership.has_tasks and is_regrouped(order, producer=crossing.producer):
            sentences.append(_render_task_value(ownership, crossing, order))
        elif crossing.layout.differentiable and not ownership.has_tasks and is_interleaved(order):
            sentences.append(_render_value(ownership, crossing))
    for state, stages in ownership.state_stages.items():
        if len(stages) > 1:
            uses = _list_use_stages(ownership, state)
            if is_interleaved(uses):
                names = name_state(ownership.trace, state)
                sentences.append(
                    f"parameter {names[0]} is used by stages {_render_order(uses)} in forward order, so its gradient "
                    "adds up in another order than uncut: equal up to rounding"
                )
    return tuple(sentences)


def is_interleaved(stages: Sequence[int]) -> bool:
    """Returns whether three or more readers' stages, in forward order, do not rise."""
    return len(stages) >= _ENOUGH_TO_DIFFER and list(stages) != sorted(stages)


def is_regrouped(stages: Sequence[int], *, producer: int) -> bool:
    """Returns whether a producer that adds up one sum per stage, latest stage first, adds in another order than uncut.

    Args:
        stages: The stages of the readers in forward order.
        producer: The stage that adds; what its own readers give it comes last, one by one.
    """
    if len(stages) < _ENOUGH_TO_DIFFER:
        return False
    grouped = list(stages) != sorted(stages)
    return grouped or any(stages.count(stage) > 1 for stage in set(stages) - {producer, stages[-1]})


def _list_reader_stages(ownership: Ownership, node: fx.Node) -> list[int]:
    return [ownership.stage_of[user] for user in _list_readers(ownership, node)]


def _list_readers(ownership: Ownership, node: fx.Node) -> list[fx.Node]:
    """Returns the readers that a gradient comes back from, in forward order."""
    readers = ownership.list_readers(node)
    return [user for user in readers if user.op == "output" or ownership.shapes.requires_grad(user)]


def _list_use_stages(ownership: Ownership, state: int) -> list[int]:
    uses: list[int] = []
    sources = [node for node, states in ownership.dependence.state.items() if state in states]
    for node in ownership.trace.graph.nodes:
        if node not in ownership.stage_of:
            continue
        if any(source is node or (source.op == "get_attr" and source in node.all_input_nodes) for source in sources):
            uses.append(ownership.stage_of[node])
    return uses


def _render_value(ownership: Ownership, crossing: Crossing) -> str:
    order = _list_reader_stages(ownership, crossing.node)
    paths = [get_origin(user).path.split(".") for user in _list_readers(ownership, crossing.node)]
    around = ".".join(parts[0] for parts in takewhile(lambda p: len(set(p)) == 1, zip(*paths, strict=False)))
    where = f"to the end of {around!r}" if around else "before or after all of these reads"
    return (
        f"value {crossing.name!r} is read by stages {_render_order(order)} in forward order, so its gradient adds up "
        f"in another order than uncut: equal up to rounding; move the cut {where}"
    )


def _render_task_value(ownership: Ownership, crossing: Crossing, order: Sequence[int]) -> str:
    """Says what of a value read by several heads is inexact, and how to mend it."""
    stages = ownership.stages
    heads = [stage for stage in dict.fromkeys(order) if stages[stage].task]
    by_first_read = ", ".join(stages[stage].task for stage in heads)
    repeated = [stages[stage].task for stage in heads[:-1] if order.count(stage) > 1]
    if repeated:
        fix = (
            f"let the head of {' and '.join(repeated)} read it once, as in `h = h.clone()` at its start, or compute"
            " that head last in forward"
        )
    elif heads != sorted(heads):
        fix = f"list tasks in the order in which forward computes their heads: {by_first_read}"
    else:
        fix = "compute one head after the other in forward, and the trunk before them"
    return (
        f"value {crossing.name!r} is read by stages {_render_order(order)} in forward order, so its gradient adds up "
        f"in another order than uncut: equal up to rounding; {fix}"
    )


def _render_order(stages: Sequence[int]) -> str:
    return ", ".join(str(stage) for stage in stages)
