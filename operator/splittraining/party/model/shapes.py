"""What every traced node yields, without computing anything: shapes, dtypes, gradients, and who writes into whom.

The graph is walked with fake tensors (no memory, no arithmetic) for two numbers of rows. What differs between the two
is what grows with the batch; what does not, does not.
"""

# ruff: noqa: ANN401 - nodes yield anything, and fx.Interpreter says so

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.func import functional_call
from torch.utils import _pytree as pytree

from splittraining.api.errors import ModelInvalid
from splittraining.api.spec.model import InputSpec
from splittraining.api.wire_plan import DType
from splittraining.party.dtypes import TORCH_DTYPES
from splittraining.party.model.failures import render_error
from splittraining.party.model.trace import Trace, get_origin

ROWS = (4, 8)
"""Two batch sizes: even, so that models may halve a batch, and above one, which BatchNorm needs."""

_WIRE_DTYPES = {dtype: name for name, dtype in TORCH_DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Layout:
    """A tensor as the wire plan describes it: one row, and the dimension that grows with the rows."""

    dtype: DType
    shape: tuple[int, ...]
    batch_dimension: int
    differentiable: bool


@dataclass(slots=True)
class Shapes:
    """The outcome of both walks."""

    values: dict[fx.Node, tuple[Any, Any]] = field(default_factory=dict)
    """What each node yields with the smaller and the larger number of rows."""
    storages: dict[fx.Node, frozenset[int]] = field(default_factory=dict)
    """Identities of the memory behind a node's tensors; views share it."""
    writes: dict[fx.Node, frozenset[int]] = field(default_factory=dict)
    """Memory that a node changes in place."""

    def is_tensor(self, node: fx.Node) -> bool:
        """Returns whether the node yields exactly one tensor."""
        return isinstance(self.values[node][0], torch.Tensor)

    def holds_tensors(self, node: fx.Node) -> bool:
        """Returns whether the node yields a tensor or a container of some; if not, it yields a fact such as a size."""
        return self.count_tensors(node) > 0

    def count_tensors(self, node: fx.Node) -> int:
        """Returns how many tensors the node yields, counting those inside containers."""
        return sum(isinstance(leaf, torch.Tensor) for leaf in pytree.tree_leaves(self.values[node][0]))

    def requires_grad(self, node: fx.Node) -> bool:
        """Returns whether a gradient flows through what the node yields."""
        leaves = pytree.tree_leaves(self.values[node][0])
        return any(isinstance(leaf, torch.Tensor) and leaf.requires_grad for leaf in leaves)

    def describe(self, node: fx.Node) -> Layout:
        """Returns the layout of a tensor.

        Raises:
            ModelInvalid: if its size is not a fixed number of elements per row, or no wire dtype fits.
        """
        small, large = self.values[node]
        grown = [axis for axis, sizes in enumerate(zip(small.shape, large.shape, strict=True)) if sizes[0] != sizes[1]]
        fits = len(grown) <= 1 and all(
            small.shape[axis] % ROWS[0] == 0 and small.shape[axis] // ROWS[0] * ROWS[1] == large.shape[axis]
            for axis in grown
        )
        if not fits:
            raise ModelInvalid(
                f"value {node.name!r} has shape {tuple(small.shape)} for {ROWS[0]} rows and {tuple(large.shape)} for "
                f"{ROWS[1]} rows",
                allowed="values with one dimension that is a multiple of the rows, the others fixed",
                remedy="cut where each row has a size of its own",
            )
        if small.dtype not in _WIRE_DTYPES:
            raise ModelInvalid(
                f"value {node.name!r} has dtype {small.dtype}",
                allowed=", ".join(dtype.value for dtype in DType),
                remedy="convert it before the cut",
            )
        axis = grown[0] if grown else -1
        shape = tuple(size // ROWS[0] if index == axis else size for index, size in enumerate(small.shape))
        return Layout(_WIRE_DTYPES[small.dtype], shape, axis, bool(small.requires_grad))

    def copy_to(self, node: fx.Node, value: tuple[Any, Any]) -> None:
        """Enters a node that was made after the walks, such as an access to a member of a tuple."""
        self.values[node] = value
        self.storages[node] = _get_storages(value[0])
        self.writes[node] = frozenset()


def propagate(trace: Trace, inputs: Sequence[InputSpec]) -> Shapes:
    """Walks a trace with fake tensors for both numbers of rows.

    Raises:
        ModelInvalid: if an operation refuses the declared inputs, or a size depends on the data's values.
    """
    shapes = Shapes()
    by_name = {item.name: item for item in inputs}
    walks = [_Walk(trace, by_name, rows) for rows in ROWS]
    with _quiet_fake_tensors():
        for walk in walks:
            walk.run_all()
    for node in trace.graph.nodes:
        shapes.values[node] = (walks[0].env[node], walks[1].env[node])
        shapes.storages[node] = _get_storages(walks[0].env[node])
        shapes.writes[node] = frozenset(walks[0].writes[node])
    return shapes


@contextmanager
def _quiet_fake_tensors() -> Iterator[None]:
    # torch logs a traceback for each operation that refuses its inputs; the error that is raised says it all.
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


class _Walk(fx.Interpreter):
    """Runs the graph with fake tensors in place of parameters, buffers and inputs."""

    def __init__(self, trace: Trace, inputs: dict[str, InputSpec], rows: int) -> None:
        super().__init__(trace.root, garbage_collect_values=False, graph=trace.graph)
        self.extra_traceback = False
        self.writes: dict[fx.Node, set[int]] = defaultdict(set)
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        with self._mode:
            self._fakes = {
                name: torch.empty((rows, *item.shape), dtype=TORCH_DTYPES[item.dtype]) for name, item in inputs.items()
            }

    def run_all(self) -> None:
        """Runs every node."""
        with self._mode, torch.enable_grad():
            for node in self.graph.nodes:
                self.env[node] = self._run(node)

    def _run(self, node: fx.Node) -> Any:
        before = {
            leaf: leaf._version  # noqa: SLF001 - the only witness of a write in place
            for source in node.all_input_nodes
            for leaf in pytree.tree_leaves(self.env[source])
            if isinstance(leaf, torch.Tensor)
        }
        try:
            result = self.run_node(node)
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise ModelInvalid(
                f"`{node.name}` at {get_origin(node).place} depends on the data's values, not only on its shape",
                allowed="operations whose result has a fixed size per row",
                remedy="use a mask and torch.where instead of selecting, and no .item()",
            ) from error
        except Exception as error:
            declared = ", ".join(f"{name} {tuple(fake.shape)}" for name, fake in self._fakes.items())
            raise ModelInvalid(
                f"the model refuses inputs of the declared shapes ({declared}) in `{node.name}` at "
                f"{get_origin(node).place}: {render_error(error)}",
                remedy="correct model.inputs (dtype, shape of one row without the batch axis) or the model",
            ) from error
        self.writes[node] = {_identify(leaf) for leaf, version in before.items() if leaf._version != version}  # noqa: SLF001
        return result

    def placeholder(self, target: Any, args: Any, kwargs: Any) -> Any:  # noqa: ARG002
        return self._fakes[str(target)]

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:  # noqa: ARG002
        value = self.fetch_attr(target)
        return self._mode.from_tensor(value) if isinstance(value, torch.Tensor) else value

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        # With its real buffers a BatchNorm would count this walk as a batch.
        module: nn.Module = self.fetch_attr(target)
        own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        fakes: dict[str, torch.Tensor] = {name: self._mode.from_tensor(tensor) for name, tensor in own.items()}
        return functional_call(module, fakes, args, kwargs)


def _get_storages(value: Any) -> frozenset[int]:
    return frozenset(_identify(leaf) for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor))


def _identify(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - fake memory has no address
