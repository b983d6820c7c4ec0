"""Rules on the schedules in which clients train at once: Parallel and SplitFed."""

from __future__ import annotations

from splittraining.api.rules.rule import Rule
from splittraining.api.spec.schedule import GradientPolicy, ScheduleMode, ScheduleSpec, ServerPolicy, WeightPolicy
from splittraining.api.spec.split_training import SplitTrainingSpec, Topology
from splittraining.api.spec.training import LossName

_UNEVEN = ("weight", "ignore_index")
"""Arguments with which CrossEntropy divides by something else than the rows."""


def _shares_are_never_summed(schedule: ScheduleSpec) -> bool:
    split_fed = schedule.split_fed
    return (
        split_fed is None
        or split_fed.server_policy is ServerPolicy.PER_CLIENT
        or split_fed.client_policy is WeightPolicy.AVERAGE
    )


def _means_add_up(spec: SplitTrainingSpec) -> bool:
    loss = spec.training.loss
    if spec.topology is not Topology.U_SHAPED or spec.schedule.mode is not ScheduleMode.PARALLEL:
        return True
    return loss.name is not LossName.CROSS_ENTROPY or not any(name in loss.arguments for name in _UNEVEN)


SCHEDULE_RULES = (
    Rule(
        "spec.schedule",
        "(self.mode == 'Parallel') == has(self.parallel)",
        "parallel is given with mode Parallel, and only then; add schedule.parallel or remove it",
        lambda schedule: (schedule.mode is ScheduleMode.PARALLEL) == (schedule.parallel is not None),
        ".parallel",
    ),
    Rule(
        "spec.schedule",
        "(self.mode == 'SplitFed') == has(self.splitFed)",
        "splitFed is given with mode SplitFed, and only then; add schedule.splitFed or remove it",
        lambda schedule: (schedule.mode is ScheduleMode.SPLIT_FED) == (schedule.split_fed is not None),
        ".splitFed",
    ),
    Rule(
        "spec.schedule",
        "!has(self.parallel) || !has(self.parallel.averaging) || self.parallel.clientPolicy == 'SumGradients'",
        "with clientPolicy Private nothing of the clients is summed; remove parallel.averaging",
        lambda schedule: (
            schedule.parallel is None
            or schedule.parallel.averaging is None
            or schedule.parallel.client_policy is GradientPolicy.SUM_GRADIENTS
        ),
        ".parallel.averaging",
    ),
    Rule(
        "spec.schedule",
        "!has(self.splitFed) || !has(self.splitFed.averaging) || self.splitFed.clientPolicy == 'Average'",
        "with clientPolicy Private nothing of the clients is averaged; remove splitFed.averaging",
        lambda schedule: (
            schedule.split_fed is None
            or schedule.split_fed.averaging is None
            or schedule.split_fed.client_policy is WeightPolicy.AVERAGE
        ),
        ".splitFed.averaging",
    ),
    Rule(
        "spec.schedule",
        "!has(self.splitFed) || self.splitFed.serverPolicy == 'PerClient' || self.splitFed.clientPolicy == 'Average'",
        "with serverPolicy Shared and clientPolicy Private nothing is ever averaged; use mode Sequential with handoff"
        " None, or change one of the policies",
        _shares_are_never_summed,
        ".splitFed.clientPolicy",
    ),
    Rule(
        "spec",
        "self.topology != 'UShaped' || self.schedule.mode != 'Parallel' || !has(self.training.loss.name)"
        " || self.training.loss.name != 'CrossEntropy' || !has(self.training.loss.arguments)"
        " || !('weight' in self.training.loss.arguments || 'ignore_index' in self.training.loss.arguments)",
        "in a U-shape each client of a parallel step has its own mean over rows, which add up by rows only; remove"
        " weight and ignore_index from training.loss.arguments, or use mode Sequential or SplitFed",
        _means_add_up,
        ".training.loss.arguments",
    ),
)
