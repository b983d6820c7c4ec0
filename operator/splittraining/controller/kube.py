"""The API server as this room needs it: single looks, lists into the state, writes with their refusals named."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from splittraining.api.names import APPLIED_DIGEST_ANNOTATION, TRAINING_UID_LABEL
from splittraining.cluster.client import JSON, ApiObject, Client
from splittraining.cluster.errors import (
    AdmissionRefused,
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NamespaceTerminating,
    NotFound,
    QuotaExceeded,
    TypedPatchFailed,
)
from splittraining.cluster.events import build_event, record_event
from splittraining.cluster.resources import (
    BY_KIND,
    CONFIG_MAP,
    CORE_EVENT,
    JOB,
    POD,
    SECRET,
    SPLIT_PARTICIPATION,
    SPLIT_TRAINING,
    Resource,
)
from splittraining.cluster.writes import NameTaken, apply, apply_own, apply_status, delete_exactly, find_own
from splittraining.controller.execute import Outdated, WriteRefused
from splittraining.controller.metrics import Metrics
from splittraining.controller.observe import is_own
from splittraining.controller.state import State
from splittraining.controller.watched import WATCHED_KINDS, get_selector
from splittraining.plan.decision import Manifest, Reference, TrainingEvent


class Cluster:
    """Looks and writes.

    Args:
        client: Calls the API server.
        state: Takes what lists and writes return.
        metrics: Counts writes.
        clock: Returns the moment, with time zone.
        instance: Names this replica in events.
    """

    def __init__(
        self, client: Client, state: State, *, metrics: Metrics, clock: Callable[[], datetime], instance: str
    ) -> None:
        self._client = client
        self._state = state
        self._metrics = metrics
        self._clock = clock
        self._instance = instance

    # --- looks --------------------------------------------------------------------------------------------------------

    async def get(self, resource: Resource, namespace: str, name: str) -> ApiObject | None:
        """Returns an object as it is now, or None."""
        try:
            return await self._client.get(resource, namespace, name)
        except NotFound:
            return None

    async def get_document(self, path: str, *, accept: str = JSON) -> ApiObject:
        """Returns what stands at a path that is no object's."""
        return await self._client.call("GET", path, accept=accept)

    async def get_pod(self, namespace: str, name: str) -> ApiObject | None:
        """Returns a pod."""
        return await self.get(POD, namespace, name)

    async def get_job(self, namespace: str, name: str) -> ApiObject | None:
        """Returns a Job."""
        return await self.get(JOB, namespace, name)

    async def get_participation(self, namespace: str, name: str) -> ApiObject | None:
        """Returns a SplitParticipation."""
        return await self.get(SPLIT_PARTICIPATION, namespace, name)

    async def get_training(self, namespace: str, name: str) -> ApiObject | None:
        """Returns a SplitTraining."""
        return await self.get(SPLIT_TRAINING, namespace, name)

    async def get_config_map(self, namespace: str, name: str) -> ApiObject | None:
        """Returns a ConfigMap.

        Raises:
            WriteRefused: if this namespace does not let the operator read it.
        """
        try:
            return await self.get(CONFIG_MAP, namespace, name)
        except Forbidden as error:
            raise _name_refusal(error, namespace) from error

    async def list_events_of(self, obj: ApiObject) -> Sequence[ApiObject]:
        """Returns the events about an object; none where they may not be read."""
        metadata = obj["metadata"]
        about = f"involvedObject.uid={metadata['uid']},reason=FailedCreate"
        try:
            events, _ = await self._client.list_all(CORE_EVENT, namespace=metadata["namespace"], fields=about)
        except Forbidden:
            return ()
        return events

    async def list_into_state(self, resource: Resource, namespaces: Sequence[str] = ()) -> int:
        """Lists a kind page by page into the state; returns how many changes that showed."""
        objects: list[ApiObject] = []
        version = ""
        for namespace in namespaces or ("",):
            listed, at = await self._client.list_all(resource, namespace=namespace, labels=get_selector(resource))
            objects += listed
            version = version or at  # the first one: what was made since, it cannot know
        return self._state.take_list(resource, objects, version=version)

    # --- writes -------------------------------------------------------------------------------------------------------

    async def apply(self, manifest: Manifest, *, owner_uids: Collection[str], existing: ApiObject | None) -> ApiObject:
        """Applies a manifest unless it is so already, and returns the object.

        Raises:
            WriteRefused: if the name is taken, or the object may not be written.
        """
        resource, metadata = BY_KIND[manifest["kind"]], manifest["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]

        def is_ours(found: ApiObject) -> bool:
            return is_own(found, owner_uids, training_uid=metadata["labels"][TRAINING_UID_LABEL])

        try:
            if existing is None:
                existing = await find_own(self._client, resource, namespace, name, is_ours=is_ours)
                if existing is not None and _has_digest_of(existing, manifest):
                    self._take(resource, existing)
                    return existing
            self._metrics.writes.labels(kind=resource.kind, verb="apply").inc()
            applied = await apply_own(self._client, manifest, existing=existing)
        except Conflict as error:
            await self._look_again(resource, namespace, name)
            raise Outdated from error
        except (Forbidden, Invalid, NameTaken, TypedPatchFailed) as error:
            raise _name_refusal(error, namespace, what=f"{resource.kind} {name}") from error
        self._take(resource, applied)
        return applied

    async def apply_in_own_namespace(self, manifest: Manifest) -> None:
        """Applies an object of the operator's own, unless it is so already."""
        resource, metadata = BY_KIND[manifest["kind"]], manifest["metadata"]
        existing = await self.get(resource, metadata["namespace"], metadata["name"])
        if existing is not None and is_subset(manifest, existing):
            return
        self._metrics.writes.labels(kind=resource.kind, verb="apply").inc()
        await apply(self._client, resource.get_path(metadata["namespace"], metadata["name"]), manifest)

    async def delete(self, reference: Reference) -> None:
        """Deletes exactly one object; that it is gone already, or another one, is no error.

        Raises:
            WriteRefused: if it may not be deleted.
        """
        resource = BY_KIND[reference.kind]
        self._metrics.writes.labels(kind=resource.kind, verb="delete").inc()
        try:
            await delete_exactly(self._client, resource, reference.namespace, reference.name, reference.uid)
        except Forbidden as error:
            raise _name_refusal(error, reference.namespace) from error

    async def write_status(self, seen: ApiObject, status: Mapping[str, Any]) -> None:
        """Replaces the status of a training or a participation.

        Raises:
            Outdated: if the object is not as it was seen.
            WriteRefused: if it may not be written.
        """
        resource, metadata = BY_KIND[seen["kind"]], seen["metadata"]
        self._metrics.writes.labels(kind=resource.kind, verb="status").inc()
        try:
            written = await apply_status(self._client, resource, seen, status)
        except (Conflict, NotFound) as error:
            await self._look_again(resource, metadata["namespace"], metadata["name"])
            raise Outdated from error
        except Forbidden as error:
            raise _name_refusal(error, metadata["namespace"]) from error
        self._state.take_object(resource, written)

    async def record(self, training: ApiObject, event: TrainingEvent) -> None:
        """Adds an event to a training; where that may not be done, the status says the same."""
        now = self._clock()
        built = build_event(
            training,
            kind=event.kind.value,
            reason=event.reason,
            note=event.note,
            occasion=training["metadata"]["resourceVersion"],
            instance=self._instance,
            now=now,
        )
        self._metrics.writes.labels(kind="Event", verb="create").inc()
        try:
            await record_event(self._client, built)
        except Forbidden:
            return

    async def _look_again(self, resource: Resource, namespace: str, name: str) -> None:
        """Looks at what is not as it was seen: its watch may be late, or away."""
        with contextlib.suppress(Forbidden):
            found = await self.get(resource, namespace, name)
            if found is not None:
                self._take(resource, found)

    def _take(self, resource: Resource, obj: ApiObject) -> None:
        if resource.kind in WATCHED_KINDS:
            self._state.take_object(resource, obj)


class SecretVault:
    """The Secret in which the CA is kept.

    Args:
        client: Calls the API server.
        namespace: Namespace of the Secret.
        name: Its name.
    """

    def __init__(self, client: Client, *, namespace: str, name: str) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name

    async def read(self) -> Mapping[str, bytes] | None:
        """Returns what is kept, or None where nothing is."""
        try:
            secret = await self._client.get(SECRET, self._namespace, self._name)
        except NotFound:
            return None
        return {name: base64.b64decode(text) for name, text in (secret.get("data") or {}).items()}

    async def create(self, data: Mapping[str, bytes]) -> bool:
        """Keeps something where nothing is kept yet; False where something was there already."""
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "type": "Opaque",
            "data": {name: base64.b64encode(value).decode("ascii") for name, value in data.items()},
        }
        try:
            await self._client.call("POST", SECRET.get_path(self._namespace), body=secret)
        except AlreadyExists:
            return False
        return True


def is_subset(wanted: object, found: object) -> bool:
    """Says whether everything that is wanted is found, whatever else there is."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(is_subset(value, found.get(name)) for name, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(wanted) == len(found) and all(map(is_subset, wanted, found))
    return wanted == found


def _has_digest_of(existing: ApiObject, manifest: Manifest) -> bool:
    known = (existing["metadata"].get("annotations") or {}).get(APPLIED_DIGEST_ANNOTATION)
    return bool(known == manifest["metadata"]["annotations"][APPLIED_DIGEST_ANNOTATION])


def _name_refusal(error: ApiError, namespace: str, *, what: str = "an object") -> WriteRefused:
    """Names what people can do something about."""
    if isinstance(error, Invalid | TypedPatchFailed):
        return WriteRefused("ObjectInvalid", f"the API server does not take {what} of {namespace!r}: {error.said}")
    if isinstance(error, NameTaken):
        return WriteRefused("NameTaken", error.said)
    if isinstance(error, NamespaceTerminating):
        return WriteRefused("NamespaceTerminating", f"namespace {namespace!r} is being deleted")
    if isinstance(error, QuotaExceeded):
        return WriteRefused("Quota", error.said)
    if isinstance(error, AdmissionRefused):
        return WriteRefused("PodRefused", f"an admission of namespace {namespace!r} refuses it: {error.said}")
    message = (
        f"namespace {namespace!r} does not let the operator in ({error.said}). To do: name the namespace in the chart's"
        " workNamespaces, or make the RoleBinding there that the chart's NOTES show"
    )
    return WriteRefused("NotInvited", message)
