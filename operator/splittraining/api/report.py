"""The report document: what a party tells the intake about itself. The only way from a party to status and tables."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import AwareDatetime, Field

from splittraining.api.base import Document


class PartyState(enum.StrEnum):
    """Where a party is in its life."""

    STARTING = "Starting"
    CONNECTING = "Connecting"
    READY = "Ready"
    TRAINING = "Training"
    WAITING = "Waiting"  # another client has the turn
    EVALUATING = "Evaluating"
    PREDICTING = "Predicting"
    FINISHING = "Finishing"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class Isolation(enum.StrEnum):
    """Whether network policies hold a party, as far as the party itself can tell."""

    UNKNOWN = "Unknown"  # not tried, or the try itself failed
    ISOLATED = "Isolated"
    OPEN = "Open"


class Metric(Document):
    """One latest number, as text: documents hold no floats."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """For example `loss`, `accuracy`, `auc`."""
    value: Annotated[str, Field(min_length=1, max_length=32)]
    """Decimal text."""


class LinkBytes(Document):
    """Bytes between this party and one peer since the start, payload and framing apart."""

    peer: Annotated[str, Field(min_length=1, max_length=40)]
    """The other party."""
    payload_sent: int = 0
    """Tensor bytes sent: what the formula counts."""
    payload_received: int = 0
    """Tensor bytes received."""
    labels_sent: int = 0
    """Of the payload sent: labels of training rows."""
    labels_received: int = 0
    """Of the payload received: labels of training rows."""
    evaluation_sent: int = 0
    """Of the payload sent: rows that only went forward, in an evaluation or a prediction, with their labels."""
    evaluation_received: int = 0
    """Of the payload received: rows that only went forward, likewise."""
    moved_sent: int = 0
    """Tensor bytes of weights, buffers, optimizer state and gradients sealed to this peer, whoever carried the blobs:
    they lie within what `sealed` counts at the links that did. Not part of the payload."""
    moved_received: int = 0
    """Tensor bytes of such blobs that this peer sealed to this party."""
    framing_sent: int = 0
    """Header bytes of tensor frames sent."""
    framing_received: int = 0
    """Header bytes of tensor frames received."""
    sealed_sent: int = 0
    """Sealed blobs (hand-offs, averages, gradients, clients' secret) sent, headers included."""
    sealed_received: int = 0
    """Sealed blobs received."""
    control_sent: int = 0
    """Control messages and heartbeats sent."""
    control_received: int = 0
    """Control messages and heartbeats received."""
    relayed_sent: int = 0
    """Sealed frames of another party that the server carried to this peer, headers included. The two parties count what
    is in them at the link between themselves."""
    relayed_received: int = 0
    """Sealed frames that this peer gave to the server for another party."""

    def plus(self, other: LinkBytes) -> LinkBytes:
        """Returns the sums of two connections with one peer."""
        counts = other.model_dump(exclude={"peer"})
        return LinkBytes(peer=self.peer, **{name: getattr(self, name) + count for name, count in counts.items()})


class Report(Document):
    """One party's latest state. A newer (generation, sequence) replaces an older one."""

    report_version: int = 1
    party: Annotated[str, Field(min_length=1, max_length=40)]
    """Who reports; must be the leaf's own party."""
    generation: Annotated[int, Field(ge=1)]
    """Generation of the run."""
    sequence: Annotated[int, Field(ge=0)]
    """Counts a party's reports; stale ones are dropped."""
    state: PartyState
    """Where the party is in its life."""
    round: Annotated[int, Field(ge=0)] = 0
    """Round under way or last done, counted from 1."""
    rounds: Annotated[int, Field(ge=0)] = 0
    """Rounds to train."""
    step: Annotated[int, Field(ge=0)] = 0
    """Global steps done."""
    steps: Annotated[int, Field(ge=0)] = 0
    """Global steps of the whole training, where known."""
    samples: Annotated[int, Field(ge=0)] = 0
    """Rows this party trained on, repeats counted."""
    active_party: Annotated[str, Field(max_length=40)] = ""
    """Who has the turn, as far as this party knows."""
    device: Annotated[str, Field(max_length=63)] = ""
    """For example `cpu` or `cuda:0 NVIDIA H100`."""
    isolation: Isolation = Isolation.UNKNOWN
    """Whether an address that must be forbidden to this party is out of its reach."""
    certificate_expiration_time: AwareDatetime | None = None
    """When the party's leaf ends."""
    links: Annotated[tuple[LinkBytes, ...], Field(max_length=65)] = ()
    """Bytes per peer."""
    metrics: Annotated[tuple[Metric, ...], Field(max_length=96)] = ()
    """Latest numbers."""
    peak_memory_bytes: Annotated[int, Field(ge=0)] = 0
    """Highest resident memory of the party's process so far."""
    stopped_early: bool = False
    """Whether early stopping ended the training after `round`."""
    kept_round: Annotated[int, Field(ge=0)] = 0
    """The round whose weights are the result where that is the best one; 0 where it is the last, or not yet known."""
    reason: Annotated[str, Field(max_length=63)] = ""
    """Why the party failed: an error's name."""
    message: Annotated[str, Field(max_length=2048)] = ""
    """A sentence for people."""
    exit_code: Annotated[int, Field(ge=0, le=255)] = 0
    """How the party will exit, once it has failed or succeeded."""
