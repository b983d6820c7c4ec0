"""The outputs of several tasks: which of what forward returns is whose, each marked by an operation of its own.

A mark only hands its argument on. Marks stand at the end of the forward in the order of the tasks, where losses would
read the outputs. So an output that a head computes, one that crosses as it is, and one that is read by others too need
no case of their own: a mark is an operation of the task's party, and what it reads crosses like anything else.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, fx

from splittraining.api.errors import ModelInvalid
from splittraining.party.model.shapes import Shapes
from splittraining.party.model.stages import StageSpec
from splittraining.party.model.trace import Origin, Trace

_PLACE = "the end of forward"


def hand_over(output: Tensor) -> Tensor:
    """Returns its argument: the mark of a task's output."""
    return output


def mark_outputs(trace: Trace, stages: Sequence[StageSpec]) -> None:
    """Puts a mark on the output of every task, in place of what forward returns; without tasks nothing is changed.

    Raises:
        ModelInvalid: if forward does not return the outputs by name or position.
    """
    tasks = [stage for stage in stages if stage.task]
    if not tasks:
        return
    given = _list_outputs(trace)
    marks = []
    for number, stage in enumerate(tasks):
        if stage.output not in given:
            mode = "training" if trace.training else "evaluation"
            raise ModelInvalid(
                f"task {stage.task} names output {stage.output!r}, which the model's forward does not return in {mode} "
                "mode",
                allowed=", ".join(given),
                remedy="correct tasks[].output, or return it from forward",
            )
        with trace.graph.inserting_before(trace.output):
            mark = trace.graph.call_function(hand_over, (given[stage.output],))
        mark.meta["origin"] = Origin("", 1, -1 - number, number, _PLACE)
        marks.append(mark)
    trace.output.args = (tuple(marks),)


def list_marks(trace: Trace) -> tuple[fx.Node, ...]:
    """Returns the marks in the order of the tasks; none where there is one output without a task."""
    return tuple(trace.graph.find_nodes(op="call_function", target=hand_over))


def is_mark(node: fx.Node) -> bool:
    """Returns whether a node is the mark of a task's output."""
    return node.op == "call_function" and node.target is hand_over


def check_outputs(trace: Trace, shapes: Shapes, stages: Sequence[StageSpec]) -> None:
    """Refuses an output that no loss can be computed of.

    Raises:
        ModelInvalid: naming what forward returns.
    """
    mode = "training" if trace.training else "evaluation"
    tasks = [stage for stage in stages if stage.task]
    for stage, mark in zip(tasks, list_marks(trace), strict=True):
        if not shapes.is_tensor(mark):
            raise ModelInvalid(
                f"the model's forward returns something that is not one tensor as {stage.output!r} in {mode} mode",
                allowed=f"one tensor, which the loss of task {stage.task} compares with its label",
                remedy="return the tensor that the loss needs",
            )
    result = trace.output.args[0]
    if tasks or (isinstance(result, fx.Node) and shapes.is_tensor(result)):
        return
    kind = type(result).__name__ if not isinstance(result, fx.Node) else "something that is not one tensor"
    raise ModelInvalid(
        f"the model's forward returns {kind} in {mode} mode",
        allowed="one tensor, which the loss compares with the label; several outputs in topology MultiTask",
        remedy="return the tensor that the loss needs",
    )


def _list_outputs(trace: Trace) -> dict[str, fx.Node]:
    """Lists what forward returns by what tasks may call it."""
    result: Any = trace.output.args[0]
    named: dict[str, Any] = {}
    if isinstance(result, Mapping):
        named = {str(name): value for name, value in result.items()}
    elif isinstance(result, tuple | list):
        named = {str(position): value for position, value in enumerate(result)}
    elif isinstance(result, fx.Node) and isinstance(result.target, type) and hasattr(result.target, "_fields"):
        # A named tuple is traced as the operation that makes it; with its members marked nobody needs it any more.
        named = dict(zip(result.target._fields, result.args, strict=False)) | dict(result.kwargs)
        named |= {str(position): named[name] for position, name in enumerate(result.target._fields) if name in named}
    outputs = {name: value for name, value in named.items() if isinstance(value, fx.Node)}
    if not outputs:
        raise ModelInvalid(
            f"the model's forward returns {_render_kind(result)}, and tasks need outputs to choose from",
            allowed="a dict of tensors, whose keys tasks[].output names; or a tuple of tensors",
            remedy="return a dict with one tensor per task",
        )
    return outputs


def _render_kind(result: object) -> str:
    if not isinstance(result, fx.Node):
        return f"a {type(result).__name__} without tensors"
    return "one member of a tuple" if result.target is operator.getitem else "the result of one operation"
