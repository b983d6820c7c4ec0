"""What of the API this version runs. Everything else is refused by name, never ignored."""

from __future__ import annotations

from splittraining.api.errors import NotSupported
from splittraining.api.spec.operation import CheckpointSpec, OnClientLoss
from splittraining.api.spec.split_training import RunMode, SplitTrainingSpec
from splittraining.api.spec.training import NumericsMode

NUMERICS = (NumericsMode.EXACT,)
RUN_MODES = (RunMode.TRAIN,)
ON_CLIENT_LOSS = (OnClientLoss.WAIT, OnClientLoss.FAIL)
"""Here a lost client always ends the run by name; Wait is the default, so that it cannot be refused."""


def find_unsupported(spec: SplitTrainingSpec, *, in_cluster: bool = False) -> list[NotSupported]:
    """Finds every value that the API allows and this version does not run.

    Args:
        spec: What is wanted.
        in_cluster: Whether an operator runs it: only an operator suspends, and keeps deadlines.
    """
    found = [
        _refuse("spec.training.numerics.mode", spec.training.numerics.mode, NUMERICS),
        _refuse("spec.mode", spec.mode, RUN_MODES),
        _refuse("spec.faultTolerance.onClientLoss", spec.fault_tolerance.on_client_loss, ON_CLIENT_LOSS),
    ]
    for path, is_given, feature in (
        (
            "spec.checkpoint",
            spec.checkpoint is not None and not (in_cluster and _is_only_a_volume(spec.checkpoint)),
            "checkpoints are not in this version" + (", only their volume is" if in_cluster else ""),
        ),
        ("spec.suspend", spec.suspend and not in_cluster, "a local run cannot be suspended"),
        (
            "spec.activeDeadlineSeconds",
            spec.active_deadline_seconds is not None and not in_cluster,
            "a local run keeps no deadline",
        ),
    ):
        if is_given:
            found.append(NotSupported(f"{path} is given, and {feature}", remedy=f"leave {path} out"))
    return [error for error in found if error is not None]


def _is_only_a_volume(checkpoint: CheckpointSpec) -> bool:
    """Returns whether nothing but the volume is asked for; the API server has filled in all defaults."""
    return checkpoint.volume is not None and checkpoint == CheckpointSpec(volume=checkpoint.volume)


def _refuse(path: str, given: str, supported: tuple[str, ...]) -> NotSupported | None:
    if given in supported:
        return None
    return NotSupported(
        f"{path}: {given} is not in this version",
        allowed=", ".join(supported),
        remedy="use one of these; README.md has the table of what works today",
    )
