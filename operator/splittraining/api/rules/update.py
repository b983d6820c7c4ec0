"""Rules on how weights are updated, and on which round's weights are kept."""

from __future__ import annotations

from splittraining.api.rules.rule import Rule, list_data
from splittraining.api.spec.model import Initialization
from splittraining.api.spec.schedule import GradientPolicy, HandOff
from splittraining.api.spec.split_training import SplitTrainingSpec
from splittraining.api.spec.training import EvaluationSpec, KeptRound, MonitoredMetric, TrainingSpec
from splittraining.api.spec.update import ClippingMode, LearningRateScheduleName, LearningRateScheduleSpec

_SCHEDULE = "spec.training.learningRateSchedule"
_REDUCED = (LearningRateScheduleName.STEP, LearningRateScheduleName.MULTI_STEP)
_FALLING = (LearningRateScheduleName.LINEAR, LearningRateScheduleName.COSINE)


def _ends_after_warmup(schedule: LearningRateScheduleSpec) -> bool:
    return schedule.horizon is None or schedule.horizon > schedule.warmup


def _compares_rounds(evaluation: EvaluationSpec) -> bool:
    return evaluation.early_stopping is not None or evaluation.keep is KeptRound.BEST


def _monitors_what_is_computed(training: TrainingSpec) -> bool:
    evaluation = training.evaluation
    return evaluation.monitor is MonitoredMetric.LOSS or evaluation.monitor.value in [
        metric.value for metric in evaluation.metrics
    ]


def _monitors_for_something(training: TrainingSpec) -> bool:
    return training.evaluation.monitor is MonitoredMetric.LOSS or _compares_rounds(training.evaluation)


def _compared_rounds_have_rows(spec: SplitTrainingSpec) -> bool:
    return not _compares_rounds(spec.training.evaluation) or any(data.test is not None for data in list_data(spec))


def _norms_are_of_one_gradient(spec: SplitTrainingSpec) -> bool:
    clipping, parallel = spec.training.gradient_clipping, spec.schedule.parallel
    is_global = clipping is not None and clipping.mode is ClippingMode.GLOBAL_NORM
    return not is_global or parallel is None or parallel.client_policy is GradientPolicy.SUM_GRADIENTS


def _private_weights_stay(spec: SplitTrainingSpec) -> bool:
    return spec.model.initialization is not Initialization.PRIVATE or _keeps_own_segments(spec)


def _keeps_own_segments(spec: SplitTrainingSpec) -> bool:
    sequential = spec.schedule.sequential
    hands_on = sequential is not None and sequential.handoff is not HandOff.NONE
    return not hands_on and spec.schedule.averaging_at is None


def _warm_starts_are_alike(spec: SplitTrainingSpec) -> bool:
    warm_starts = [client.warm_start for client in spec.clients]
    first = warm_starts[0]
    alike = all(
        (each.digest, each.parameters) == (first.digest, first.parameters)
        if each is not None and first is not None
        else each is first
        for each in warm_starts
    )
    return _keeps_own_segments(spec) or alike


_KEEPS_OWN_SEGMENTS = (
    "self.schedule.mode == 'Joint'"
    " || (has(self.schedule.sequential) && self.schedule.sequential.handoff == 'None')"
    " || (has(self.schedule.parallel) && self.schedule.parallel.clientPolicy == 'Private')"
    " || (has(self.schedule.splitFed) && self.schedule.splitFed.clientPolicy == 'Private')"
)
_FIRST = "self.clients[0].warmStart"

UPDATE_RULES = (
    Rule(
        _SCHEDULE,
        "(self.name == 'Step') == has(self.every)",
        "every belongs to Step, which needs it; add every or remove it",
        lambda schedule: (schedule.name is LearningRateScheduleName.STEP) == (schedule.every is not None),
        ".every",
    ),
    Rule(
        _SCHEDULE,
        "(self.name == 'MultiStep') == (size(self.milestones) > 0)",
        "milestones belong to MultiStep, which needs some; add milestones or remove them",
        lambda schedule: (schedule.name is LearningRateScheduleName.MULTI_STEP) == bool(schedule.milestones),
        ".milestones",
    ),
    Rule(
        _SCHEDULE,
        "(self.name in ['Linear', 'Cosine']) == has(self.horizon)",
        "horizon belongs to Linear and Cosine, which need it; add horizon or remove it",
        lambda schedule: (schedule.name in _FALLING) == (schedule.horizon is not None),
        ".horizon",
    ),
    Rule(
        _SCHEDULE,
        "!has(self.horizon) || self.horizon > self.warmup",
        "horizon counts from the start of the training, warm-up included; set it above warmup",
        _ends_after_warmup,
        ".horizon",
    ),
    Rule(
        _SCHEDULE,
        "self.name in ['Step', 'MultiStep'] || self.gamma == '0.1'",
        "gamma belongs to Step and MultiStep; remove it",
        lambda schedule: schedule.name in _REDUCED or schedule.gamma == "0.1",
        ".gamma",
    ),
    Rule(
        _SCHEDULE,
        "self.name in ['Linear', 'Cosine'] ? double(self.minimumFactor) <= 1.0 : self.minimumFactor == '0'",
        "minimumFactor belongs to Linear and Cosine and is a share of the rate, at most 1; lower it or remove it",
        lambda schedule: (
            float(schedule.minimum_factor) <= 1 if schedule.name in _FALLING else schedule.minimum_factor == "0"
        ),
        ".minimumFactor",
    ),
    Rule(
        "spec.training.gradientClipping",
        "double(self.limit) > 0.0",
        "a limit of 0 leaves nothing of a gradient; set one above 0, such as 1.0",
        lambda clipping: float(clipping.limit) > 0,
        ".limit",
    ),
    Rule(
        "spec.training.optimizer.parameterGroups[]",
        "has(self.learningRateFactor) || has(self.weightDecay)",
        "a parameter group says what is different in it; add learningRateFactor or weightDecay, or remove the group",
        lambda group: group.learning_rate_factor is not None or group.weight_decay is not None,
    ),
    # On training, not on evaluation: the API server tries a rule on its own object's default before it fills it in.
    Rule(
        "spec.training",
        "self.evaluation.monitor == 'Loss' || self.evaluation.metrics.exists(m, m == self.evaluation.monitor)",
        "monitor names what is not computed; add it to evaluation.metrics, or monitor Loss",
        _monitors_what_is_computed,
        ".evaluation.monitor",
    ),
    Rule(
        "spec.training",
        "self.evaluation.monitor == 'Loss' || has(self.evaluation.earlyStopping) || self.evaluation.keep == 'Best'",
        "monitor is what earlyStopping and keep go by, and neither is asked for; add one of them, or remove monitor",
        _monitors_for_something,
        ".evaluation.monitor",
    ),
    Rule(
        "spec",
        "size(self.tasks) == 0 || self.training.evaluation.monitor == 'Loss'",
        "with tasks rounds are compared by the sum of their losses, since each task has metrics of its own; set"
        " evaluation.monitor to Loss",
        lambda spec: not spec.tasks or spec.training.evaluation.monitor is MonitoredMetric.LOSS,
        ".training.evaluation.monitor",
    ),
    Rule(
        "spec",
        "!(has(self.training.evaluation.earlyStopping) || self.training.evaluation.keep == 'Best')"
        " || self.clients.exists(c, has(c.data) && has(c.data.test))"
        " || (has(self.server.data) && has(self.server.data.test))",
        "rounds are compared over test rows; add data.test at a party, or remove earlyStopping and keep",
        _compared_rounds_have_rows,
        ".training.evaluation",
    ),
    Rule(
        "spec",
        "!has(self.training.gradientClipping) || self.training.gradientClipping.mode != 'GlobalNorm'"
        " || !has(self.schedule.parallel) || self.schedule.parallel.clientPolicy == 'SumGradients'",
        "with clientPolicy Private there is no one gradient whose norm all could share; set gradientClipping.mode to"
        " SegmentNorm or Value, or clientPolicy to SumGradients",
        _norms_are_of_one_gradient,
        ".training.gradientClipping.mode",
    ),
    Rule(
        "spec",
        f"self.model.initialization != 'Private' || {_KEEPS_OWN_SEGMENTS}",
        "Private means that every client starts from weights of its own, and a segment that is handed on, summed or"
        " averaged has one start; use ClientsOnly, mode Joint, handoff None or clientPolicy Private",
        _private_weights_stay,
        ".model.initialization",
    ),
    Rule(
        "spec",
        f"{_KEEPS_OWN_SEGMENTS} || !self.clients.exists(c, has(c.warmStart))"
        f" || (has({_FIRST}) && self.clients.all(c, has(c.warmStart)"
        f" && c.warmStart.digest == {_FIRST}.digest"
        f" && (has(c.warmStart.parameters) ? c.warmStart.parameters : [])"
        f" == (has({_FIRST}.parameters) ? {_FIRST}.parameters : [])))",
        "clients that share one segment start from the same weights; give every client the same warmStart digest"
        " and parameters, or none a warm start",
        _warm_starts_are_alike,
        ".clients",
    ),
)
