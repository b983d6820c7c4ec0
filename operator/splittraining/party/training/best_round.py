"""Which round is the best, whether the training goes on, and the weights that are kept aside meanwhile.

The conductor alone decides, from the metrics of its evaluations, and orders the parties to keep or to restore.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from splittraining.api.errors import ProtocolViolation
from splittraining.api.spec.training import EvaluationSpec, KeptRound, MonitoredMetric

_NAMES = {
    MonitoredMetric.LOSS: ("loss",),
    MonitoredMetric.ACCURACY: ("accuracy",),
    MonitoredMetric.AUC: ("auc", "auc_mean"),
}


@dataclass(frozen=True, slots=True)
class EvaluatedRound:
    """A round, and the global step it ended at."""

    round: int
    step: int


class RoundSelection:
    """Compares evaluated rounds.

    A round is better if its metric is better than that of the best round so far by more than minDelta: of equal rounds
    the first stays the best. A metric that is not defined, or not a number, is never better.

    Args:
        spec: By what rounds are compared, and what for.
    """

    def __init__(self, spec: EvaluationSpec) -> None:
        self._spec = spec
        self._is_lower_better = spec.monitor is MonitoredMetric.LOSS
        self._min_delta = float(spec.early_stopping.min_delta) if spec.early_stopping is not None else 0.0
        self._best_value = math.inf if self._is_lower_better else -math.inf
        self.best: EvaluatedRound | None = None

    @property
    def keeps_best(self) -> bool:
        """Whether the best round's weights are the result."""
        return self._spec.keep is KeptRound.BEST

    def observe(self, evaluated: EvaluatedRound, metrics: Mapping[str, float]) -> bool:
        """Takes in an evaluation and returns whether its round is the best so far."""
        found = [metrics[name] for name in _NAMES[self._spec.monitor] if name in metrics]
        if not found or math.isnan(found[0]):
            return False
        gain = self._best_value - found[0] if self._is_lower_better else found[0] - self._best_value
        if not gain > self._min_delta:
            return False
        self._best_value, self.best = found[0], evaluated
        return True

    def is_over(self, evaluated_round: int) -> bool:
        """Returns whether the training ends after an evaluation: nothing got better for as long as patience lasts."""
        if self._spec.early_stopping is None:
            return False
        best_round = self.best.round if self.best is not None else 0
        return evaluated_round - best_round >= self._spec.early_stopping.patience_rounds


class KeptWeights:
    """One party's weights of one round, aside in memory: one more copy of its segments, on the CPU."""

    def __init__(self) -> None:
        self._round = 0
        self._tensors: dict[str, torch.Tensor] = {}

    def keep(self, round_number: int, tensors: Mapping[str, torch.Tensor]) -> None:
        """Copies parameters and buffers, in place of those of an earlier round."""
        self._round = round_number
        self._tensors = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}

    @torch.no_grad()
    def restore(self, round_number: int, tensors: Mapping[str, torch.Tensor]) -> None:
        """Writes the kept ones back.

        Raises:
            ProtocolViolation: if they are of another round.
        """
        if round_number != self._round:
            raise ProtocolViolation(
                f"the weights of round {round_number} are to be restored here",
                allowed=f"round {self._round}, whose weights are kept" if self._round else "none: no round is kept",
                remedy="use the same version of splittraining at every party",
            )
        for name, tensor in tensors.items():
            tensor.copy_(self._tensors[name])
