"""The ring of a PeerToPeer hand-off: which client connects to which, and to no other.

The clients stand in the order of their turns, the first one after the last one. What is handed on goes to the next one,
and only there: what is meant for one further on passes through those between. So of all ordered pairs exactly
(client i, client i + 1 mod K) are used: K pairs, with two clients both directions, with one none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from splittraining.api.spec.schedule import HandOff, ScheduleSpec


@dataclass(frozen=True, slots=True)
class Neighbors:
    """Who dials a client, and whom it dials."""

    predecessor: str
    successor: str


def list_pairs(clients: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Returns every (sender, receiver) of the ring.

    Args:
        clients: In the order of turns.
    """
    successors = (*clients[1:], *clients[:1])
    return tuple((sender, receiver) for sender, receiver in zip(clients, successors, strict=True) if sender != receiver)


def find_neighbors(schedule: ScheduleSpec, clients: Sequence[str], party: str) -> Neighbors | None:
    """Returns a client's neighbors; None where nothing is handed on directly, and for whoever is not in the ring.

    Args:
        schedule: Of the contract.
        clients: In the order of turns.
        party: Any party.
    """
    sequential = schedule.sequential
    if sequential is None or sequential.handoff is not HandOff.PEER_TO_PEER:
        return None
    receivers = dict(list_pairs(clients))
    senders = {receiver: sender for sender, receiver in receivers.items()}
    return Neighbors(senders[party], receivers[party]) if party in receivers else None
