"""What happens between a step's backward pass and its update, as the contract asks: learning rate, then clipping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import torch
from torch import nn

from splittraining.api.plan_report import PlanReport
from splittraining.api.spec.training import TrainingSpec
from splittraining.api.spec.update import ClippingMode
from splittraining.party.training.clipping import GlobalNormClipping, Peers, clip_by_segment_norm, clip_by_value
from splittraining.party.training.engine import BeforeUpdate, Links, StepInput
from splittraining.party.training.learning_rate import LearningRates
from splittraining.party.wire.link import Link


def add_training_notes(report: PlanReport, training: TrainingSpec) -> PlanReport:
    """Returns a plan report with notes on what the training adds to the cut."""
    notes = list(report.notes)
    clipping = training.gradient_clipping
    if clipping is not None and clipping.mode is ClippingMode.GLOBAL_NORM:
        notes.append(
            "gradientClipping GlobalNorm: in every step each client tells the server one norm for each of its"
            " parameters and waits for the whole norm, one round trip more; SegmentNorm exchanges nothing"
        )
    if training.freeze:
        notes.append(f"frozen, and not trained by anybody: {', '.join(training.freeze)}")
    return report.model_copy(update={"notes": tuple(notes)})


class Updates:
    """One party's preparations of its updates.

    Args:
        training: How the model is trained.
        optimizer: This party's.
        parameters: What it updates, by name in the whole model's order.
        owners: Owner of every parameter of the whole model, in its order.
        dtype: What all trained parameters are.
        device: Where this party computes.
    """

    def __init__(
        self,
        training: TrainingSpec,
        *,
        optimizer: torch.optim.Optimizer,
        parameters: Mapping[str, nn.Parameter],
        owners: Mapping[str, str],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._rates = LearningRates(
            training.learning_rate_schedule, optimizer, base=float(training.optimizer.learning_rate)
        )
        self._parameters = parameters
        self._clipping = training.gradient_clipping
        self._global: GlobalNormClipping | None = None
        if self._clipping is not None and self._clipping.mode is ClippingMode.GLOBAL_NORM:
            limit = float(self._clipping.limit)
            self._global = GlobalNormClipping(parameters, owners=owners, dtype=dtype, device=device, limit=limit)

    def prepare(
        self, round_number: int, *, server: Link | None = None, peers: Peers = MappingProxyType({})
    ) -> Sequence[BeforeUpdate]:
        """Returns what the engine calls before each update of one turn.

        Args:
            round_number: The round of the turn.
            server: At a client: the link to the server. None at the server.
            peers: At the server: the links to those who take part.
        """
        hooks: list[BeforeUpdate] = []
        if self._rates.is_scheduled:
            hooks.append(partial(self._set_rates, round_number))
        clip = self._choose_clipping(server, peers)
        return [*hooks, clip] if clip is not None else hooks

    @property
    def learning_rate(self) -> float | None:
        """The scheduled learning rate of the last step, without the groups' own factors; None where there is none."""
        return self._rates.current if self._rates.is_scheduled else None

    def _set_rates(self, round_number: int, given: StepInput, links: Links) -> None:
        del links
        self._rates.apply(round_number=round_number, step=given.step)

    def _choose_clipping(self, server: Link | None, peers: Peers) -> BeforeUpdate | None:
        if self._clipping is None:
            return None
        if self._global is not None:
            clipping = self._global
            if server is None:
                return lambda given, _links: clipping.clip_for(peers, given)
            return lambda given, _links: clipping.clip_with(server, given)
        clip: Callable[[list[nn.Parameter], float], None] = (
            clip_by_value if self._clipping.mode is ClippingMode.VALUE else clip_by_segment_norm
        )
        limit = float(self._clipping.limit)
        return lambda _given, _links: clip(list(self._parameters.values()), limit)
