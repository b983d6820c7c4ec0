"""Learning rates over time: a factor that is a pure function of the contract's schedule, the round and the step.

Nothing is remembered between steps, so nothing has to be handed on or saved, and every owner finds the same rate by
itself. The factors are the closed forms that PyTorch's schedulers document, in the double precision of Python floats.
"""

from __future__ import annotations

import math

import torch

from splittraining.api.spec.update import LearningRateScheduleName, LearningRateScheduleSpec, LearningRateUnit


def compute_factor(spec: LearningRateScheduleSpec | None, *, round_number: int, step: int) -> float:
    """Returns what the optimizer's learning rate is multiplied by.

    Args:
        spec: The schedule; None for a rate that stays.
        round_number: The round that the step is in, counted from 1.
        step: The global step, counted from 1.
    """
    if spec is None:
        return 1.0
    done = (round_number if spec.unit is LearningRateUnit.ROUND else step) - 1
    if done < spec.warmup:
        return (done + 1) / spec.warmup
    match spec.name:
        case LearningRateScheduleName.CONSTANT:
            return 1.0
        case LearningRateScheduleName.STEP:
            assert spec.every is not None  # the manifest's rules demand it
            return float(float(spec.gamma) ** (done // spec.every))
        case LearningRateScheduleName.MULTI_STEP:
            return float(float(spec.gamma) ** sum(milestone <= done for milestone in spec.milestones))
        case LearningRateScheduleName.LINEAR | LearningRateScheduleName.COSINE:
            return _compute_fall(spec, done)


def _compute_fall(spec: LearningRateScheduleSpec, done: int) -> float:
    assert spec.horizon is not None  # the manifest's rules demand it
    least = float(spec.minimum_factor)
    if done >= spec.horizon:
        return least
    progress = (done - spec.warmup) / (spec.horizon - spec.warmup)
    is_linear = spec.name is LearningRateScheduleName.LINEAR
    left = 1 - progress if is_linear else (1 + math.cos(math.pi * progress)) / 2
    return least + (1 - least) * left


class LearningRates:
    """Sets an optimizer's rates before each update.

    Args:
        spec: The schedule; None leaves the optimizer as it is.
        optimizer: Its rates of the moment are what the factors apply to, group by group.
        base: The rate that is told of, whatever the groups' own are.
    """

    def __init__(self, spec: LearningRateScheduleSpec | None, optimizer: torch.optim.Optimizer, *, base: float) -> None:
        self.current = base
        self._spec = spec
        self._base = base
        self._optimizer = optimizer
        self._first = [float(group["lr"]) for group in optimizer.param_groups]

    @property
    def is_scheduled(self) -> bool:
        """Whether the rates change at all."""
        return self._spec is not None

    def apply(self, *, round_number: int, step: int) -> None:
        """Sets the rates of one step."""
        factor = compute_factor(self._spec, round_number=round_number, step=step)
        self.current = self._base * factor
        for group, first in zip(self._optimizer.param_groups, self._first, strict=True):
            group["lr"] = first * factor
