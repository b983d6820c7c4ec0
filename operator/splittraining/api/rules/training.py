"""Rules on loss, optimizer, numerics and metrics."""

from __future__ import annotations

from splittraining.api.rules.rule import Rule, list_data
from splittraining.api.spec.split_training import SplitTrainingSpec, Topology
from splittraining.api.spec.training import LossName, NumericsMode, OptimizerName, OptimizerSpec
from splittraining.api.wire_plan import DType

_SCORED = (LossName.CROSS_ENTROPY, LossName.BCE_WITH_LOGITS)
_NOTHING = ("0", "0.0")
_WHOLE = (DType.INT64, DType.INT32, DType.INT16, DType.INT8, DType.UINT8)


def _has_loss(spec: SplitTrainingSpec) -> bool:
    loss = spec.training.loss
    return (spec.topology is Topology.MULTI_TASK) != (loss.name is not None or loss.entrypoint is not None)


def _adam_defaults(optimizer: OptimizerSpec) -> bool:
    return (optimizer.beta1, optimizer.beta2, optimizer.epsilon) == ("0.9", "0.999", "1e-8")


def _betas_below_one(optimizer: OptimizerSpec) -> bool:
    return float(optimizer.beta1) < 1 and float(optimizer.beta2) < 1


def _metrics_fit(spec: SplitTrainingSpec) -> bool:
    losses = [spec.training.loss, *(task.loss for task in spec.tasks)]
    return not spec.training.evaluation.metrics or any(loss.name in _SCORED for loss in losses)


def _classes_are_whole_numbers(spec: SplitTrainingSpec) -> bool:
    label = spec.model.label
    if spec.training.loss.name is not LossName.CROSS_ENTROPY or label is None or label.shape:
        return True
    return label.dtype in _WHOLE


def _metrics_have_rows(spec: SplitTrainingSpec) -> bool:
    return not spec.training.evaluation.metrics or any(data.test is not None for data in list_data(spec))


TRAINING_RULES = (
    Rule(
        "spec.training.loss",
        "!(has(self.name) && has(self.entrypoint))",
        "a loss is given by name or by entrypoint; remove one of them",
        lambda loss: loss.name is None or loss.entrypoint is None,
    ),
    Rule(
        "spec",
        "(self.topology == 'MultiTask') != (has(self.training.loss.name) || has(self.training.loss.entrypoint))",
        "every topology but MultiTask needs training.loss, and MultiTask has a loss per task instead;"
        " add training.loss or remove it",
        _has_loss,
        ".training.loss",
    ),
    # On training, not on numerics: the API server tries a rule on its own object's default before it fills it in.
    Rule(
        "spec.training",
        "self.numerics.mode != 'Exact' || self.numerics.microBatches == 1",
        "several micro-batches are equal to one only up to rounding; set microBatches to 1 or mode to Fast",
        lambda training: training.numerics.mode is not NumericsMode.EXACT or training.numerics.micro_batches == 1,
        ".numerics.microBatches",
    ),
    Rule(
        "spec.training.optimizer",
        "self.name == 'SGD' || self.momentum in ['0', '0.0']",
        "only SGD has a momentum; remove it, or use beta1",
        lambda optimizer: optimizer.name is OptimizerName.SGD or optimizer.momentum in _NOTHING,
        ".momentum",
    ),
    Rule(
        "spec.training.optimizer",
        "self.name != 'SGD' || (self.beta1 == '0.9' && self.beta2 == '0.999' && self.epsilon == '1e-8')",
        "SGD has no beta1, beta2 or epsilon; remove them, or use Adam",
        lambda optimizer: optimizer.name is not OptimizerName.SGD or _adam_defaults(optimizer),
        ".beta1",
    ),
    Rule(
        "spec.training.optimizer",
        "double(self.beta1) < 1.0 && double(self.beta2) < 1.0",
        "beta1 and beta2 weigh the past and lie below 1; choose smaller ones, such as 0.9 and 0.999",
        _betas_below_one,
        ".beta1",
    ),
    Rule(
        "spec",
        "size(self.training.evaluation.metrics) == 0"
        " || (has(self.training.loss.name) && self.training.loss.name in ['CrossEntropy', 'BCEWithLogits'])"
        " || self.tasks.exists(t, has(t.loss.name) && t.loss.name in ['CrossEntropy', 'BCEWithLogits'])",
        "Accuracy and AUC are computed for CrossEntropy and BCEWithLogits; remove evaluation.metrics",
        _metrics_fit,
        ".training.evaluation.metrics",
    ),
    Rule(
        "spec",
        "size(self.training.evaluation.metrics) == 0 || self.clients.exists(c, has(c.data) && has(c.data.test))"
        " || (has(self.server.data) && has(self.server.data.test))",
        "metrics are computed over test rows; add data.test at a party, or remove training.evaluation.metrics",
        _metrics_have_rows,
        ".training.evaluation.metrics",
    ),
    # A label of several numbers may hold the chances of the classes, which CrossEntropy takes too.
    Rule(
        "spec",
        "!has(self.training.loss.name) || self.training.loss.name != 'CrossEntropy' || !has(self.model.label)"
        f" || size(self.model.label.shape) > 0 || self.model.label.dtype in {[dtype.value for dtype in _WHOLE]}",
        "CrossEntropy takes class numbers; set model.label.dtype to Int64, or use BCEWithLogits or MSE",
        _classes_are_whole_numbers,
        ".model.label.dtype",
    ),
)
