"""Several clients' links as one."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

from splittraining.api.errors import ModelInvalid
from splittraining.api.wire_plan import Direction, DType, Stage, Transfer, Value, ValueSource, WirePlan
from splittraining.party.training.rounds.gathered_link import GatheredLink, check_rows_can_be_gathered
from splittraining.party.wire.frame import NO_DIGEST
from splittraining.party.wire.link import ReceivedTensor

ROWS = {"north": 2, "south": 0, "west": 1}


@dataclass
class OneClient:
    """A link that gives one tensor and keeps what it is sent."""

    gives: torch.Tensor | None = None
    sent: list[tuple[torch.Tensor | None, int]] = field(default_factory=list)

    def send_tensor(
        self,
        transfer: Transfer,
        tensor: torch.Tensor | None,
        *,
        step: int,
        rows: int,
        training: bool,
        batch_digest: bytes = NO_DIGEST,
    ) -> None:
        del transfer, step, training, batch_digest
        self.sent.append((tensor, rows))

    def recv_tensor(
        self, transfer: Transfer, *, step: int, rows: int | None, training: bool, batch_digest: bytes | None
    ) -> ReceivedTensor:
        del transfer, step, training, batch_digest
        assert rows
        return ReceivedTensor(self.gives, rows, NO_DIGEST)


def a_value(*, shape: tuple[int, ...] = (1, 2), batch_dimension: int = 0) -> Value:
    return Value(
        id=0,
        name="bottom",
        source=ValueSource.CUT,
        dtype=DType.FLOAT32,
        shape=shape,
        batch_dimension=batch_dimension,
        producer=0,
        consumers=(1,),
    )


def a_transfer(value: Value) -> Transfer:
    return Transfer(value, Direction.FORWARD, 0, 1, "client", "server")


def gather(gives: dict[str, torch.Tensor | None], value: Value | None = None) -> ReceivedTensor:
    links = {name: OneClient(gives.get(name)) for name in ROWS}
    link = GatheredLink(links, ROWS)
    return link.recv_tensor(a_transfer(value or a_value()), step=1, rows=None, training=True, batch_digest=None)


def test_rows_come_one_clients_below_the_others_and_a_client_without_rows_is_not_asked() -> None:
    received = gather({"north": torch.tensor([[1.0, 1.0], [2.0, 2.0]]), "west": torch.tensor([[3.0, 3.0]])})
    assert received.rows == 3
    assert received.tensor is not None
    assert received.tensor.tolist() == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]


def test_rows_are_joined_and_parted_where_the_value_has_them() -> None:
    value = a_value(shape=(2, 3), batch_dimension=1)  # three columns for every row
    received = gather({"north": torch.zeros(2, 6), "west": torch.ones(2, 3)}, value)
    assert received.tensor is not None
    assert received.tensor.tolist() == [[0.0] * 6 + [1.0] * 3] * 2
    links = {name: OneClient() for name in ROWS}
    GatheredLink(links, ROWS).send_tensor(a_transfer(value), received.tensor, step=1, rows=3, training=True)
    ((to_north, north_rows),), ((to_west, west_rows),) = links["north"].sent, links["west"].sent
    assert (north_rows, west_rows, links["south"].sent) == (2, 1, [])
    assert to_north is not None
    assert to_west is not None
    assert (to_north.tolist(), to_west.tolist()) == ([[0.0] * 6] * 2, [[1.0] * 3] * 2)


def test_no_gradient_is_none_for_all_and_zeros_where_only_some_have_none() -> None:
    assert gather({}).tensor is None
    mixed = gather({"west": torch.ones(1, 2)}).tensor
    assert mixed is not None
    assert mixed.tolist() == [[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]
    links = {name: OneClient() for name in ROWS}
    GatheredLink(links, ROWS).send_tensor(a_transfer(a_value()), None, step=1, rows=3, training=True)
    assert links["north"].sent == [(None, 2)]
    assert links["west"].sent == [(None, 1)]


def test_a_value_without_rows_is_refused_by_name() -> None:
    stages = (Stage(index=0, owner="client"), Stage(index=1, owner="server"))
    plan = WirePlan(stages=stages, loss_stage=1, values=(a_value(shape=(3,), batch_dimension=-1),))
    with pytest.raises(ModelInvalid, match="'bottom'"):
        check_rows_can_be_gathered(plan)
