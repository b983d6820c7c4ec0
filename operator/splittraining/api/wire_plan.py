"""The wire plan: which values cross between owners, and how many bytes that is. Every party derives it and must agree.

A *stage* is one uninterrupted run of one owner along the forward pass; a U-shape is three stages of two owners. A
*value* is produced by one stage and consumed by later ones. Going forward a value is sent to the owner of each
consuming stage that does not hold it yet; going backward its gradient walks back through the same stages, last
consumer first, and each stage adds its own share (docs/backward.md says why that order is bit-exact). Where several
stages compute losses, one per task, no party may see another one's gradients: each goes straight to the value's
producer, which adds them up.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Annotated

from pydantic import Field

from splittraining.api.base import Document, compute_digest

CLIENT_OWNER = "client"
"""Owner name of the segments that every client of a Vanilla or UShaped training runs in its turn."""


class DType(enum.StrEnum):
    """Element types that may cross, with the little-endian layout of their raw bytes."""

    FLOAT64 = "Float64"
    FLOAT32 = "Float32"
    FLOAT16 = "Float16"
    BFLOAT16 = "BFloat16"
    INT64 = "Int64"
    INT32 = "Int32"
    INT16 = "Int16"
    INT8 = "Int8"
    UINT8 = "UInt8"
    BOOL = "Bool"

    @property
    def size_bytes(self) -> int:
        """Bytes of one element."""
        return _SIZES[self]


_SIZES = {
    DType.FLOAT64: 8,
    DType.FLOAT32: 4,
    DType.FLOAT16: 2,
    DType.BFLOAT16: 2,
    DType.INT64: 8,
    DType.INT32: 4,
    DType.INT16: 2,
    DType.INT8: 1,
    DType.UINT8: 1,
    DType.BOOL: 1,
}


class ValueSource(enum.StrEnum):
    """Why a value may cross."""

    CUT = "Cut"  # what a cut point's call returns
    EXTRA = "Extra"  # listed in model.extraCrossings
    OUTPUT = "Output"  # the model's output, where the loss is somewhere else
    LABEL = "Label"  # labels that travel to a server that computes the loss
    LOCAL = "Local"  # never crosses: it stays with its owner from one of its stages to a later one


class Stage(Document):
    """One uninterrupted run of one owner along the forward pass."""

    index: Annotated[int, Field(ge=0, le=255)]
    """Position in forward order."""
    owner: Annotated[str, Field(min_length=1, max_length=40)]
    """`server`, `client` (whichever client has the turn) or a party's name."""


class Value(Document):
    """One tensor that crosses between stages of different owners, or returns to its owner past another one."""

    id: Annotated[int, Field(ge=0, le=65535)]
    """Number in frame headers: position in WirePlan.values."""
    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Stable name: the cut's `layer`, `layer#1` for a second tensor of its result, the node's name, or `label`."""
    source: ValueSource
    """Why it may cross."""
    dtype: DType
    """Element type on the wire."""
    shape: Annotated[tuple[int, ...], Field(max_length=16)]
    """Shape for a batch of one row; `batchDimension` grows with the rows."""
    batch_dimension: Annotated[int, Field(ge=-1, le=15)] = 0
    """Which dimension is multiplied by the number of rows; -1 for none."""
    differentiable: bool = True
    """Whether a gradient comes back."""
    producer: Annotated[int, Field(ge=0, le=255)]
    """Index of the stage that computes it."""
    consumers: Annotated[tuple[int, ...], Field(min_length=1, max_length=255)]
    """Indices of the later stages that read it, ascending."""

    def compute_shape(self, rows: int) -> tuple[int, ...]:
        """Returns the shape for a batch of `rows` rows."""
        return tuple(size * rows if axis == self.batch_dimension else size for axis, size in enumerate(self.shape))

    def compute_size_bytes(self, rows: int) -> int:
        """Returns the payload of one transfer: elements times bytes per element, no framing."""
        return prod(self.compute_shape(rows)) * self.dtype.size_bytes


class Direction(enum.StrEnum):
    """Which way a transfer goes along the graph."""

    FORWARD = "Forward"
    BACKWARD = "Backward"


@dataclass(frozen=True, slots=True)
class Transfer:
    """One value or gradient sent once per step from the owner of one stage to the owner of another."""

    value: Value
    direction: Direction
    from_stage: int
    to_stage: int
    sender: str
    receiver: str


class LossStage(Document):
    """One of several losses whose sum is minimized."""

    stage: Annotated[int, Field(ge=0, le=255)]
    """Index of the stage that computes it."""
    task: Annotated[str, Field(min_length=1, max_length=40)]
    """The task that it is the loss of."""


class WirePlan(Document):
    """Stages in forward order, the stages that compute losses, and every value between stages."""

    wire_plan_version: int = 1
    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=256)]
    """Stages in forward order."""
    loss_stage: Annotated[int, Field(ge=0, le=255)]
    """Index of the stage that computes the loss, or the last of several: always the last one."""
    loss_stages: Annotated[tuple[LossStage, ...], Field(max_length=16, exclude_if=lambda given: not given)] = ()
    """Stages that compute a task's loss each, in the order in which the losses are added; given with tasks only."""
    values: Annotated[tuple[Value, ...], Field(max_length=4096)] = ()
    """Values between stages; a value whose producer and consumers share one owner is listed but never sent forward."""

    def compute_digest(self) -> str:
        """Returns the digest that every party shows in its first frame."""
        return compute_digest(self.model_dump(mode="json", by_alias=True))

    def computes_loss(self, stage: int) -> bool:
        """Returns whether a stage computes a loss."""
        return stage in ([item.stage for item in self.loss_stages] or [self.loss_stage])

    def find_gradient_target(self, value: Value, stage: int) -> int:
        """Returns the stage to which a consumer gives its gradient by a value.

        That is the stage before it that holds the value, which adds its own share, or with several losses the producer.
        """
        if self.loss_stages:
            return value.producer
        return (value.producer, *(consumer for consumer in value.consumers if consumer < stage))[-1]

    def iterate_forward(self, stage: int) -> Iterator[Transfer]:
        """Yields, in sending order, the forward transfers into one stage."""
        for value in self.values:
            if stage not in value.consumers:
                continue
            receiver = self.stages[stage].owner
            earlier = (value.producer, *(c for c in value.consumers if c < stage))
            if receiver in {self.stages[index].owner for index in earlier}:
                continue
            sender = self.stages[value.producer].owner
            yield Transfer(value, Direction.FORWARD, value.producer, stage, sender, receiver)

    def iterate_backward(self, stage: int) -> Iterator[Transfer]:
        """Yields, in sending order, the gradients that leave one stage after its backward pass."""
        for value in self.values:
            if not value.differentiable or stage not in value.consumers:
                continue
            target = self.find_gradient_target(value, stage)
            sender, receiver = self.stages[stage].owner, self.stages[target].owner
            if sender != receiver:
                yield Transfer(value, Direction.BACKWARD, stage, target, sender, receiver)

    def iterate_transfers(self, *, training: bool) -> Iterator[Transfer]:
        """Yields every transfer of one step in the order of the graph; evaluation has no backward ones."""
        for stage in self.stages:
            yield from self.iterate_forward(stage.index)
        if training:
            for stage in reversed(self.stages):
                yield from self.iterate_backward(stage.index)

    def compute_link_bytes(self, rows: int, *, training: bool = True) -> dict[tuple[str, str], int]:
        """Returns payload bytes per (sender, receiver) of one step over `rows` rows.

        Source: the cost table of split learning, 2·p·q per epoch for one cut: each forward value and, where it is
        differentiable, its gradient of the same size; labels go forward only.
        """
        totals: dict[tuple[str, str], int] = {}
        for transfer in self.iterate_transfers(training=training):
            key = (transfer.sender, transfer.receiver)
            totals[key] = totals.get(key, 0) + transfer.value.compute_size_bytes(rows)
        return totals
