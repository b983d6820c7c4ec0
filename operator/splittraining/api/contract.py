"""The contract: the digest-bound part of a training that every party agrees to before the first frame.

In it is what an institution consents to and what the result depends on. Rounds, deadlines, resources, pull settings,
claims and paths are not: they may change, or are nobody else's business.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import Field

from splittraining.api.base import Document, compute_digest
from splittraining.api.spec.data import DataInput, DataLabel, TransformSpec
from splittraining.api.spec.model import CutPoint, LabelSpec, ModelSpec
from splittraining.api.spec.schedule import ScheduleSpec
from splittraining.api.spec.split_training import Topology
from splittraining.api.spec.task import TaskSpec
from splittraining.api.spec.training import LossSpec, TrainingSpec
from splittraining.api.spec.types import Namespace, PartyName
from splittraining.api.spec.update import ParameterPattern

CONTRACT_VERSION = 1


class Role(enum.StrEnum):
    """What a party is in the protocol."""

    CLIENT = "Client"
    SERVER = "Server"


class Cargo(enum.StrEnum):
    """What travels on a link."""

    ACTIVATIONS = "Activations"
    GRADIENTS = "Gradients"
    LABELS = "Labels"
    HAND_OFF = "HandOff"  # sealed to the receiver, whoever relays it
    CLIENT_GRADIENTS = "ClientGradients"  # of client segments, and their sum; sealed to the receiver, whoever relays it
    CLIENT_WEIGHTS = "ClientWeights"  # client segments, and their average; sealed likewise
    CLIENT_SECRET = "ClientSecret"  # noqa: S105 - a kind, not a secret; sealed to the receiver, whoever relays it
    ROW_IDS_KEY = "RowIdsKey"  # sealed to a server that holds labels; derived from the clients' secret, which it lacks


class ContractWarmStart(Document):
    """Which weights a party starts from. Where the file lies is nobody else's business."""

    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    """Of the file's bytes."""
    parameters: Annotated[tuple[ParameterPattern, ...], Field(max_length=64)] = ()
    """What is taken from it; empty means all that the party owns."""


class ContractParty(Document):
    """One party as all others know it."""

    name: PartyName
    """Party name."""
    role: Role
    """Client or Server."""
    namespace: Namespace
    """Where the party runs."""
    image: Annotated[str, Field(max_length=512)] = ""
    """Image the party runs; empty in a local run that names none."""
    cut_points: Annotated[tuple[CutPoint, ...], Field(max_length=16)] = ()
    """Where this party's own branch ends."""
    inputs: Annotated[tuple[DataInput, ...], Field(max_length=16)] = ()
    """Which of its columns make which argument of forward."""
    label: DataLabel | None = None
    """Which of its columns make the label, at a party that holds it."""
    id_column: Annotated[str, Field(max_length=253)] = ""
    """Column that identifies a row, in a Joint schedule."""
    warm_start: ContractWarmStart | None = None
    """Weights that its layers start from, where they come from a file."""
    classes: Annotated[tuple[str, ...], Field(max_length=1024)] = ()
    """Class folders of its images in the order of their labels: what the numbers of its labels mean."""
    transform: TransformSpec | None = None
    """Its function that changes training rows; the code is in the model's source."""

    @property
    def holds_data(self) -> bool:
        """Whether the party has rows of its own."""
        return bool(self.inputs) or self.label is not None


class ContractLink(Document):
    """One direction between two parties, whoever relays it."""

    sender: PartyName
    """Who sends."""
    receiver: PartyName
    """Who can read it."""
    cargo: Annotated[tuple[Cargo, ...], Field(min_length=1, max_length=8)]
    """What travels."""


class Contract(Document):
    """What all parties agree on."""

    contract_version: Annotated[int, Field(ge=1)] = CONTRACT_VERSION
    """Version of this document's meaning."""
    topology: Topology
    """Who runs which part of the model."""
    model: ModelSpec
    """The model; where its source came from is left out, since the digest says what it is."""
    source_digest: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")] = ""
    """Digest of the model's source files; empty when the image has them installed."""
    training: TrainingSpec
    """How the model is trained."""
    schedule: ScheduleSpec
    """Who takes part in a step, and in which order."""
    tasks: Annotated[tuple[TaskSpec, ...], Field(max_length=16)] = ()
    """Outputs with losses of their own."""
    parties: Annotated[tuple[ContractParty, ...], Field(min_length=2, max_length=65)]
    """The server, then the clients in the order of their turns."""
    links: Annotated[tuple[ContractLink, ...], Field(max_length=8192)] = ()
    """Every link with what travels on it."""

    def as_agreed(self) -> dict[str, Any]:
        """Returns the JSON object that the digest binds: unset defaults left out, the version always there."""
        return {"contractVersion": self.contract_version, **self.as_json_object()}

    def compute_digest(self) -> str:
        """Returns the digest that every party shows in its first frame and that an approval names."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        # A contract never changes, and one look at a training asks for its digest again for every party.
        return compute_digest(self.as_agreed())

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Returns a copy with some fields replaced, which has a digest of its own."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("_digest", None)
        return copied

    def get_party(self, name: str) -> ContractParty:
        """Returns a party by name.

        Raises:
            KeyError: if no party has the name.
        """
        for party in self.parties:
            if party.name == name:
                return party
        raise KeyError(name)

    def get_task(self, party: str) -> TaskSpec | None:
        """Returns the task whose labels a party holds; None where the topology has no tasks, or the party none."""
        return next((task for task in self.tasks if task.party == party), None)

    def get_label(self, party: str) -> LabelSpec | None:
        """Returns what the labels of a party look like; None where nothing says so."""
        task = self.get_task(party)
        return self.model.label if task is None else task.label

    def get_loss(self, party: str) -> LossSpec | None:
        """Returns the loss that a party computes, if it computes one; with tasks only their parties do."""
        task = self.get_task(party)
        if task is not None:
            return task.loss
        return None if self.tasks else self.training.loss

    @property
    def clients(self) -> tuple[ContractParty, ...]:
        """The clients, in the order of their turns."""
        return tuple(party for party in self.parties if party.role is Role.CLIENT)


def compute_source_digest(files: Mapping[str, bytes]) -> str:
    """Returns the digest of source files: of their sorted names, each with the digest of its bytes."""
    return compute_digest({name: hashlib.sha256(content).hexdigest() for name, content in files.items()})
