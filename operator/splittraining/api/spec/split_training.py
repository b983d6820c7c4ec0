"""The whole spec of a SplitTraining."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field

from splittraining.api.base import Document
from splittraining.api.spec.client import ClientSpec
from splittraining.api.spec.model import ModelSpec
from splittraining.api.spec.operation import (
    DAY_S,
    CheckpointSpec,
    FaultToleranceSpec,
    NetworkSpec,
    StartupSpec,
    TlsSpec,
)
from splittraining.api.spec.schedule import ScheduleSpec
from splittraining.api.spec.server import ServerSpec
from splittraining.api.spec.task import TaskSpec
from splittraining.api.spec.training import TrainingSpec
from splittraining.api.spec.types import ATOMIC, Count, Image, ListMap, ObjectName


class Topology(enum.StrEnum):
    """Who runs which part of the model."""

    VANILLA = "Vanilla"
    U_SHAPED = "UShaped"
    VERTICAL = "Vertical"
    EXTENDED_VANILLA = "ExtendedVanilla"
    MULTI_HOP = "MultiHop"
    MULTI_TASK = "MultiTask"


class RunMode(enum.StrEnum):
    """What the parties do with the model."""

    TRAIN = "Train"
    PREDICT = "Predict"


class PullSecret(Document):
    """A Secret of type kubernetes.io/dockerconfigjson."""

    name: ObjectName
    """Name of the Secret."""


class SplitTrainingSpec(Document):
    """What is wanted.

    Immutable but for rounds (may grow until terminal), suspend, activeDeadlineSeconds and ttlSecondsAfterFinished.
    """

    topology: Topology
    """Who runs which part of the model. Vanilla: clients up to the cut, server from there, labels travel to the server.
    UShaped: labels and loss stay at the client. Vertical: clients hold different columns of the same rows.
    ExtendedVanilla: as Vertical, and another client works on the merged activations before the server. MultiHop: a
    chain of clients, each of which runs a part, before the server. MultiTask: branches at one or several clients, a
    trunk at the server, and a client per task with its head, labels and loss."""
    rounds: Annotated[Count, Field(ge=1, le=1000000)]
    """Rounds to train: in one round every client has had its turn, or all rows were seen once. May grow until terminal;
    not part of the contract."""
    image: Image | None = None
    """Image of all parties that do not name their own. A local run needs none."""
    image_pull_secrets: Annotated[tuple[PullSecret, ...], Field(max_length=8, json_schema_extra=ATOMIC)] = ()
    """Secrets in the parties' namespace that images are pulled with. Not part of the contract."""
    model: ModelSpec
    """The unsplit model, and where to cut it."""
    training: TrainingSpec
    """How the model is trained."""
    schedule: ScheduleSpec
    """Who takes part in a step, and in which order."""
    server: ServerSpec = ServerSpec()
    """The party that runs the middle or the top of the model, and drives the turns."""
    clients: Annotated[tuple[ClientSpec, ...], Field(min_length=1, max_length=64), ListMap("name")]
    """The institutions. Their order is the order of turns and of averaging. None can be added or moved later."""
    tasks: Annotated[tuple[TaskSpec, ...], Field(max_length=16, json_schema_extra=ATOMIC)] = ()
    """MultiTask only: the model's outputs, each with the client that holds its labels."""
    checkpoint: CheckpointSpec | None = None
    """When matched checkpoints are taken, and where they are kept; absent means none."""
    startup: StartupSpec = StartupSpec()
    """How long to wait for all parties."""
    fault_tolerance: FaultToleranceSpec = FaultToleranceSpec()
    """What to do when a party is lost or hangs."""
    network: NetworkSpec = NetworkSpec()
    """Which connections the parties' pods may have."""
    tls: TlsSpec = TlsSpec()
    """Certificates of the parties."""
    mode: RunMode = RunMode.TRAIN
    """What the parties do with the model."""
    suspend: Annotated[bool, Field(strict=True)] = False
    """True stops the training at a checkpoint and releases its pods; false lets it go on."""
    active_deadline_seconds: Annotated[Count, Field(ge=1, le=365 * DAY_S)] | None = None
    """Fails the training when it has run this long; absent means no limit."""
    ttl_seconds_after_finished: Annotated[Count, Field(ge=0, le=365 * DAY_S)] | None = None
    """Deletes the training this long after it completed or failed; absent means never. Weights stay."""
