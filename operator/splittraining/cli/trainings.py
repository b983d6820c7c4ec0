"""Finding the training that a command is about, and what of it can be asked for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from splittraining.api.conditions import ConditionStatus, ConditionType
from splittraining.api.status import Condition, SplitTrainingStatus
from splittraining.api.usage import ClusterFailed, UsageInvalid
from splittraining.cli.reach import Api
from splittraining.cluster.client import ApiObject
from splittraining.cluster.errors import Forbidden, NotFound
from splittraining.cluster.resources import SPLIT_TRAINING

SERVER = "server"
_MOST_NAMES = 10


@dataclass(frozen=True, slots=True)
class Training:
    """A training as the cluster has it."""

    document: ApiObject
    status: SplitTrainingStatus

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.document["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.document["metadata"]["namespace"])

    @property
    def uid(self) -> str:
        """Its uid: one that is made anew under the same name is another training."""
        return str(self.document["metadata"]["uid"])

    @property
    def spec(self) -> dict[str, Any]:
        """What its authors wrote."""
        return dict(self.document["spec"])

    @property
    def parties(self) -> tuple[str, ...]:
        """Its parties: the server, then the clients in order."""
        return (SERVER, *(str(client["name"]) for client in self.spec.get("clients") or ()))

    def find_condition(self, kind: ConditionType) -> Condition | None:
        """Returns a condition, where the status has it."""
        return next((condition for condition in self.status.conditions if condition.type == kind), None)

    def holds(self, kind: ConditionType) -> bool:
        """Tells whether a condition is True."""
        condition = self.find_condition(kind)
        return condition is not None and condition.status is ConditionStatus.TRUE

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.holds(ConditionType.COMPLETE) or self.holds(ConditionType.FAILED)


def parse_training(document: ApiObject) -> Training:
    """Reads a training that the API server returned.

    Raises:
        ClusterFailed: if its status is none that this version understands.
    """
    try:
        status = SplitTrainingStatus.model_validate(document.get("status") or {})
    except ValidationError as error:
        raise ClusterFailed(
            f"the status of {document['metadata'].get('name')} cannot be read: {error.errors()[0]['msg']}",
            remedy="use the version of this command that belongs to the operator; `-o yaml` prints it as it is",
        ) from error
    return Training(document, status)


async def fetch_training(api: Api, namespace: str, name: str) -> Training:
    """Returns a training.

    Raises:
        UsageInvalid: if there is none of that name; names that are near are listed.
        ClusterFailed: if the cluster does not know the kind.
    """
    return parse_training(await fetch_document(api, namespace, name))


async def fetch_document(api: Api, namespace: str, name: str) -> ApiObject:
    """Returns a training as the API server has it.

    Raises:
        UsageInvalid: if there is none of that name.
        ClusterFailed: if the cluster does not know the kind.
    """
    try:
        return await api.get(SPLIT_TRAINING, namespace, name)
    except NotFound as error:
        raise await _explain_missing(api, namespace, name) from error


def choose_parties(training: Training, party: str) -> tuple[str, ...]:
    """Returns the parties that are meant: the one that is named, or all.

    Raises:
        UsageInvalid: if the training has no such party.
    """
    if not party:
        return training.parties
    if party in training.parties:
        return (party,)
    near = difflib.get_close_matches(party, training.parties, n=1)
    raise UsageInvalid(
        f"{training.name} has no party {party}" + (f"; did you mean {near[0]}?" if near else ""),
        allowed=", ".join(training.parties),
        remedy="name one of them",
    )


async def _explain_missing(api: Api, namespace: str, name: str) -> UsageInvalid | ClusterFailed:
    try:
        there, _ = await api.list_all(SPLIT_TRAINING, namespace=namespace)
    except NotFound:
        return ClusterFailed(
            "this cluster does not know SplitTrainings",
            allowed="a cluster in which the operator is installed",
            remedy="install it (`helm install`), or choose another cluster with --context NAME",
        )
    except Forbidden:
        there = []
    names = sorted(str(item["metadata"]["name"]) for item in there)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return UsageInvalid(
        f"there is no SplitTraining {name} in namespace {namespace}{hint}",
        allowed=_render_names(names, namespace),
        remedy="choose one of them, or another namespace with -n; `kubectl get splittrainings -A` lists all",
    )


def _render_names(names: Sequence[str], namespace: str) -> str:
    if not names:
        return f"none: namespace {namespace} holds no SplitTraining that you may see"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
