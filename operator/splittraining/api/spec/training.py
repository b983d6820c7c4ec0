"""How the model is trained: batch, optimizer, loss, numerics, evaluation."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field

from splittraining.api.base import Document
from splittraining.api.spec.types import ATOMIC, Arguments, Count, Decimal, Entrypoint
from splittraining.api.spec.update import (
    GradientClippingSpec,
    LearningRateScheduleSpec,
    ParameterGroupSpec,
    ParameterPattern,
)


class OptimizerName(enum.StrEnum):
    """Optimizers, as torch.optim defines them."""

    SGD = "SGD"
    ADAM = "Adam"
    ADAMW = "AdamW"


class LossName(enum.StrEnum):
    """Losses, each the mean over the rows of a batch."""

    CROSS_ENTROPY = "CrossEntropy"
    BCE_WITH_LOGITS = "BCEWithLogits"
    MSE = "MSE"


class NumericsMode(enum.StrEnum):
    """What may differ from the unsplit training."""

    EXACT = "Exact"
    FAST = "Fast"


class MetricName(enum.StrEnum):
    """What evaluation computes beside the loss."""

    ACCURACY = "Accuracy"
    AUC = "AUC"


class OptimizerSpec(Document):
    """The optimizer that every owner runs over its own segment."""

    name: OptimizerName
    """SGD, Adam or AdamW, as torch.optim defines them."""
    learning_rate: Decimal
    """Step size, a decimal string such as "0.05"."""
    momentum: Decimal = "0"
    """Momentum of SGD, a decimal string."""
    weight_decay: Decimal = "0"
    """Weight decay, a decimal string; decoupled for AdamW."""
    beta1: Decimal = "0.9"
    """Adam and AdamW: decay of the mean of gradients, a decimal string below 1."""
    beta2: Decimal = "0.999"
    """Adam and AdamW: decay of the mean of squared gradients, a decimal string below 1."""
    epsilon: Decimal = "1e-8"
    """Adam and AdamW: added to the denominator, a decimal string."""
    parameter_groups: Annotated[tuple[ParameterGroupSpec, ...], Field(max_length=16, json_schema_extra=ATOMIC)] = ()
    """Parameters with a learning rate or weight decay of their own, such as norms and biases without decay."""


class LossSpec(Document):
    """What is minimized: a loss by name or a function of one's own, never both."""

    name: LossName | None = None
    """A loss by name: the mean over the rows of a batch."""
    entrypoint: Entrypoint | None = None
    """Import path of a function (output, label) -> scalar tensor: the mean over the rows of a batch."""
    arguments: Arguments = {}
    """Further arguments, as strings: those of the function named by entrypoint, or of the named loss, as torch.nn has
    them. CrossEntropy: label_smoothing ("0.1"), weight (one number a class: "1,2.5,1"; a batch's mean is then weighted
    too), ignore_index. BCEWithLogits: weight, pos_weight."""


class NumericsSpec(Document):
    """What may differ from the unsplit training."""

    mode: NumericsMode = NumericsMode.EXACT
    """Exact: every step equals the unsplit training bit for bit, or is refused; where clients' results are added up
    (Parallel, SplitFed) it is the same bits every time. Fast: equal up to rounding."""
    intra_op_threads: Annotated[Count, Field(ge=1, le=256)] = 1
    """CPU threads of one operation. All parties use the same number, since sums depend on it."""
    micro_batches: Annotated[Count, Field(ge=1, le=64)] = 1
    """Parts of a batch that may be in flight at once; more than one needs mode Fast."""


class MonitoredMetric(enum.StrEnum):
    """By which number rounds are compared."""

    LOSS = "Loss"
    ACCURACY = "Accuracy"
    AUC = "AUC"


class KeptRound(enum.StrEnum):
    """Which round's weights are the result."""

    LAST = "Last"
    BEST = "Best"


class EarlyStoppingSpec(Document):
    """When to end before all rounds are done."""

    patience_rounds: Annotated[Count, Field(ge=1, le=1000000)]
    """Ends the training, as Complete, after an evaluation that comes so many rounds or more after the best one."""
    min_delta: Decimal = "0"
    """By how much a round must be better than the best one before it to count as better, a decimal string."""


class EvaluationSpec(Document):
    """How often and with what the test rows are looked at."""

    every_rounds: Annotated[Count, Field(ge=1, le=1000000)] = 1
    """Evaluates after every so many rounds, and after the last."""
    metrics: Annotated[tuple[MetricName, ...], Field(max_length=2, json_schema_extra=ATOMIC)] = ()
    """What to compute beside the loss."""
    monitor: MonitoredMetric = MonitoredMetric.LOSS
    """By which number earlyStopping and keep compare rounds: Loss (lower is better), or Accuracy or AUC (higher is),
    which metrics must name. Of equal rounds the earlier is the better one."""
    early_stopping: EarlyStoppingSpec | None = None
    """Ends the training when rounds no longer get better; absent means that all rounds are trained."""
    keep: KeptRound = KeptRound.LAST
    """Whose weights are the result. Last: the last round's. Best: the best evaluated round's, at every party."""


class TrainingSpec(Document):
    """How the model is trained; the same at every party."""

    batch_size: Annotated[Count, Field(ge=1, le=1048576)]
    """Rows of a step. The last step of an epoch may hold fewer; none is dropped."""
    seed: Annotated[Count, Field(ge=0, le=2**53 - 1)] = 0
    """Start of every random draw that all parties may know."""
    optimizer: OptimizerSpec
    """The optimizer that every owner runs over its own segment."""
    learning_rate_schedule: LearningRateScheduleSpec | None = None
    """How the learning rate changes over rounds or steps; absent means that it stays."""
    gradient_clipping: GradientClippingSpec | None = None
    """Bounds gradients before the optimizer uses them; absent means that they are used as they are."""
    freeze: Annotated[tuple[ParameterPattern, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Patterns over parameter names, as in optimizer.parameterGroups: what they name stays as it is. Buffers, such as
    the running statistics of BatchNorm, do not. Where nothing before a cut is trained, no gradient comes back."""
    loss: LossSpec = LossSpec()
    """What is minimized. Topology MultiTask gives a loss per task instead."""
    numerics: NumericsSpec = NumericsSpec()
    """What may differ from the unsplit training."""
    evaluation: EvaluationSpec = EvaluationSpec()
    """How often and with what the test rows are looked at."""
