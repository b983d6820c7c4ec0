"""What every traced node yields, without computing anything: shapes, dtypes, gradients, and who writes into whom.

The graph is walked with tensors that have neither memory nor values, for two numbers of rows. What differs between the
two is what grows with the batch; what does not, does not.

They are PyTorch's meta tensors, on which an operation takes microseconds. Where a model asks for more, such as for a
constant's value or a tensor on the CPU, it is walked again with fake tensors, which know that and take ten times as
long; what these refuse is refused.
"""

# ruff: noqa: ANN401 - nodes yield anything, and fx.Interpreter says so

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
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
from torch.utils._python_dispatch import TorchDispatchMode

from splittraining.api.errors import ModelInvalid
from splittraining.api.spec.model import InputSpec
from splittraining.api.wire_plan import DType
from splittraining.party.dtypes import TORCH_DTYPES
from splittraining.party.model.failures import render_error
from splittraining.party.model.trace import Trace, get_origin

ROWS = (4, 8)
"""Two batch sizes: even, so that models may halve a batch, and above one, which BatchNorm needs."""

_DEPENDENT = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}
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
    """Walks a trace for both numbers of rows.

    Raises:
        ModelInvalid: if an operation refuses the declared inputs, or a size depends on the data's values.
    """
    shapes = Shapes()
    by_name = {item.name: item for item in inputs}
    try:
        walks = [walk_on_meta(trace, by_name, rows) for rows in ROWS]
    except Exception:  # noqa: BLE001 - whatever it was: the other walk gets through, or says what is wrong
        with _quiet_fake_tensors():
            walks = [walk_with_fakes(trace, by_name, rows) for rows in ROWS]
    for node in trace.graph.nodes:
        shapes.values[node] = (walks[0].env[node], walks[1].env[node])
        shapes.storages[node] = _get_storages(walks[0].env[node])
        shapes.writes[node] = frozenset(walks[0].writes[node])
    return shapes


def walk_on_meta(trace: Trace, inputs: Mapping[str, InputSpec], rows: int) -> Walk:
    """Walks a trace with meta tensors; what they cannot say ends it with whatever error it was."""
    memory: dict[int, torch.UntypedStorage] = {}

    def lend(tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_contiguous():
            raise NotImplementedError("a layout of its own, such as channels last, is handed on as the device does it")
        real = tensor.untyped_storage()
        storage = memory.setdefault(_identify(tensor), torch.UntypedStorage(real.nbytes(), device="meta"))  # type: ignore[no-untyped-call]
        lent = torch.empty(0, dtype=tensor.dtype, device="meta")
        lent.set_(storage, tensor.storage_offset(), tensor.size(), tensor.stride())
        return lent.requires_grad_(tensor.requires_grad)

    with ExitStack() as around:
        around.enter_context(torch.device("meta"))
        around.enter_context(_NoValues())  # type: ignore[no-untyped-call]
        return Walk(trace, inputs, rows, lend)


def walk_with_fakes(trace: Trace, inputs: Mapping[str, InputSpec], rows: int) -> Walk:
    """Walks a trace with fake tensors.

    Raises:
        ModelInvalid: if an operation refuses the declared inputs, or a size depends on the data's values.
    """
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        return Walk(trace, inputs, rows, mode.from_tensor)


class _NoValues(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses operations whose result's size depends on values: some of them make one up for meta tensors."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if _DEPENDENT.intersection(func.tags):
            raise DynamicOutputShapeException(func)
        return func(*args, **(kwargs or {}))


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


class Walk(fx.Interpreter):
    """Runs the graph, once, with tensors without values in place of parameters, buffers and inputs.

    Args:
        trace: What to run.
        inputs: The declared inputs by name.
        rows: How many rows they have.
        lend: Returns the tensor that stands for a real one.

    Attributes:
        writes: By node, identities of the memory that it changes in place. What each yields is in `env`.
    """

    def __init__(
        self,
        trace: Trace,
        inputs: Mapping[str, InputSpec],
        rows: int,
        lend: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        super().__init__(trace.root, garbage_collect_values=False, graph=trace.graph)
        self.extra_traceback = False
        self.writes: dict[fx.Node, set[int]] = defaultdict(set)
        self._lend = lend
        self._inputs = {
            name: torch.empty((rows, *item.shape), dtype=TORCH_DTYPES[item.dtype]) for name, item in inputs.items()
        }
        with torch.enable_grad():
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
            declared = ", ".join(f"{name} {tuple(given.shape)}" for name, given in self._inputs.items())
            raise ModelInvalid(
                f"the model refuses inputs of the declared shapes ({declared}) in `{node.name}` at "
                f"{get_origin(node).place}: {render_error(error)}",
                remedy="correct model.inputs (dtype, shape of one row without the batch axis) or the model",
            ) from error
        self.writes[node] = {_identify(leaf) for leaf, version in before.items() if leaf._version != version}  # noqa: SLF001
        return result

    def placeholder(self, target: Any, args: Any, kwargs: Any) -> Any:  # noqa: ARG002
        """Returns the input of that name."""
        return self._inputs[str(target)]

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:  # noqa: ARG002
        """Returns what stands for an attribute of the model."""
        value = self.fetch_attr(target)
        return self._lend(value) if isinstance(value, torch.Tensor) else value

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Calls a module with what stands for its parameters and buffers."""
        # With its real buffers a BatchNorm would count this walk as a batch.
        module: nn.Module = self.fetch_attr(target)
        own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        lent = {name: self._lend(tensor) for name, tensor in own.items()}
        return functional_call(module, lent, args, kwargs)


def _get_storages(value: Any) -> frozenset[int]:
    return frozenset(_identify(leaf) for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor))


def _identify(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - fake memory has no address
