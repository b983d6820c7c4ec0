"""The SplitParticipation resource: one party's part in a training, in that party's namespace.

The operator writes one for every party. What belongs to the institution's people is `spec.approval`, which the operator
never writes.
"""

from __future__ import annotations

import enum
from typing import Annotated, Literal

from pydantic import Field

from splittraining.api.base import Document
from splittraining.api.contract import Role
from splittraining.api.resource import Metadata
from splittraining.api.spec.server import Device
from splittraining.api.spec.types import Image, ListMap, Namespace, PartyName
from splittraining.api.status import Condition, Digest, StatusDocument, Tally

PARTICIPATION_KIND = "SplitParticipation"


class DesiredState(enum.StrEnum):
    """What a party is to do."""

    RUNNING = "Running"
    SUSPENDED = "Suspended"
    FINISHED = "Finished"


class ApprovalDecision(enum.StrEnum):
    """What an institution says."""

    APPROVED = "Approved"
    REFUSED = "Refused"


class TrainingReference(Document):
    """The training that a party takes part in."""

    namespace: Namespace
    """Its namespace."""
    name: PartyName
    """Its name."""
    uid: Annotated[str, Field(min_length=1, max_length=63)]
    """Its uid: a training that is made anew under the same name is another one."""


class ApprovalSpec(Document):
    """What the institution's people decided. The operator never writes it."""

    contract_digest: Digest
    """The contract that was looked at."""
    plan_digest: Digest
    """The party's own plan that was looked at."""
    decision: ApprovalDecision
    """Approved or Refused."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Why, for the training's authors."""


class ParticipationSpec(Document):
    """One party's part. Written by the operator, but for approval."""

    training_ref: TrainingReference
    """The training."""
    run_id: Annotated[str, Field(alias="runID", min_length=1, max_length=63)]
    """Names the run in every identity."""
    party: PartyName
    """The party."""
    role: Role
    """Client or Server."""
    contract_digest: Digest
    """Digest of what all parties agree on."""
    plan_digest: Digest
    """Digest of this party's own plan: its claims, paths and columns."""
    image: Image
    """What the party runs."""
    device: Device
    """Where its tensors live."""
    desired_state: DesiredState
    """Whether the party is to run."""
    approval: ApprovalSpec | None = None
    """What the institution's people decided; theirs alone to write."""


class ParticipationStatus(StatusDocument):
    """What is observed of one party. Written by the operator."""

    observed_generation: Tally = 0
    """Generation of the spec that this status is about."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), ListMap("type")] = ()
    """What of the training is this party's business: Approved, Suspended, Complete, Failed."""
    job: Annotated[str, Field(max_length=63)] = ""
    """Name of its Job of the attempt under way."""
    attempt: Tally = 0
    """Number of that attempt."""
    restarts: Tally = 0
    """How often the party was the reason for a start over."""
    pod: Annotated[str, Field(max_length=253)] = ""
    """Name of its pod."""
    node: Annotated[str, Field(max_length=253)] = ""
    """Node that its pod runs on."""
    state: Annotated[str, Field(max_length=63)] = ""
    """Where the party is, in one word."""
    reason: Annotated[str, Field(max_length=63)] = ""
    """Why it is not ready, or why it failed, in one word."""
    message: Annotated[str, Field(max_length=2048)] = ""
    """The same in a sentence for people."""


class SplitParticipation(Document):
    """One party's part in one split training."""

    api_version: Literal["splitlearning.dev/v1alpha1"]
    """Group and version."""
    kind: Literal["SplitParticipation"]
    """Kind."""
    metadata: Metadata
    """Name and namespace."""
    spec: ParticipationSpec
    """The party's part."""
    status: ParticipationStatus | None = None
    """What is observed."""
