"""Several clients as one: a link whose values are the clients' parts, one below the other.

To the server's engine a parallel step is a step with one client that has all the rows. A value's rows come in the
clients' listed order, and gradients are cut up likewise. A client without rows in the step is not asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from splittraining.api.errors import ModelInvalid
from splittraining.api.wire_plan import Transfer, Value, WirePlan
from splittraining.party.wire.frame import NO_DIGEST
from splittraining.party.wire.link import ReceivedTensor, TensorLink


class GatheredLink:
    """The links to all clients that have rows in one step.

    Args:
        links: To the clients, by name.
        rows: Rows of each client in this step, in listed order.
    """

    def __init__(self, links: Mapping[str, TensorLink], rows: Mapping[str, int]) -> None:
        self._parts = [(links[name], num_rows) for name, num_rows in rows.items() if num_rows]

    def send_tensor(
        self,
        transfer: Transfer,
        tensor: torch.Tensor | None,
        *,
        step: int,
        rows: int,  # noqa: ARG002 - each client is sent its own rows
        training: bool,
        batch_digest: bytes = NO_DIGEST,
    ) -> None:
        """Sends each client its rows of one value or gradient."""
        for (link, num_rows), part in zip(self._parts, self._split(transfer.value, tensor), strict=True):
            link.send_tensor(transfer, part, step=step, rows=num_rows, training=training, batch_digest=batch_digest)

    def recv_tensor(
        self,
        transfer: Transfer,
        *,
        step: int,
        rows: int | None,  # noqa: ARG002 - each client sends its own rows
        training: bool,
        batch_digest: bytes | None,
    ) -> ReceivedTensor:
        """Returns one value or gradient of all clients' rows."""
        parts = [
            link.recv_tensor(transfer, step=step, rows=num_rows, training=training, batch_digest=batch_digest)
            for link, num_rows in self._parts
        ]
        joined = _join(transfer.value, parts)
        return ReceivedTensor(joined, sum(part.rows for part in parts), parts[0].batch_digest)

    def _split(self, value: Value, tensor: torch.Tensor | None) -> Sequence[torch.Tensor | None]:
        if tensor is None:
            return [None] * len(self._parts)
        per_row = value.shape[value.batch_dimension]
        return torch.split(tensor, [per_row * num_rows for _, num_rows in self._parts], value.batch_dimension)


def check_rows_can_be_gathered(wire_plan: WirePlan) -> None:
    """Refuses values that have no rows to put below each other.

    Raises:
        ModelInvalid: with the first such value.
    """
    for transfer in wire_plan.iterate_transfers(training=True):
        value = transfer.value
        if value.batch_dimension < 0:
            raise ModelInvalid(
                f"value {value.name!r} of shape {list(value.shape)} crosses and has no dimension of rows",
                allowed="in a parallel step, values of which every row belongs to one client",
                remedy="move the cut, keep the value at its owner, or set schedule.mode: Sequential",
            )


def _join(value: Value, parts: Sequence[ReceivedTensor]) -> torch.Tensor | None:
    given = [part.tensor for part in parts if part.tensor is not None]
    if not given:
        return None
    # A client that did not use the value has no gradient for its rows: in one large batch these would be zeros.
    held = [
        torch.zeros(value.compute_shape(part.rows), dtype=given[0].dtype) if part.tensor is None else part.tensor
        for part in parts
    ]
    return torch.cat(held, dim=value.batch_dimension)
