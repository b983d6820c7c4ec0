"""What a topology says about one stage."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One uninterrupted run of one owner along the forward pass, as asked for."""

    owner: str
    """Who runs it; `client` stands for whichever client has the turn."""
    cut_points: tuple[str, ...] = ()
    """Modules whose calls end the stage. A stage without any takes what is left."""
    arguments: tuple[str, ...] = ()
    """Arguments of forward that the owner holds."""
    receives_output: bool = False
    """The stage owns no operation: it gets the model's output to compute the loss."""
    holds_label: bool = False
    """The labels are at this stage's owner."""
    task: str = ""
    """The task whose head this is: the stage computes its output and its loss. Empty where there is one loss."""
    output: str = ""
    """Which of the outputs of forward is the task's."""
