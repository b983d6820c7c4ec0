"""Runs one stage forward and backward so that gradients come out bit for bit as from the uncut model.

The rules and their reasons are in docs/backward.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch

from splittraining.api.wire_plan import ValueSource, WirePlan
from splittraining.party.model.crossings import OUTPUT
from splittraining.party.model.failures import explain_determinism
from splittraining.party.model.segment import Segment


class StageRunner:
    """Runs one segment as its place in the wire plan asks.

    One forward in training mode is followed by one backward; between them the runner holds the graph.

    Args:
        segment: The stage.
        wire_plan: All values between stages.
        shard: Tells clients apart that run the same stage in one step: their random operations must not draw alike.
    """

    def __init__(self, segment: Segment, wire_plan: WirePlan, *, shard: str = "") -> None:
        self.segment = segment
        self._shard = shard
        self.output: torch.Tensor | None = None
        """The output of the last forward that a loss is computed of, attached to its graph; on a loss stage only."""
        values = [value for value in wire_plan.values if value.source is not ValueSource.LABEL]
        self._incoming = tuple(value for value in values if segment.stage in value.consumers)
        self._outgoing = tuple(value for value in values if segment.stage == value.producer)
        self._is_loss_stage = wire_plan.computes_loss(segment.stage)
        self._relays = not wire_plan.loss_stages
        self._entrances: dict[str, torch.Tensor] = {}
        self._returned: dict[str, torch.Tensor] = {}
        self._produced: dict[str, torch.Tensor] = {}

    @property
    def gradient_names(self) -> tuple[str, ...]:
        """Names of the values whose gradients this stage gets from later stages."""
        relayed = [value for value in self._incoming if self._relays and value.consumers[-1] > self.segment.stage]
        return tuple(value.name for value in (*relayed, *self._outgoing) if value.differentiable)

    def forward(
        self,
        arguments: Mapping[str, torch.Tensor],
        incoming: Mapping[str, torch.Tensor],
        *,
        training: bool,
        step: int,
    ) -> dict[str, torch.Tensor]:
        """Runs the stage forward.

        Args:
            arguments: The forward's arguments that the owner holds.
            incoming: The values that the stage reads, from wherever they came.
            training: Whether a backward pass follows.
            step: Global number of the step.

        Returns:
            The stage's values for later stages, detached from its graph.
        """
        returned: dict[str, torch.Tensor] = {}
        entrances = {value.name: incoming[value.name].detach() for value in self._incoming}
        with torch.set_grad_enabled(training):
            for value in self._incoming:
                if training and value.differentiable:
                    leaf = entrances[value.name].requires_grad_()
                    entrances[value.name] = _Entrance.apply(leaf, returned, value.name)
            results = self.segment.forward(arguments, entrances, training=training, step=step, shard=self._shard)
        self.output = results[OUTPUT] if self._is_loss_stage else None
        produced = {value.name: results[value.name] for value in self._outgoing}
        if training:
            self._entrances, self._produced, self._returned = entrances, produced, returned
        return {name: tensor.detach() for name, tensor in produced.items()}

    def backward(
        self, gradients: Mapping[str, torch.Tensor | None], loss: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor | None]:
        """Runs the stage backward in one pass of autograd.

        Args:
            gradients: For each of `gradient_names`, what came back from later stages. None means that no later stage
                used the value, which is not the same as zeros: an optimizer skips parameters without gradient.
            loss: The loss, on the loss stage.

        Returns:
            The gradient of each differentiable value that came in, or None where the stage did not use it.

        Raises:
            NumericsInvalid: if an operation's backward pass has no deterministic form.
        """
        roots: list[torch.Tensor] = []
        seeds: list[torch.Tensor | None] = []
        if loss is not None:
            roots.append(loss)
            seeds.append(None)
        held = {**self._entrances, **self._produced}
        for name in self.gradient_names:
            gradient = gradients[name]
            if gradient is not None:
                roots.append(held[name])
                seeds.append(gradient)
        for parameter in self.segment.parameters().values():
            # A later stage of this owner used the parameter too. As a root its share comes first in the sum, as uncut.
            if parameter.grad is not None:
                roots.append(parameter)
                seeds.append(parameter.grad)
                parameter.grad = None
        if roots:
            with explain_determinism(f"the backward pass of stage {self.segment.stage} ({self.segment.owner})"):
                torch.autograd.backward(roots, seeds)
        returned = {value.name: self._returned.get(value.name) for value in self._incoming if value.differentiable}
        self._entrances, self._produced, self._returned, self.output = {}, {}, {}, None
        return returned

    def zero_grad(self) -> None:
        """Forgets the gradients of the stage's parameters; once per step and owner, before the first backward."""
        for parameter in self.segment.parameters().values():
            parameter.grad = None


class _Context(Protocol):
    """Where an entrance puts its gradient."""

    returned: dict[str, torch.Tensor]
    name: str


class _Entrance(torch.autograd.Function):
    """Hands out the gradient of an incoming value just as autograd summed it up.

    A leaf's `.grad` would not do: autograd copies it into the leaf's memory layout, and in another layout the
    producer's reductions add in another order.
    """

    @staticmethod
    def forward(ctx: _Context, leaf: torch.Tensor, returned: dict[str, torch.Tensor], name: str) -> torch.Tensor:
        ctx.returned, ctx.name = returned, name
        return leaf.detach()

    @staticmethod
    def backward(ctx: _Context, gradient: torch.Tensor) -> tuple[None, None, None]:
        ctx.returned[ctx.name] = gradient
        return None, None, None
