"""One server segment per client within a SplitFed round: parameters, buffers and optimizer state of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from splittraining.party.training.averaging import average_tensors
from splittraining.party.training.share import ModelShare


class Replicas:
    """The server's share, once per client. One of them is loaded at a time, by exchanging memory, not by copying it.

    Args:
        share: The server's; all replicas start as it is.
        clients: In listed order.
    """

    def __init__(self, share: ModelShare, clients: Sequence[str]) -> None:
        self._optimizer = share.optimizer
        # By identity: one tensor may have two names.
        self._tensors = list({id(tensor): tensor for tensor in share.outline.weights.values()}.values())
        self._memory = {name: [tensor.detach().clone() for tensor in self._tensors] for name in clients}
        self._states: dict[str, Any] = {name: defaultdict(dict) for name in clients}

    @torch.no_grad()
    def load(self, client: str) -> None:
        """Makes the share, and its optimizer, those of one client until another is loaded."""
        for tensor, memory in zip(self._tensors, self._memory[client], strict=True):
            tensor.data = memory
        self._optimizer.state = self._states[client]

    @torch.no_grad()
    def average(self, rows: Mapping[str, int]) -> None:
        """Gives all clients' replicas the average by rows; each keeps its own optimizer state."""
        weights = [rows[name] for name in self._memory]
        for held in zip(*self._memory.values(), strict=True):
            average = average_tensors(held, weights)
            for memory in held:
                memory.copy_(average)
