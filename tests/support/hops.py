"""A chain of three clients before the server: its contract, and wire plans that keep to it or skip an owner."""

from __future__ import annotations

from splittraining.api.wire_plan import DType, Stage, Value, ValueSource, WirePlan
from splittraining.plan.contracts import build_contract
from support.builders import a_multi_hop_training

CLIENTS = ("clinic", "lab", "center")
CONTRACT = build_contract(a_multi_hop_training().build(), source_digest="")


def a_value(number: int, producer: int, *consumers: int) -> Value:
    return Value(
        id=number,
        name=f"value {number}",
        source=ValueSource.CUT,
        dtype=DType.FLOAT32,
        shape=(1, 4),
        producer=producer,
        consumers=consumers,
    )


def a_plan(*values: Value) -> WirePlan:
    stages = tuple(Stage(index=index, owner=owner) for index, owner in enumerate((*CLIENTS, "server")))
    return WirePlan(stages=stages, loss_stage=3, values=values)


CHAIN = a_plan(a_value(0, 0, 1), a_value(1, 1, 2), a_value(2, 2, 3))
SKIPPING = a_plan(a_value(0, 0, 1, 2), a_value(1, 1, 2), a_value(2, 2, 3))
