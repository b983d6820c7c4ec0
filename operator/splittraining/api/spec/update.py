"""How gradients become new weights, beside the optimizer: the learning rate's schedule, clipping, parameter groups."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field

from splittraining.api.base import Document
from splittraining.api.spec.types import ATOMIC, Count, Decimal

Length = Annotated[Count, Field(ge=1, le=2**31 - 1)]
ParameterPattern = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9_.*?\[\]!-]+$")]
ParameterPatterns = Annotated[
    tuple[ParameterPattern, ...], Field(min_length=1, max_length=64, json_schema_extra=ATOMIC)
]


class LearningRateScheduleName(enum.StrEnum):
    """How the learning rate changes after the warm-up."""

    CONSTANT = "Constant"
    STEP = "Step"
    MULTI_STEP = "MultiStep"
    LINEAR = "Linear"
    COSINE = "Cosine"


class LearningRateUnit(enum.StrEnum):
    """What a learning-rate schedule counts."""

    ROUND = "Round"
    STEP = "Step"


class ClippingMode(enum.StrEnum):
    """What of a gradient is bounded."""

    GLOBAL_NORM = "GlobalNorm"
    SEGMENT_NORM = "SegmentNorm"
    VALUE = "Value"


class LearningRateScheduleSpec(Document):
    """How the learning rate changes: a factor on optimizer.learningRate, of the round or step alone."""

    name: LearningRateScheduleName
    """Constant; Step (times gamma after every so many units); MultiStep (times gamma at each milestone); Linear or
    Cosine (falls to minimumFactor until the horizon, and stays there)."""
    unit: LearningRateUnit = LearningRateUnit.ROUND
    """What every length here counts, from the start of the training: rounds, or global steps."""
    warmup: Annotated[Count, Field(ge=0, le=2**31 - 1)] = 0
    """So many units in front in which the rate rises linearly: 1/warmup of it in the first, all of it in the last."""
    every: Length | None = None
    """Step: units between two reductions."""
    milestones: Annotated[tuple[Length, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """MultiStep: after how many units each reduction comes; a number given twice reduces twice."""
    gamma: Decimal = "0.1"
    """Step and MultiStep: what the rate is multiplied by at each reduction, a decimal string."""
    horizon: Length | None = None
    """Linear and Cosine: the units after which the rate has fallen to its least. It stands here and is not taken from
    spec.rounds, which may grow while the training runs."""
    minimum_factor: Decimal = "0"
    """Linear and Cosine: share of the rate that is left at the horizon, a decimal string of at most 1."""


class GradientClippingSpec(Document):
    """Bounds gradients between the backward pass and the optimizer, in every step."""

    mode: ClippingMode
    """GlobalNorm: the norm of all parties' gradients together, as torch.nn.utils.clip_grad_norm_ over the unsplit
    model; each party tells the server one norm per parameter in every step. SegmentNorm: each party its own segment's
    norm, nothing is exchanged. Value: every element, as torch.nn.utils.clip_grad_value_."""
    limit: Decimal
    """Largest norm, or largest absolute value of an element; a decimal string above 0."""


class ParameterGroupSpec(Document):
    """Parameters that are optimized differently from the others."""

    parameters: ParameterPatterns
    """Patterns over the parameters' names in the whole model, as in named_parameters(): `*` any characters, dots too;
    `?` one; `[ab]` one of these. A parameter belongs to the first group that names it."""
    learning_rate_factor: Decimal | None = None
    """Times optimizer.learningRate, a decimal string; absent means 1."""
    weight_decay: Decimal | None = None
    """Instead of optimizer.weightDecay, a decimal string; absent means the optimizer's own."""
