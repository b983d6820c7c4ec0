"""One sum of all clients' gradients in every step, so that their segments stay the same to the byte."""

from __future__ import annotations

from splittraining.party.training.averaging import combine_gradients, pack_tensors, unpack_tensors
from splittraining.party.training.engine import Links, StepInput
from splittraining.party.training.exchange import Errand, Exchange
from splittraining.party.training.sealed_mail import BlobKind
from splittraining.party.training.share import ModelShare


class GradientSum:
    """A client's work between the backward pass and the update.

    Args:
        exchange: To the averaging party and back.
        share: This client's part of the model.
    """

    def __init__(self, exchange: Exchange, share: ModelShare) -> None:
        self._exchange = exchange
        self._share = share

    def __call__(self, given: StepInput, links: Links) -> None:
        """Puts the sum over all clients in place of this client's gradients.

        A parameter that no client has a gradient of keeps none, so that the optimizer skips it everywhere.
        """
        del links  # what is summed takes its own way
        outline, parameters = self._share.outline, self._share.parameters
        own = {name: each.grad for name, each in parameters.items() if each.grad is not None}
        errand = plan_errand(given.step, max_bytes=outline.count_state_bytes())
        packed = self._exchange.run(errand, pack_tensors(own), lambda parts: combine_gradients(parts, outline))
        total = unpack_tensors(packed, like=parameters, whole=False)
        for name, parameter in parameters.items():
            parameter.grad = total[name].to(parameter.device) if name in total else None


def plan_errand(step: int, *, max_bytes: int) -> Errand:
    """Returns what a step's exchange is called."""
    return Errand(BlobKind.GRADIENTS, BlobKind.GRADIENT_SUM, sequence=step, max_bytes=max_bytes)
