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


class AveragingAt(enum.StrEnum):
    """Which party adds up what the clients send."""

    CLIENT = "Client"
    SERVER = "Server"


class AveragingSpec(Document):
    """Where the clients' gradients are summed, or their weights averaged."""

    at: AveragingAt = AveragingAt.CLIENT
    """Client: at the first listed client; everything is sealed to it and back, so that the server reads nothing.
    Server: at the server, which then sees every client's gradients or weights."""


class ParallelBatch(enum.StrEnum):
    """What makes up the batch of a parallel step."""

    UNION = "Union"
    GLOBAL = "Global"


class GradientPolicy(enum.StrEnum):
    """What becomes of the clients' gradients in a parallel step."""

    SUM_GRADIENTS = "SumGradients"
    PRIVATE = "Private"


class ParallelSpec(Document):
    """All clients take part in every step; the server trains on their rows together."""

    batch: ParallelBatch = ParallelBatch.UNION
    """Union: each client brings its next batchSize rows, so that a step has up to batchSize rows per client. Global: a
    step has batchSize rows in all, the next ones of one random order of all clients' rows; a client brings those that
    are its own, which may be none."""
    client_policy: GradientPolicy = GradientPolicy.SUM_GRADIENTS
    """SumGradients: the gradients of all client segments are added in every step, so that all clients have the same
    weights. Private: every client trains a segment of its own."""
    averaging: AveragingSpec | None = None
    """Where gradients are summed; at the first listed client unless it says otherwise. Only with clientPolicy
    SumGradients."""


class ServerPolicy(enum.StrEnum):
    """How many server segments there are within a SplitFed round."""

    PER_CLIENT = "PerClient"
    SHARED = "Shared"


class WeightPolicy(enum.StrEnum):
    """What becomes of the clients' weights at the end of a SplitFed round."""

    AVERAGE = "Average"
    PRIVATE = "Private"


class SplitFedSpec(Document):
    """Every client trains some epochs on its own rows, then weights are averaged by the clients' rows."""

    server_policy: ServerPolicy = ServerPolicy.PER_CLIENT
    """PerClient: the server keeps one segment per client, the clients train at the same time, and the server's segments
    are averaged at the end of each round (SplitFed v1, v3). Shared: one segment for all, and the clients train one
    after another in a random order (v2)."""
    client_policy: WeightPolicy = WeightPolicy.AVERAGE
    """Average: the client segments are averaged at the end of each round (v1, v2). Private: never; every client keeps
    its own (v3)."""
    every_rounds: Annotated[Count, Field(ge=1, le=1000)] = 1
    """Local epochs that make one round: how often every client passes over its own rows between two averages."""
    averaging: AveragingSpec | None = None
    """Where client segments are averaged; at the first listed client unless it says otherwise. Only with clientPolicy
    Average."""


class ScheduleSpec(Document):
    """Who takes part in a step, and in which order. One member per mode."""

    mode: ScheduleMode
    """Sequential, Parallel or SplitFed for Vanilla and UShaped; Joint for all other topologies."""
    sequential: SequentialSpec | None = None
    """Given with mode Sequential, and only then."""
    parallel: ParallelSpec | None = None
    """Given with mode Parallel, and only then."""
    split_fed: SplitFedSpec | None = None
    """Given with mode SplitFed, and only then."""

    @property
    def averaging_at(self) -> AveragingAt | None:
        """Where client gradients or weights come together; None where they never do."""
        if self.parallel is not None and self.parallel.client_policy is GradientPolicy.SUM_GRADIENTS:
            return (self.parallel.averaging or AveragingSpec()).at
        if self.split_fed is not None and self.split_fed.client_policy is WeightPolicy.AVERAGE:
            return (self.split_fed.averaging or AveragingSpec()).at
        return None
