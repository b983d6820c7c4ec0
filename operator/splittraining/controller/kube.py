"""The API server as this room needs it: single looks, lists into the state, writes with their refusals named."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol

from splittraining.api.names import APPLIED_DIGEST_ANNOTATION, FIELD_MANAGER, TRAINING_UID_LABEL
from splittraining.api.resource import API_VERSION, KIND
from splittraining.controller.execute import Outdated, WriteRefused
from splittraining.controller.kinds import ALL_KINDS, CONFIG_MAP, EVENT, JOB, PARTICIPATION, POD, SECRET, TRAINING, Kind
from splittraining.controller.metrics import Metrics
from splittraining.controller.observe import ApiObject, is_controlled_by
from splittraining.controller.state import State
from splittraining.plan.decision import Manifest, Reference, TrainingEvent

PAGE = 500
_APPLY = "application/apply-patch+yaml"
_QUERY = (("fieldManager", FIELD_MANAGER), ("force", "true"))


class ApiFailed(Exception):
    """The API server could not be asked, or gave an answer that was not foreseen."""


class Api(Protocol):
    """Raw calls, each with a deadline."""

    async def call(
        self, method: str, path: str, *, body: object = None, query: Sequence[tuple[str, str]] = (), ctype: str = ...
    ) -> tuple[int, Any]:
        """Returns status and document; raises only where no answer came."""
        ...


class Cluster:
    """Looks and writes.

    Args:
        api: Raw calls.
        state: Takes what lists and writes return.
        metrics: Counts writes.
        clock: Returns the moment, with time zone.
        instance: Names this replica in events.
    """

    def __init__(
        self, api: Api, state: State, *, metrics: Metrics, clock: Callable[[], datetime], instance: str
    ) -> None:
        self._api = api
        self._state = state
        self._metrics = metrics
        self._clock = clock
        self._instance = instance

    # --- looks --------------------------------------------------------------------------------------------------------

    async def get(self, kind: Kind, namespace: str, name: str) -> ApiObject | None:
        """Returns an object as it is now, or None."""
        path = kind.build_path(namespace, name)
        status, document = await self._api.call("GET", path)
        if status == HTTPStatus.NOT_FOUND:
            return None
        return dict(_expect(status, document, path))

    async def get_document(self, path: str) -> Mapping[str, Any]:
        """Returns what stands at a path that is no object's."""
        return _expect(*await self._api.call("GET", path), path)

    async def get_pod(self, namespace: str, name: str) -> ApiObject | None:
        """Returns a pod."""
        return await self.get(POD, namespace, name)

    async def get_job(self, namespace: str, name: str) -> ApiObject | None:
        """Returns a Job."""
        return await self.get(JOB, namespace, name)

    async def get_participation(self, namespace: str, name: str) -> ApiObject | None:
        """Returns a SplitParticipation."""
        return await self.get(PARTICIPATION, namespace, name)

    async def get_training(self, namespace: str, name: str) -> ApiObject | None:
        """Returns a SplitTraining."""
        return await self.get(TRAINING, namespace, name)

    async def get_config_map(self, namespace: str, name: str) -> ApiObject | None:
        """Returns a ConfigMap; None also where it may not be read, which the first write then tells better."""
        status, document = await self._api.call("GET", path := CONFIG_MAP.build_path(namespace, name))
        if status in {HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN}:
            return None
        return dict(_expect(status, document, path))

    async def list_events_of(self, obj: ApiObject) -> Sequence[ApiObject]:
        """Returns the events about an object; none where they may not be read."""
        metadata = obj["metadata"]
        path = EVENT.build_path(metadata["namespace"])
        query = [("fieldSelector", f"involvedObject.uid={metadata['uid']},reason=FailedCreate"), ("limit", "20")]
        status, document = await self._api.call("GET", path, query=query)
        return () if status == HTTPStatus.FORBIDDEN else tuple(_expect(status, document, path)["items"])

    async def list_into_state(self, kind: Kind, namespaces: Sequence[str] = ()) -> int:
        """Lists a kind page by page into the state; returns how many changes that showed."""
        objects: list[Mapping[str, Any]] = []
        at_version = ""
        for namespace in namespaces or ("",):
            path, following = kind.build_path(namespace), ""
            while True:
                query = [("limit", str(PAGE))]
                query += [("labelSelector", kind.selector)] if kind.selector else []
                query += [("continue", following)] if following else []
                status, document = await self._api.call("GET", path, query=query)
                page = _expect(status, document, path)
                objects += page["items"]
                at_version = at_version or page["metadata"]["resourceVersion"]
                following = page["metadata"].get("continue", "")
                if not following:
                    break
        return self._state.take_list(kind, objects, at_version=at_version)

    # --- writes -------------------------------------------------------------------------------------------------------

    async def apply(self, manifest: Manifest, *, owner_uids: Collection[str], existing: ApiObject | None) -> ApiObject:
        """Applies a manifest and returns the object.

        Server-side apply takes over whatever has the name, and without a word. So what is there is looked at first,
        and named by its uid when it is ours: the API server then refuses any other object.

        Raises:
            WriteRefused: if the name is taken, or the object may not be written.
        """
        kind, metadata = ALL_KINDS[manifest["kind"]], manifest["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        if existing is None:
            existing = await self.get_if_allowed(kind, namespace, name)
            if existing is not None:
                _check_ours(existing, manifest, owner_uids)
                if _has_digest_of(existing, manifest):
                    self._take(kind, existing)
                    return existing
        if existing is not None:
            manifest = {**manifest, "metadata": {**metadata, "uid": existing["metadata"]["uid"]}}
        path = kind.build_path(namespace, name)
        status, document = await self._api.call("PATCH", path, body=manifest, query=_QUERY, ctype=_APPLY)
        self._metrics.writes.labels(kind=kind.name, verb="apply").inc()
        _refuse_named(status, document, kind, namespace, name)
        applied = dict(_expect(status, document, path))
        self._take(kind, applied)
        return applied

    async def apply_own_if_changed(self, manifest: Manifest) -> None:
        """Applies an object of the operator's own namespace, unless it is so already."""
        kind, metadata = ALL_KINDS[manifest["kind"]], manifest["metadata"]
        existing = await self.get(kind, metadata["namespace"], metadata["name"])
        if existing is not None and is_subset(manifest, existing):
            return
        path = kind.build_path(metadata["namespace"], metadata["name"])
        status, document = await self._api.call("PATCH", path, body=manifest, query=_QUERY, ctype=_APPLY)
        self._metrics.writes.labels(kind=kind.name, verb="apply").inc()
        _expect(status, document, path)

    async def get_if_allowed(self, kind: Kind, namespace: str, name: str) -> ApiObject | None:
        """Returns an object as it is now, or None.

        Raises:
            WriteRefused: if this namespace has not let the operator in.
        """
        status, document = await self._api.call("GET", path := kind.build_path(namespace, name))
        if status == HTTPStatus.NOT_FOUND:
            return None
        _refuse_named(status, document, kind, namespace, name)
        return dict(_expect(status, document, path))

    async def delete(self, reference: Reference) -> None:
        """Deletes exactly one object; that it is gone already, or another one, is no error."""
        kind = ALL_KINDS[reference.kind]
        body = {"preconditions": {"uid": reference.uid}, "propagationPolicy": "Background"}
        path = kind.build_path(reference.namespace, reference.name)
        status, document = await self._api.call("DELETE", path, body=body)
        self._metrics.writes.labels(kind=kind.name, verb="delete").inc()
        if status not in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
            _expect(status, document, path)

    async def write_status(self, training: ApiObject, status: Mapping[str, Any]) -> None:
        """Replaces the status of a training.

        Raises:
            Outdated: if the training is not as it was seen.
        """
        metadata = training["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        seen = {"namespace": namespace, "name": name, "resourceVersion": metadata["resourceVersion"]}
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": seen, "status": dict(status)}
        path = TRAINING.build_path(namespace, name, "status")
        code, document = await self._api.call("PATCH", path, body=body, query=_QUERY, ctype=_APPLY)
        self._metrics.writes.labels(kind=KIND, verb="status").inc()
        if code in {HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND}:
            raise Outdated
        self._take(TRAINING, _expect(code, document, path))

    async def record(self, training: ApiObject, event: TrainingEvent) -> None:
        """Adds an event to a training; one that is told twice within a second is the same one."""
        metadata, now = training["metadata"], self._clock()
        moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        identity = f"{metadata['uid']}/{event.reason}/{event.note}/{moment}"
        digest = hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name']}.{digest}", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "type": event.kind.value,
            "reason": event.reason,
            "message": event.note[:1024],
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "reportingInstance": self._instance,
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }
        path = EVENT.build_path(metadata["namespace"])
        await self._api.call("POST", path, body=body)  # an event that is refused changes nothing: the status says it
        self._metrics.writes.labels(kind="Event", verb="create").inc()

    def _take(self, kind: Kind, obj: Mapping[str, Any]) -> None:
        if kind is not CONFIG_MAP:
            self._state.take_object(kind, obj)


class SecretVault:
    """The Secret in which the CA is kept."""

    def __init__(self, api: Api, *, namespace: str, name: str) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name

    async def read(self) -> Mapping[str, bytes] | None:
        """Returns what is kept, or None where nothing is."""
        path = SECRET.build_path(self._namespace, self._name)
        status, document = await self._api.call("GET", path)
        if status == HTTPStatus.NOT_FOUND:
            return None
        data = _expect(status, document, path).get("data") or {}
        return {name: base64.b64decode(text) for name, text in data.items()}

    async def create(self, data: Mapping[str, bytes]) -> bool:
        """Keeps something where nothing is kept yet; False where something was there already."""
        encoded = {name: base64.b64encode(value).decode("ascii") for name, value in data.items()}
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "type": "Opaque",
            "data": encoded,
        }
        path = SECRET.build_path(self._namespace)
        status, document = await self._api.call("POST", path, body=body)
        if status == HTTPStatus.CONFLICT:
            return False
        _expect(status, document, path)
        return True


def is_subset(wanted: object, found: object) -> bool:
    """Says whether everything that is wanted is found, whatever else there is."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(is_subset(value, found.get(name)) for name, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(wanted) == len(found) and all(map(is_subset, wanted, found))
    return wanted == found


def _expect(status: int, document: Any, path: str) -> Mapping[str, Any]:
    if status not in {HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED}:
        message = document.get("message", "") if isinstance(document, dict) else ""
        raise ApiFailed(f"{path}: status {status}: {message}")
    assert isinstance(document, Mapping)
    return document


def _check_ours(existing: ApiObject, manifest: Manifest, owner_uids: Collection[str]) -> None:
    metadata = existing["metadata"]
    wanted = manifest["metadata"]["labels"].get(TRAINING_UID_LABEL)
    is_labelled = (metadata.get("labels") or {}).get(TRAINING_UID_LABEL) == wanted
    owned = is_controlled_by(existing, owner_uids) if metadata.get("ownerReferences") else is_labelled
    if not owned:
        raise WriteRefused(
            "NameTaken",
            f"{manifest['kind']} {metadata['name']!r} in namespace {metadata['namespace']!r} is somebody else's;"
            " delete or rename it, or create the training under another name",
        )


def _has_digest_of(existing: ApiObject, manifest: Manifest) -> bool:
    known = (existing["metadata"].get("annotations") or {}).get(APPLIED_DIGEST_ANNOTATION)
    return bool(known == manifest["metadata"]["annotations"][APPLIED_DIGEST_ANNOTATION])


def _refuse_named(status: int, document: Any, kind: Kind, namespace: str, name: str) -> None:
    """Raises what people can do something about; everything else is the caller's."""
    if status != HTTPStatus.FORBIDDEN:
        return
    message = str(document.get("message", "")) if isinstance(document, dict) else ""
    if "because it is being terminated" in message:
        raise WriteRefused("NamespaceTerminating", f"namespace {namespace!r} is being deleted")
    if "exceeded quota" in message or "failed quota" in message:
        raise WriteRefused("Quota", f"{kind.name} {name!r}: {message}")
    raise WriteRefused(
        "NotInvited",
        f"namespace {namespace!r} does not let the operator in: {message}; bind the operator's namespace role there",
    )
