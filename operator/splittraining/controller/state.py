"""What is known of the cluster, and whom news of it wakes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from splittraining.api.names import TRAINING_LABEL, TRAINING_UID_LABEL
from splittraining.cluster.client import ApiObject
from splittraining.cluster.resources import SPLIT_PARTICIPATION, SPLIT_TRAINING, Resource
from splittraining.cluster.store import Store
from splittraining.controller.watched import CUTS
from splittraining.controller.work_queue import Key


class State:
    """The store, with what happened told to whom it concerns. For one event loop.

    Args:
        wake: Puts a training's key on the queue.
        monotonic_s: Returns seconds that never go back.
    """

    def __init__(self, *, wake: Callable[[Key], None], monotonic_s: Callable[[], float]) -> None:
        self._wake = wake
        self._monotonic_s = monotonic_s
        self._store = Store(index_label=TRAINING_UID_LABEL, cuts=CUTS)
        self._trainings: dict[str, Key] = {}
        self._heard_s: dict[str, float] = {}

    # --- what happened ------------------------------------------------------------------------------------------------

    def take_object(self, resource: Resource, obj: Mapping[str, Any]) -> None:
        """Takes an object as it is now."""
        self._heard_s[resource.kind] = self._monotonic_s()
        named = _name_kind(resource, obj)
        if self._store.put(named):
            self._note(resource, named)

    def take_deletion(self, resource: Resource, obj: Mapping[str, Any]) -> None:
        """Takes an object as it was when it was deleted."""
        self._heard_s[resource.kind] = self._monotonic_s()
        named = _name_kind(resource, obj)
        if self._store.remove(named):
            self._note(resource, named)

    def take_list(self, resource: Resource, objects: Iterable[ApiObject], *, version: str) -> int:
        """Takes all objects of a kind as of one moment; returns how many changes that showed."""
        changed = self._store.replace(resource.kind, objects, version=version)
        self._heard_s[resource.kind] = self._monotonic_s()
        for obj in changed:
            self._note(resource, obj)
        return len(changed)

    def wake_all(self) -> None:
        """Wakes every training."""
        for key in list(self._trainings.values()):
            self._wake(key)

    # --- what is known ------------------------------------------------------------------------------------------------

    def find(self, kind: str, namespace: str, name: str) -> ApiObject | None:
        """Returns an object."""
        return self._store.find(kind, namespace, name)

    def find_training(self, key: Key) -> ApiObject | None:
        """Returns a training by its key."""
        return self.find(SPLIT_TRAINING.kind, key.namespace, key.name)

    def find_training_by_uid(self, uid: str) -> ApiObject | None:
        """Returns a training by its uid."""
        key = self._trainings.get(uid)
        return self.find_training(key) if key is not None else None

    def find_key(self, uid: str) -> Key | None:
        """Returns the key of a training by its uid."""
        return self._trainings.get(uid)

    def list_children(self, kind: str, training_uid: str) -> list[ApiObject]:
        """Returns the objects of a kind that carry a training's label."""
        return self._store.list_labeled(kind, training_uid)

    def list_participation_uids(self) -> list[str]:
        """Returns the uids of all participations."""
        return [obj["metadata"]["uid"] for obj in self._store.list_all(SPLIT_PARTICIPATION.kind)]

    def count(self) -> dict[str, int]:
        """Returns how many objects are known, by kind."""
        return self._store.count()

    def get_ages_s(self) -> dict[str, float]:
        """Returns the age of the last event or list, by kind."""
        now = self._monotonic_s()
        return {kind: now - heard_s for kind, heard_s in self._heard_s.items()}

    # ------------------------------------------------------------------------------------------------------------------

    def _note(self, resource: Resource, obj: ApiObject) -> None:
        """Keeps the index of trainings, and wakes the one that an object belongs to."""
        metadata = obj["metadata"]
        namespace, name, uid = metadata["namespace"], metadata["name"], metadata["uid"]
        if resource is SPLIT_TRAINING:
            key = Key(namespace, name)
            known = self.find_training(key)
            if known is not None and known["metadata"]["uid"] == uid:
                self._trainings[uid] = key
            else:
                self._trainings.pop(uid, None)
            self._wake(key)
            return
        training = (metadata.get("labels") or {}).get(TRAINING_LABEL)
        if training:
            self._wake(Key(namespace, training))


def _name_kind(resource: Resource, obj: Mapping[str, Any]) -> ApiObject:
    """Returns an object with its kind: items of a list come without one."""
    return {**obj, "apiVersion": resource.api_version, "kind": resource.kind}
