"""PyTorch's own losses, with labels looked at first.

On a GPU a class number out of range ends the process, and a label of another shape would be stretched silently. No
message shows a label.

Legend: B rows of a batch, K classes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from splittraining.api.errors import DataInvalid, NumericsInvalid, SpecInvalid

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(output, label) -> the mean over the batch's rows, or a DataInvalid if the labels do not fit the output."""


def build_cross_entropy(weight_K: torch.Tensor | None, ignore_index: int, smoothing: float) -> Loss:
    """Builds cross entropy over logits.

    Shapes:
        output: [B, K, ...]; label: [B, ...] of class numbers, or as the output, of class probabilities.
    """

    def compute(output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        target = _check_classes(output, label, ignore_index)
        weight = _fit_weights("weight", weight_K, output, num=output.shape[1])
        try:
            return F.cross_entropy(output, target, weight=weight, ignore_index=ignore_index, label_smoothing=smoothing)
        except RuntimeError as error:
            if "deterministic" not in str(error):
                raise
            raise NumericsInvalid(
                f"CrossEntropy over an output of shape {_render_row(output)} a row has no deterministic form on"
                f" {output.device.type}",
                allowed="one prediction a row, or device CPU at the party that computes the loss",
                remedy="flatten the predictions to one a row, or set device: CPU there",
            ) from error

    return compute


def _check_classes(output: torch.Tensor, label: torch.Tensor, ignore_index: int) -> torch.Tensor:
    """Returns the labels as PyTorch takes them."""
    if output.dim() >= 2 and label.shape == output.shape and label.dtype.is_floating_point:  # noqa: PLR2004
        return label
    if output.dim() < 2 or label.shape != output.shape[:1] + output.shape[2:]:  # noqa: PLR2004
        raise _refuse_shapes("CrossEntropy", output, label, "[classes, ...] and labels [...] without the class axis")
    if label.dtype.is_floating_point or label.dtype is torch.bool:
        raise DataInvalid(
            f"CrossEntropy got labels of {label.dtype}",
            allowed="class numbers, Int64",
            remedy="set model.label.dtype: Int64 and write the labels as whole numbers from 0",
        )
    num_classes = output.shape[1]
    is_wrong = ((label < 0) | (label >= num_classes)) & (label != ignore_index)
    if bool(is_wrong.any()):
        raise DataInvalid(
            f"a label is no class number of the model's output, which has {num_classes} classes",
            allowed=f"0 to {num_classes - 1}" + ("" if ignore_index < 0 else f", and {ignore_index} for none"),
            remedy="number the classes from 0, or give the model as many outputs as there are classes",
        )
    return label.to(torch.int64)


def build_bce(weight: torch.Tensor | None, pos_weight: torch.Tensor | None) -> Loss:
    """Builds binary cross entropy over logits, one yes-or-no question per element of the output."""

    def compute(output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        target = _check_like("BCEWithLogits", output, label)
        if bool(((target < 0) | (target > 1)).any()):
            raise DataInvalid(
                "BCEWithLogits got a label outside 0 to 1",
                allowed="0 for no, 1 for yes, or a chance between them",
                remedy="write the labels as 0 and 1, or take CrossEntropy for more than two classes",
            )
        num = output.shape[-1]
        return F.binary_cross_entropy_with_logits(
            output,
            target,
            weight=_fit_weights("weight", weight, output, num=num),
            pos_weight=_fit_weights("pos_weight", pos_weight, output, num=num),
        )

    return compute


def compute_mse(output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Computes the mean squared error.

    Raises:
        DataInvalid: if output and labels have different shapes.
    """
    return F.mse_loss(output, _check_like("MSE", output, label))


def _check_like(name: str, output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    if output.shape != label.shape:
        raise _refuse_shapes(name, output, label, "equal shapes")
    return label if label.dtype.is_floating_point else label.to(output.dtype)


def _fit_weights(name: str, weights: torch.Tensor | None, output: torch.Tensor, *, num: int) -> torch.Tensor | None:
    if weights is None:
        return None
    if weights.numel() not in ({num} if name == "weight" else {1, num}):
        raise SpecInvalid(
            f"training.loss.arguments.{name} has {weights.numel()} numbers, the model's output has {num} a row",
            allowed=f"{num} numbers separated by commas",
            remedy="give one number for each output",
        )
    return weights.to(output)


def _refuse_shapes(name: str, output: torch.Tensor, label: torch.Tensor, allowed: str) -> DataInvalid:
    return DataInvalid(
        f"{name} got an output of shape {_render_row(output)} and labels of shape {_render_row(label)} a row,"
        f" for {output.shape[0] if output.dim() else 0} and {label.shape[0] if label.dim() else 0} rows",
        allowed=allowed,
        remedy="change model.label.shape, data.label.columns or the model's last layer",
    )


def _render_row(tensor: torch.Tensor) -> str:
    return str(list(tensor.shape[1:]))
