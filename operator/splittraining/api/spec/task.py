"""Tasks of a MultiTask training."""

from __future__ import annotations

from splittraining.api.base import Document
from splittraining.api.spec.model import ValueName
from splittraining.api.spec.training import LossSpec
from splittraining.api.spec.types import Identifier, PartyName


class TaskSpec(Document):
    """One output of the model with the party that holds its labels."""

    name: Identifier
    """Name of the task, for metrics and messages."""
    output: ValueName
    """Which output of the model belongs to the task."""
    party: PartyName
    """The client that holds the task's labels and runs its head."""
    loss: LossSpec
    """What the task minimizes; the sum over all tasks is minimized."""
