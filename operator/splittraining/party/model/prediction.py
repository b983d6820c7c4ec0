"""The stages of a prediction: those of the training, but that the output ends where the labels would be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from splittraining.party.model.stages import StageSpec


def build_prediction_stages(stages: Sequence[StageSpec]) -> tuple[StageSpec, ...]:
    """Builds the stages of a prediction from those of a training.

    Where labels would travel to the loss (Vanilla), the output goes back to their holder instead: a last stage there
    receives it, so that the wire plan has no label in it.
    """
    last = stages[-1].owner
    holders = [stage.owner for stage in stages if stage.holds_label]
    if last in holders or not holders:
        return tuple(stages)
    receiving = StageSpec(holders[0], receives_output=True, holds_label=True)
    return (*(replace(stage, holds_label=False) for stage in stages), receiving)
