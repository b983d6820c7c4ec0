"""The loss: one of PyTorch's by name, or the user's own function. Each is the mean over the rows of a batch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

from splittraining.api.errors import ModelCodeFailed, NumericsInvalid, SpecInvalid, SplitTrainingError
from splittraining.api.spec.training import LossName, LossSpec
from splittraining.party.allocations import is_allocation_failure
from splittraining.party.model.arguments import parse_arguments
from splittraining.party.model.failures import render_place
from splittraining.party.training.metrics import DEFAULT_IGNORE_INDEX
from splittraining.party.training.named_losses import Loss, build_bce, build_cross_entropy, compute_mse

_ARGUMENTS = {
    LossName.CROSS_ENTROPY: ("weight", "ignore_index", "label_smoothing"),
    LossName.BCE_WITH_LOGITS: ("weight", "pos_weight"),
    LossName.MSE: (),
}
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")
_WHOLE = re.compile(r"-?[0-9]{1,18}")


def build_loss(spec: LossSpec, load: Callable[[str], Callable[..., Any]]) -> Loss:
    """Builds the loss (output, label) -> scalar.

    Args:
        spec: The loss by name or entry point, and its arguments as strings.
        load: Imports an entry point.

    Raises:
        SpecInvalid: if there is no loss, or an argument is not one of the loss or does not parse.
        ModelInvalid: if the entry point cannot be found or does not take the arguments.
    """
    if spec.entrypoint is not None:
        function = load(spec.entrypoint)
        return _build_own(spec.entrypoint, function, parse_arguments(function, spec.arguments, num_given=2))
    if spec.name is None:
        raise SpecInvalid("training.loss is empty", allowed="a name or an entrypoint", remedy="name the loss")
    _check_names(spec.name, spec.arguments)
    weight = _parse_weights(spec.arguments, "weight")
    match spec.name:
        case LossName.CROSS_ENTROPY:
            return build_cross_entropy(weight, parse_ignore_index(spec), _parse_smoothing(spec.arguments))
        case LossName.BCE_WITH_LOGITS:
            return build_bce(weight, _parse_weights(spec.arguments, "pos_weight"))
        case LossName.MSE:
            return compute_mse


def parse_ignore_index(spec: LossSpec) -> int:
    """Returns the class number that the loss leaves out.

    Raises:
        SpecInvalid: if it is no whole number.
    """
    if spec.name is not LossName.CROSS_ENTROPY or "ignore_index" not in spec.arguments:
        return DEFAULT_IGNORE_INDEX
    text = spec.arguments["ignore_index"].strip()
    if not _WHOLE.fullmatch(text):
        raise _refuse_argument("ignore_index", text, "a whole number such as 255")
    return int(text)


def check_finite_loss(value: float, *, step: int, party: str) -> None:
    """Refuses a loss that is not a finite number.

    Raises:
        NumericsInvalid: with the step.
    """
    if not math.isfinite(value):
        raise NumericsInvalid(
            f"the loss is {value} at step {step}, computed by party {party}",
            allowed="a finite number",
            remedy="lower the learning rate, scale the inputs, or look for rows without any label that counts",
        )


# --- arguments ----------------------------------------------------------------------------------------------------


def _check_names(name: LossName, arguments: Mapping[str, str]) -> None:
    unknown = sorted(arguments.keys() - set(_ARGUMENTS[name]))
    if unknown:
        raise SpecInvalid(
            f"training.loss.arguments of {name} has {', '.join(unknown)}",
            allowed=", ".join(_ARGUMENTS[name]) or "no arguments",
            remedy="remove it, or name a function of your own under training.loss.entrypoint",
        )


def _parse_weights(arguments: Mapping[str, str], name: str) -> torch.Tensor | None:
    if name not in arguments:
        return None
    texts = [text.strip() for text in arguments[name].split(",")]
    if not all(_NUMBER.fullmatch(text) for text in texts):
        raise _refuse_argument(name, arguments[name], "numbers separated by commas, such as 0.1,0.9")
    return torch.tensor([float(text) for text in texts], dtype=torch.float64)


def _parse_smoothing(arguments: Mapping[str, str]) -> float:
    text = arguments.get("label_smoothing", "0").strip()
    if not _NUMBER.fullmatch(text) or float(text) > 1:
        raise _refuse_argument("label_smoothing", text, "a number from 0 to 1")
    return float(text)


def _refuse_argument(name: str, text: str, allowed: str) -> SpecInvalid:
    return SpecInvalid(f"training.loss.arguments.{name} is {text!r}", allowed=allowed, remedy="correct the argument")


# --- the user's own -----------------------------------------------------------------------------------------------


def _build_own(entrypoint: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Loss:
    what = f"training.loss.entrypoint {entrypoint}"

    def compute(output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        try:
            loss = function(output, label, **arguments)
        except SplitTrainingError:
            raise
        except Exception as error:
            if is_allocation_failure(error):  # the party's own last resort names it
                raise
            # The error's text stays in the party's own log: PyTorch's "Target 3 is out of bounds" is a label.
            place = render_place(error)
            raise ModelCodeFailed(
                f"{what} raised {type(error).__name__}" + (f" at {place}" if place else ""),
                remedy="repair the code at that line; the log of this party has the error's text",
            ) from error
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or not loss.dtype.is_floating_point:
            given = f"a tensor of shape {list(loss.shape)} and {loss.dtype}" if isinstance(loss, torch.Tensor) else loss
            given = given if isinstance(given, str) else type(given).__name__
            raise ModelCodeFailed(
                f"{what} returned {given}", allowed="one number: the mean over the rows, as a float tensor"
            )
        if torch.is_grad_enabled() and output.requires_grad and not loss.requires_grad:
            raise ModelCodeFailed(
                f"{what} returned a number without gradient",
                allowed="a loss that depends on the output",
                remedy="compute it with tensor operations only, without detach(), item() or numpy()",
            )
        return loss.reshape(())

    return compute
