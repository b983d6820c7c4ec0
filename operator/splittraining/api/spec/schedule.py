"""In which order the clients train, and what they hand on."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field

from splittraining.api.base import Document
from splittraining.api.spec.types import Count


class ScheduleMode(enum.StrEnum):
    """Who takes part in a step."""

    SEQUENTIAL = "Sequential"
    PARALLEL = "Parallel"
    SPLIT_FED = "SplitFed"
    JOINT = "Joint"


class TurnUnit(enum.StrEnum):
    """What a turn is counted in."""

    EPOCH = "Epoch"
    STEPS = "Steps"


class HandOff(enum.StrEnum):
    """How a client's segment reaches the next client."""

    VIA_SERVER = "ViaServer"
    PEER_TO_PEER = "PeerToPeer"
    NONE = "None"


class TurnSpec(Document):
    """How long one client trains before the next."""

    unit: TurnUnit = TurnUnit.EPOCH
    """Epoch: passes over the client's rows. Steps: batches."""
    length: Annotated[Count, Field(ge=1, le=1000000)] = 1
    """How many units a turn lasts."""


class SequentialSpec(Document):
    """One client after the other, in listed order, with one server segment."""

    turn: TurnSpec = TurnSpec()
    """How long one client trains before the next."""
    handoff: HandOff = HandOff.VIA_SERVER
    """How weights, buffers and optimizer state of the client segment reach the next client. ViaServer: relayed by the
    server, sealed end to end and signed. PeerToPeer: sealed in the same way, over a connection from each client to the
    next one in the order of turns. None: every client keeps its own."""


class ScheduleSpec(Document):
    """Who takes part in a step, and in which order. One member per mode."""

    mode: ScheduleMode
    """Sequential, Parallel or SplitFed for Vanilla and UShaped; Joint for all other topologies."""
    sequential: SequentialSpec | None = None
    """Given with mode Sequential, and only then."""
