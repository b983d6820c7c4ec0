"""What evaluation computes: sums over test rows at whoever computes the loss, and how sums of several parties combine.

The rows' scores and labels stay where they are. What travels is a handful of numbers as decimal text (EvaluationSums).

Legend: N predictions, K classes (or independent labels), B rows of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch

from splittraining.api.errors import NumericsInvalid, ProtocolViolation
from splittraining.api.spec.training import LossName, MetricName
from splittraining.party.training.auc import compute_auc

MAX_TEXT = 32
"""Characters of one number on the wire; repr of a float needs 24 at most."""

DEFAULT_IGNORE_INDEX = -100
"""Class number that cross entropy leaves out, as PyTorch has it."""

_MAX_COUNT = 2**53


@dataclass(frozen=True, slots=True)
class EvaluationSums:
    """What one holder of labels found over its test rows. A metric that is not defined there is None."""

    rows: int = 0
    loss_sum: float = 0.0
    """Sum over batches of loss times rows."""
    predictions: int | None = None
    """Single predictions that accuracy counts: one a row, or one a pixel or label."""
    correct: int | None = None
    auc: float | None = None

    def as_texts(self) -> tuple[tuple[str, str], ...]:
        """Returns name and decimal text of everything that is defined."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return tuple((name, repr(value)) for name, value in given.items() if value is not None)

    @classmethod
    def from_texts(cls, texts: Iterable[tuple[str, str]]) -> Self:
        """Reads what :meth:`as_texts` made.

        Raises:
            ProtocolViolation: if a name is unknown or there twice, or a number is none, not finite or out of bounds.
        """
        parsed: dict[str, int | float] = {}
        for name, text in texts:
            if name not in _PARSERS or name in parsed:
                raise ProtocolViolation(
                    f"evaluation sums name {name[:MAX_TEXT]!r}", allowed=f"each of {', '.join(_PARSERS)} at most once"
                )
            parsed[name] = _PARSERS[name](name, text)
        missing = {"rows", "loss_sum"} - parsed.keys()
        correct, predictions = parsed.get("correct"), parsed.get("predictions")
        if missing or (correct is None) is not (predictions is None) or (correct or 0) > (predictions or 0):
            raise ProtocolViolation(
                f"evaluation sums {sorted(parsed)} do not belong together",
                allowed="rows and loss_sum, and no more correct predictions than predictions",
            )
        return cls(**parsed)  # type: ignore[arg-type]  # each parser returns its field's type


class MetricSet:
    """Counts one evaluation, batch by batch.

    Args:
        metric_names: What to compute beside the loss.
        loss_name: The loss, which says what the model's output means; None for a loss of one's own, whose integer
            labels are then taken for class numbers.
        ignore_index: Class number that counts for nothing.
    """

    def __init__(
        self,
        metric_names: Sequence[MetricName],
        loss_name: LossName | None,
        *,
        ignore_index: int = DEFAULT_IGNORE_INDEX,
    ) -> None:
        self._counts_accuracy = MetricName.ACCURACY in metric_names
        self._counts_auc = MetricName.AUC in metric_names
        self._loss_name = loss_name
        self._ignore_index = ignore_index
        self._rows = 0
        self._loss_sum = 0.0
        self._correct: int | None = None
        self._predictions: int | None = None
        self._scores: list[torch.Tensor] = []
        self._truths: list[torch.Tensor] = []

    def update(self, output: torch.Tensor, label: torch.Tensor, loss: torch.Tensor | float, rows: int) -> None:
        """Counts one batch.

        Args:
            output: The model's output: logits, classes on axis 1.
            label: The batch's labels.
            loss: The batch's mean loss.
            rows: Rows of the batch.

        Raises:
            NumericsInvalid: if the loss is not finite.
        """
        value = float(loss)
        if not math.isfinite(value):
            raise NumericsInvalid(
                f"the evaluation's loss is {value}",
                allowed="a finite number",
                remedy="lower the learning rate, or look for rows that the model cannot handle",
            )
        self._rows += rows
        self._loss_sum += value * rows
        if not (self._counts_accuracy or self._counts_auc):
            return
        output, label = output.detach(), label.detach()
        if self._is_classification(output, label):
            self._count_classes(output, label)
        elif self._loss_name is LossName.BCE_WITH_LOGITS:
            logits_NK, truths_NK = _flatten(output), _flatten(label) > 0.5  # noqa: PLR2004  # the middle of 0 and 1
            self._count((logits_NK > 0) == truths_NK)
            self._keep(logits_NK, truths_NK)

    def summary(self) -> EvaluationSums:
        """Returns what was counted."""
        auc = None
        if self._scores:
            auc = compute_auc(torch.cat(self._scores), torch.cat(self._truths))
        return EvaluationSums(self._rows, self._loss_sum, self._predictions, self._correct, auc)

    def _is_classification(self, output: torch.Tensor, label: torch.Tensor) -> bool:
        if self._loss_name is not None:
            return self._loss_name is LossName.CROSS_ENTROPY
        return output.dim() == label.dim() + 1 and not label.dtype.is_floating_point

    def _count_classes(self, output: torch.Tensor, label: torch.Tensor) -> None:
        logits_NK = _flatten(output)
        if label.shape == output.shape:  # class probabilities: the likeliest is the truth
            truth_N = _flatten(label).argmax(dim=1)
        else:
            truth_N = label.reshape(-1).to(torch.int64)
            counted_N = truth_N != self._ignore_index
            logits_NK, truth_N = logits_NK[counted_N], truth_N[counted_N]
        num_classes = logits_NK.shape[1]
        self._count(logits_NK.argmax(dim=1) == truth_N)
        truths_NK = truth_N[:, None] == torch.arange(num_classes, device=truth_N.device)
        if num_classes == 2:  # noqa: PLR2004  # two classes are one question, asked once
            logits = logits_NK.double()
            self._keep(logits[:, 1:] - logits[:, :1], truths_NK[:, 1:])
        else:
            # Scores are compared over rows, so logits must be made comparable first; in float64, where few tie.
            self._keep(torch.softmax(logits_NK.double(), dim=1), truths_NK)

    def _count(self, right: torch.Tensor) -> None:
        if self._counts_accuracy:
            self._correct = (self._correct or 0) + int(right.sum())
            self._predictions = (self._predictions or 0) + right.numel()

    def _keep(self, scores_NK: torch.Tensor, truths_NK: torch.Tensor) -> None:
        if self._counts_auc:
            self._scores.append(scores_NK.cpu())
            self._truths.append(truths_NK.cpu())


def combine_evaluations(sums: Sequence[EvaluationSums]) -> dict[str, float]:
    """Combines what the holders of labels found.

    Returns:
        ``loss``; ``accuracy`` where it is defined; ``auc`` of a single holder, or ``auc_mean``: several holders' values
        weighted by their rows, which is not the AUC of all rows together. Empty where nobody evaluated a row.
    """
    held = [one for one in sums if one.rows]
    if not held:
        return {}
    combined = {"loss": sum(one.loss_sum for one in held) / sum(one.rows for one in held)}
    predictions = sum(one.predictions or 0 for one in held)
    if predictions:
        combined["accuracy"] = sum(one.correct or 0 for one in held) / predictions
    ranked = [(one.auc, one.rows) for one in held if one.auc is not None]
    if ranked:
        name = "auc" if len(held) == 1 else "auc_mean"
        combined[name] = sum(auc * rows for auc, rows in ranked) / sum(rows for _, rows in ranked)
    return combined


def render_number(value: float) -> str:
    """Renders a float as the shortest decimal text that reads back as the same float."""
    return repr(float(value))


def parse_number(text: str, *, name: str) -> float:
    """Reads a decimal text that a peer sent.

    Args:
        text: What came.
        name: What it is, for the message.

    Raises:
        ProtocolViolation: if it is no finite number.
    """
    try:
        value = float(text) if len(text) <= MAX_TEXT else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ProtocolViolation(f"{name} is {text[:MAX_TEXT]!r}", allowed="a finite decimal number")
    return value


def _parse_count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_TEXT and int(text) <= _MAX_COUNT):
        raise ProtocolViolation(f"{name} is {text[:MAX_TEXT]!r}", allowed=f"a whole number from 0 to {_MAX_COUNT}")
    return int(text)


def _parse_sum(name: str, text: str) -> float:
    return parse_number(text, name=name)


def _parse_fraction(name: str, text: str) -> float:
    value = parse_number(text, name=name)
    if not 0 <= value <= 1:
        raise ProtocolViolation(f"{name} is {value}", allowed="0 to 1")
    return value


_PARSERS: dict[str, Callable[[str, str], int | float]] = {
    "rows": _parse_count,
    "loss_sum": _parse_sum,
    "predictions": _parse_count,
    "correct": _parse_count,
    "auc": _parse_fraction,
}


def _flatten(tensor: torch.Tensor) -> torch.Tensor:
    """Returns [N, K] of [B, K, ...] or [B]: one line per prediction, classes last."""
    if tensor.dim() < 2:  # noqa: PLR2004  # one number a row
        return tensor.reshape(-1, 1)
    return tensor.movedim(1, -1).reshape(-1, tensor.shape[1])
