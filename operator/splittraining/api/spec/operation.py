"""How a training is kept going and safe: none of it is part of the contract."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field

from splittraining.api.base import Document
from splittraining.api.spec.types import Count, ObjectName, Quantity

DAY_S = 86400


class ReclaimPolicy(enum.StrEnum):
    """What happens to weights and checkpoints when the training is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class OnClientLoss(enum.StrEnum):
    """What a lost client means for the others."""

    WAIT = "Wait"
    SKIP = "Skip"
    FAIL = "Fail"


class Isolation(enum.StrEnum):
    """Which connections a party's pod may have."""

    DENY_ALL = "DenyAll"
    NONE = "None"


class Enforcement(enum.StrEnum):
    """What to do where network policies are not enforced."""

    PREFERRED = "Preferred"
    REQUIRED = "Required"


class CheckpointVolume(Document):
    """A volume per party that the operator claims."""

    storage: Quantity
    """Size of each party's volume, such as 1Gi."""
    storage_class_name: ObjectName | None = None
    """StorageClass; absent means the cluster's default."""
    reclaim_policy: ReclaimPolicy = ReclaimPolicy.RETAIN
    """Whether weights and checkpoints outlive the training."""


class CheckpointSpec(Document):
    """When matched checkpoints are taken, and where they are kept."""

    every_rounds: Annotated[Count, Field(ge=1, le=1000000)] = 1
    """Takes one after every so many rounds."""
    period_seconds: Annotated[Count, Field(ge=10, le=30 * DAY_S)] = 300
    """Takes one at the next step boundary when the last is this old."""
    keep_sets: Annotated[Count, Field(ge=2, le=10)] = 3
    """How many matched sets every party keeps; at least two, so that a torn one never is the only one."""
    volume: CheckpointVolume | None = None
    """The volume of each party, which also holds its results and log; absent means 1Gi of the default class."""


class StartupSpec(Document):
    """How long to wait for all parties."""

    ready_timeout_seconds: Annotated[Count, Field(ge=1, le=DAY_S)] = 600
    """How long all parties have to come, after which everything is released again."""
    retry_period_seconds: Annotated[Count, Field(ge=1, le=DAY_S)] = 120
    """How long to wait before the next try."""


class FaultToleranceSpec(Document):
    """What to do when a party is lost or hangs."""

    on_client_loss: OnClientLoss = OnClientLoss.WAIT
    """What to do when a client stays away longer than reconnectTimeoutSeconds. Wait for it, Skip its turns, or Fail."""
    reconnect_timeout_seconds: Annotated[Count, Field(ge=1, le=DAY_S)] = 120
    """How long a party may be away."""
    stall_timeout_seconds: Annotated[Count, Field(ge=1, le=DAY_S)] = 600
    """How long a connected party may make no progress."""
    max_restarts_per_party: Annotated[Count, Field(ge=0, le=1000)] = 6
    """How often a party is started again before the training fails."""


class NetworkSpec(Document):
    """Which connections the parties' pods may have."""

    isolation: Isolation = Isolation.DENY_ALL
    """DenyAll: name resolution, the peers' port and the intake, nothing else. None: no policy is written."""
    enforcement: Enforcement = Enforcement.PREFERRED
    """Preferred: says so where the network does not enforce policies. Required: refuses to start there."""


class TlsSpec(Document):
    """Certificates of the parties."""

    leaf_duration_seconds: Annotated[Count, Field(ge=600, le=30 * DAY_S)] = DAY_S
    """How long a party's certificate is valid; it is renewed at half of it."""
