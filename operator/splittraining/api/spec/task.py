"""Tasks of a MultiTask training."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from splittraining.api.base import Document
from splittraining.api.spec.model import LabelSpec, ValueName
from splittraining.api.spec.training import LossSpec
from splittraining.api.spec.types import PartyName

TASK_NAME_LENGTH = 40
"""Most characters of a task's name: it becomes part of names of metrics, which may have 63."""

TaskName = Annotated[str, Field(min_length=1, max_length=TASK_NAME_LENGTH, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class TaskSpec(Document):
    """One output of the model with the party that holds its labels."""

    name: TaskName
    """Name of the task, for metrics (`accuracy_NAME`) and messages."""
    output: ValueName
    """Which of the outputs that forward returns belongs to the task: its key in a dict, its field in a named tuple, or
    its position, such as "0"."""
    party: PartyName
    """The client that holds the task's labels, runs its head and computes its loss."""
    label: LabelSpec
    """Dtype and shape of one row's label. The columns that make it are named at the party, in data.label."""
    loss: LossSpec
    """What the task minimizes; the sum over all tasks is minimized."""
