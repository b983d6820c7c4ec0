"""Gradient clipping: by value, by each party's own norm, or by the norm of all parties' gradients together.

For the last, gradients stay where they are. Each client tells the server one norm per parameter, the server puts all
of them in the order of the whole model, takes their norm as torch.nn.utils.clip_grad_norm_ does, and tells everybody
the one number. Every party then scales its own gradients by PyTorch's own formula. The arithmetic is that of the loop
form (foreach=False), in which an unsplit training gets the very same bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_

from splittraining.api.errors import ModelInvalid, NumericsInvalid, ProtocolViolation
from splittraining.party.training.engine import StepInput
from splittraining.party.training.metrics import parse_number, render_number
from splittraining.party.wire.link import Link
from splittraining.party.wire.message import Message
from splittraining.party.wire.orders import MAX_NORMS, GradientNorm, GradientNorms

Norms = Mapping[str, torch.Tensor]
"""The norm of each gradient that exists, by parameter name."""

Peers = Mapping[str, Sequence[Link]]
"""The links to whoever runs an owner's segments in a step, by owner name: one client, or all that train alike."""


def clip_by_value(parameters: Iterable[nn.Parameter], limit: float) -> None:
    """Bounds every element of every gradient."""
    clip_grad_value_(list(parameters), limit, foreach=False)


def clip_by_segment_norm(parameters: Iterable[nn.Parameter], limit: float) -> None:
    """Scales one party's gradients down to a norm, whatever the other parties' are."""
    clip_grad_norm_(list(parameters), limit, foreach=False)


@torch.no_grad()
def compute_norms(parameters: Mapping[str, nn.Parameter]) -> dict[str, torch.Tensor]:
    """Computes the norm of each gradient; parameters without one are left out, as PyTorch leaves them out."""
    return {
        name: torch.linalg.vector_norm(parameter.grad, 2.0)
        for name, parameter in parameters.items()
        if parameter.grad is not None
    }


@torch.no_grad()
def combine_norms(order: Sequence[str], norms: Norms) -> torch.Tensor:
    """Computes the norm of all gradients together.

    Args:
        order: The names of the whole model's parameters: the sum of squares depends on it in its last bits.
        norms: All parties' norms, on one device.
    """
    present = [norms[name] for name in order if name in norms]
    return torch.linalg.vector_norm(torch.stack(present), 2.0) if present else torch.tensor(0.0)


class GlobalNormClipping:
    """Clips one party's gradients by the norm of all parties' gradients.

    Args:
        owned: This party's parameters, in the whole model's order.
        owners: Owner of every parameter of the whole model, in its order. A parameter that two owners hold (none today)
            counts once, at the one named here.
        dtype: What all trained parameters are.
        device: Where this party computes.
        limit: Largest norm.
    """

    def __init__(
        self,
        owned: Mapping[str, nn.Parameter],
        *,
        owners: Mapping[str, str],
        dtype: torch.dtype,
        device: torch.device,
        limit: float,
    ) -> None:
        self._owned = owned
        self._owners = owners
        self._dtype = dtype
        self._device = device
        self._limit = limit

    def clip_with(self, server: Link, given: StepInput) -> None:
        """At a client: tells the server its norms, is told the whole norm, and clips.

        Raises:
            NumericsInvalid: if a gradient is not finite.
            ProtocolViolation: if the server answers anything else.
        """
        norms = compute_norms(self._owned)
        texts = [_render_norm(name, norms.get(name), given.step) for name in self._owned]
        for start in range(0, max(1, len(texts)), MAX_NORMS):
            server.send_control(
                GradientNorms(step=given.step, first=start, norms=tuple(texts[start : start + MAX_NORMS]))
            )
        answer = server.recv_control()
        if not isinstance(answer, GradientNorm) or answer.step != given.step:
            raise _refuse(answer, server.peer, f"GradientNorm of step {given.step}")
        self._scale(torch.tensor(_parse_norm(answer.norm), dtype=self._dtype, device=self._device))

    def clip_for(self, peers: Peers, given: StepInput) -> None:
        """At the server: gathers the norms of the owners that take part in this step, tells them the whole, and clips.

        Args:
            peers: Links to each of these owners. Who is not in it has no part in the norm.
            given: The step.

        Raises:
            NumericsInvalid: if a gradient is not finite.
            ProtocolViolation: if a client sends anything else.
        """
        norms = compute_norms(self._owned)
        for name, norm in norms.items():
            _render_norm(name, norm, given.step)  # refuses what is not finite
        for owner, links in peers.items():
            norms |= self._recv_equal_norms(owner, links, given.step)
        total = combine_norms(list(self._owners), norms)
        answer = GradientNorm(step=given.step, norm=render_number(float(total)))
        for link in (link for links in peers.values() for link in links):
            link.send_control(answer)
        self._scale(total)

    def _recv_equal_norms(self, owner: str, links: Sequence[Link], step: int) -> dict[str, torch.Tensor]:
        """Returns one owner's norms; where several clients are that owner, they hold the same gradients."""
        names = [name for name, holder in self._owners.items() if holder == owner]
        told = [self._recv_norms(names, link, step) for link in links]
        for link, texts in zip(links, told, strict=True):
            if texts != told[0]:
                raise ProtocolViolation(
                    f"{link.peer} sent other gradient norms at step {step} than {links[0].peer}",
                    allowed="the norms of one sum of gradients, the same at all clients",
                    remedy="use the same version of splittraining at every party; if they are equal, report it",
                )
        return {
            name: torch.tensor(_parse_norm(text), dtype=self._dtype, device=self._device)
            for name, text in zip(names, told[0], strict=True)
            if text
        }

    def _recv_norms(self, names: Sequence[str], link: Link, step: int) -> list[str]:
        texts: list[str] = []
        for start in range(0, max(1, len(names)), MAX_NORMS):
            message = link.recv_control()
            if not isinstance(message, GradientNorms) or (message.step, message.first) != (step, start):
                raise _refuse(message, link.peer, f"GradientNorms of step {step} from parameter {start} on")
            texts += message.norms
        if len(texts) != len(names):
            raise ProtocolViolation(
                f"{link.peer} sent {len(texts)} gradient norms at step {step}",
                allowed=f"{len(names)}: one for each parameter of its segments",
                remedy="use the same model source and version of splittraining at every party",
            )
        return texts

    def _scale(self, total: torch.Tensor) -> None:
        clip_grads_with_norm_(list(self._owned.values()), self._limit, total, foreach=False)


def find_dtype(parameters: Iterable[nn.Parameter]) -> torch.dtype:
    """Returns the dtype of all trained parameters.

    Raises:
        ModelInvalid: if there are several: in which order their norms would be summed is PyTorch's secret.
    """
    dtypes = sorted({parameter.dtype for parameter in parameters if parameter.requires_grad}, key=str)
    if len(dtypes) > 1:
        raise ModelInvalid(
            f"the model's trained parameters have the dtypes {', '.join(map(str, dtypes))}",
            allowed="one dtype, where gradientClipping.mode is GlobalNorm",
            remedy="convert the model to one dtype, freeze some, or clip by SegmentNorm or Value",
        )
    return dtypes[0] if dtypes else torch.float32


def _render_norm(name: str, norm: torch.Tensor | None, step: int) -> str:
    if norm is None:
        return ""
    value = float(norm)
    if not math.isfinite(value):
        raise NumericsInvalid(
            f"the gradient of {name} has the norm {value} at step {step}",
            allowed="finite gradients",
            remedy="lower the learning rate, or look for rows that the model cannot handle",
        )
    return render_number(value)


def _parse_norm(text: str) -> float:
    value = parse_number(text, name="a gradient norm")
    if value < 0:
        raise ProtocolViolation(f"a gradient norm is {value}", allowed="0 or more")
    return value


def _refuse(message: Message, peer: str, allowed: str) -> ProtocolViolation:
    return ProtocolViolation(
        f"message {message.type} came from {peer} out of turn",
        allowed=allowed,
        remedy="use the same version of splittraining at every party",
    )
