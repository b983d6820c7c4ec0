"""What is to be done about one training. Whoever carries it out decides nothing."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from splittraining.api.participation import ParticipationStatus
from splittraining.api.status import SplitTrainingStatus

Manifest = dict[str, Any]


class EventKind(enum.StrEnum):
    """How Kubernetes sorts events."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class TrainingEvent:
    """One sentence for the training's event list."""

    kind: EventKind
    reason: str
    note: str


@dataclass(frozen=True, slots=True)
class Reference:
    """An object to delete: exactly this one, not a namesake."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Carried out in this order: status, delete, apply, events, participations.

    The status is the memory. A conclusion is written down before what it was drawn from is deleted, and a new attempt
    before it is started (at the next look): a controller that dies in between finds what it meant to do.
    """

    status: SplitTrainingStatus
    apply: tuple[Manifest, ...] = ()
    """Wanted as they are, in this order; what is already so need not be written. Where anything else is refused, no Job
    is made."""
    delete: tuple[Reference, ...] = ()
    events: tuple[TrainingEvent, ...] = ()
    participations: Mapping[str, ParticipationStatus] = field(default_factory=dict)
    """What the participations' statuses are to say, by party; written last, and only where it differs."""
    requeue_after_s: float | None = None
    """When to look again although nothing happened: the next moment at which time alone changes the decision.

    None where only an event does. Whoever carries decisions out adds what it retries by itself.
    """
