"""What is observed of a SplitTraining. The operator alone writes it; a manifest needs none.

Everything is bounded, since a status is rewritten whole: history goes to metrics and the final report. Numbers that are
not counts are text, and what ``kubectl get`` prints in one column stands here as text too, since columns cannot join.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, ConfigDict, Field

from splittraining.api.base import Document
from splittraining.api.conditions import ConditionStatus
from splittraining.api.contract import Role
from splittraining.api.report import Metric
from splittraining.api.spec.types import ATOMIC, Count, ListMap, Namespace, PartyName

CAMEL_CASE_PATTERN = r"^[A-Z][A-Za-z0-9]*$"

Tally = Annotated[Count, Field(ge=0, le=2**53 - 1)]
Digest = Annotated[str, Field(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")]
Summary = Annotated[str, Field(max_length=63)]
Message = Annotated[str, Field(max_length=2048)]
Reason = Annotated[str, Field(max_length=63, pattern=CAMEL_CASE_PATTERN)]


class StatusDocument(Document):
    """Base of what the operator writes: an older reader passes over fields that a newer operator adds."""

    model_config = ConfigDict(extra="ignore")


class Condition(StatusDocument):
    """One statement about the training, in the form of all Kubernetes conditions."""

    type: Reason
    """What is stated, such as Complete."""
    status: ConditionStatus
    """True, False or Unknown."""
    observed_generation: Tally = 0
    """Generation of the spec that the statement is about."""
    last_transition_time: AwareDatetime
    """When `status` last changed."""
    reason: Reason
    """Why, in one CamelCase word. Each has a cause and a remedy in the documentation."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Why, in a sentence for people."""


class Progress(StatusDocument):
    """How far the training is."""

    round: Tally = 0
    """Round under way or last done, counted from 1."""
    rounds: Tally = 0
    """Rounds to train."""
    step: Tally = 0
    """Steps done."""
    steps: Tally = 0
    """Steps of the whole training, where known; else 0."""
    percent: Annotated[Count, Field(ge=0, le=100)] = 0
    """Share of the steps that is done."""
    eta_seconds: Tally | None = None
    """Time left at the present pace, rounded so that it does not change without end; absent where unknown."""
    active_party: Annotated[str, Field(max_length=40)] = ""
    """The client that has the turn."""
    turn: Tally = 0
    """Number of the turn under way, counted from 1 over all rounds."""
    last_update_time: AwareDatetime | None = None
    """When a party last reported progress."""


class PartyStatus(StatusDocument):
    """One party as last heard of."""

    name: PartyName
    """Name of the party."""
    role: Role
    """Client or Server."""
    namespace: Namespace | None = None
    """Namespace of its pod."""
    ready: bool = False
    """Whether it is connected and ready to train."""
    pod: Annotated[str, Field(max_length=253)] = ""
    """Name of its pod."""
    node: Annotated[str, Field(max_length=253)] = ""
    """Node that its pod runs on."""
    gpus: Tally = 0
    """GPUs that it holds."""
    restarts: Tally = 0
    """How often it was started again."""
    round: Tally = 0
    """Round that it is in, counted from 1."""
    step: Tally = 0
    """Steps done."""
    samples: Tally = 0
    """Rows that it trained on, repeats counted."""
    bytes_sent: Tally = 0
    """Bytes sent to all peers."""
    bytes_received: Tally = 0
    """Bytes received from all peers."""
    device: Annotated[str, Field(max_length=63)] = ""
    """Where its tensors live, such as `cuda:0 NVIDIA H100`."""
    certificate_expiration_time: AwareDatetime | None = None
    """When its certificate ends, unless it is renewed before."""
    reason: Annotated[str, Field(max_length=63)] = ""
    """Why it is not ready, or why it failed, in one word."""
    message: Message = ""
    """The same in a sentence for people."""


class CheckpointStatus(StatusDocument):
    """A matched checkpoint: the state of all parties at one step."""

    step: Tally
    """Step after which it was taken."""
    round: Tally
    """Round of that step."""
    digests: Annotated[dict[Annotated[str, Field(max_length=40)], Digest], Field(max_length=65)]
    """Digest of each party's own part, by party name."""


class SplitTrainingStatus(StatusDocument):
    """What is observed. Written by the operator."""

    observed_generation: Tally = 0
    """Generation of the spec that this status is about."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), ListMap("type")] = ()
    """Statements about the training. Wait for Complete or Failed; the reason of Progressing is the state."""
    parties_summary: Summary = ""
    """Parties ready and needed, such as 2/3."""
    rounds_summary: Summary = ""
    """Round and rounds, such as 12/50."""
    progress_summary: Summary = ""
    """Share done, such as 24%."""
    eta_summary: Summary = ""
    """Time left, such as 1h20m."""
    reason: Annotated[str, Field(max_length=63)] = ""
    """Why the training waits or failed: the reason of the condition that says so; empty while all goes well."""
    progress: Progress | None = None
    """How far the training is; absent before the first step."""
    metrics: Annotated[tuple[Metric, ...], Field(max_length=96), ListMap("name")] = ()
    """Latest numbers, as text."""
    parties: Annotated[tuple[PartyStatus, ...], Field(max_length=65), ListMap("name")] = ()
    """Every party as last heard of: the server, then the clients in the order of their turns."""
    checkpoints: Annotated[tuple[CheckpointStatus, ...], Field(max_length=10, json_schema_extra=ATOMIC)] = ()
    """The newest matched checkpoints, oldest first."""
    contract_digest: Digest | None = None
    """Digest of what the parties agree on, as approvals name it."""
    start_time: AwareDatetime | None = None
    """When all parties were first ready."""
    completion_time: AwareDatetime | None = None
    """When the training completed or failed."""
    attempt: Tally = 0
    """How often the parties were started together, counted from 1."""
    next_attempt_time: AwareDatetime | None = None
    """When the parties are started together again, after a try that failed; absent while one is under way."""
