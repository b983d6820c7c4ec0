"""What a party does only where the contract names it: institutions consented to that, whatever anybody orders later."""

from __future__ import annotations

from collections.abc import Mapping

from splittraining.api.contract import Cargo, Contract
from splittraining.api.errors import ModelInvalid, ProtocolViolation
from splittraining.api.wire_plan import Direction, Transfer, ValueSource, WirePlan
from splittraining.party.wire.message import Message
from splittraining.party.wire.orders import AverageWeights, HandOff, ParallelTurn, SealedNotice, TakeOver, Turn


def check_transfers(contract: Contract, wire_plan: WirePlan) -> None:
    """Refuses a wire plan that sends what the contract's links do not name: institutions consent to that list.

    Raises:
        ModelInvalid: naming the value.
    """
    names = {party.name for party in contract.parties}
    agreed = _list_agreed(contract)
    for transfer in wire_plan.iterate_transfers(training=True):
        cargo = _find_cargo(transfer)
        # Owners that are no party's name stand for whichever client has the turn: all of them send and get the same.
        by_name = transfer.sender in names and transfer.receiver in names
        if by_name and cargo not in agreed.get((transfer.sender, transfer.receiver), ()):
            raise ModelInvalid(
                f"the model's code sends {cargo} {transfer.value.name!r} from {transfer.sender} to {transfer.receiver}",
                allowed="what the contract's links name: with hops, from each owner to the next",
                remedy="move the cut points so that nothing skips an owner, or name the value in model.extraCrossings",
            )


def _find_cargo(transfer: Transfer) -> Cargo:
    if transfer.value.source is ValueSource.LABEL:
        return Cargo.LABELS
    return Cargo.ACTIVATIONS if transfer.direction is Direction.FORWARD else Cargo.GRADIENTS


def check_order(contract: Contract, own: str, order: Message) -> None:
    """Refuses an order that the contract's schedule and links do not know, before anything of it is done.

    Args:
        contract: What this party agreed to.
        own: This client.
        order: What the conductor asks of it.

    Raises:
        ProtocolViolation: naming the order, and what the contract says.
    """
    schedule = contract.schedule
    match order:
        case Turn():
            allowed = schedule.parallel is None
        case ParallelTurn():
            allowed = schedule.parallel is not None
        case AverageWeights():
            allowed = schedule.split_fed is not None and schedule.averaging_at is not None
        case HandOff():
            allowed = Cargo.HAND_OFF in _list_agreed(contract).get((own, order.recipient), ())
        case SealedNotice() | TakeOver():
            allowed = Cargo.HAND_OFF in _list_agreed(contract).get((order.sender, own), ())
        case _:
            allowed = True
    if not allowed:
        raise ProtocolViolation(
            f"the server ordered {_tell(order)}",
            allowed=f"orders of schedule {schedule.mode}, and hand-offs between clients whose link the contract names",
            remedy="use the same version of splittraining at every party",
        )


def _list_agreed(contract: Contract) -> Mapping[tuple[str, str], tuple[Cargo, ...]]:
    return {(link.sender, link.receiver): link.cargo for link in contract.links}


def _tell(order: Message) -> str:
    match order:
        case HandOff():
            return f"{order.type} to {order.recipient}"
        case SealedNotice() | TakeOver():
            return f"{order.type} from {order.sender}"
        case _:
            return order.type
