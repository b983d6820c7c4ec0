"""What is known of the cluster, and whom news of it wakes.

Objects are cut to what is read, replaced whole, and never older than what was there: a list, a watch and the answers to
our own writes all end up here, in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from splittraining.api.names import TRAINING_LABEL, TRAINING_UID_LABEL
from splittraining.controller.kinds import KINDS_BY_NAME, PARTICIPATION, POD, TRAINING, Kind
from splittraining.controller.observe import ApiObject
from splittraining.controller.work_queue import Key

_Place = tuple[str, str]


class State:
    """Objects by kind, with an index by training. For one event loop.

    Args:
        wake: Puts a training's key on the queue.
        monotonic_s: Returns seconds that never go back.
    """

    def __init__(self, *, wake: Callable[[Key], None], monotonic_s: Callable[[], float]) -> None:
        self._wake = wake
        self._monotonic_s = monotonic_s
        self._objects: dict[str, dict[_Place, ApiObject]] = {name: {} for name in KINDS_BY_NAME}
        self._children: dict[tuple[str, str], dict[_Place, ApiObject]] = {}
        self._trainings: dict[str, Key] = {}
        self._heard_s: dict[str, float] = {}

    # --- what happened ------------------------------------------------------------------------------------------------

    def take_object(self, kind: Kind, obj: Mapping[str, Any]) -> bool:
        """Takes an object as it is now; returns whether that was news."""
        self._heard_s[kind.name] = self._monotonic_s()
        place = _find_place(obj)
        before = self._objects[kind.name].get(place)
        if before is not None and _is_older(obj, before):
            return False
        self._put(kind, place, _cut(kind, obj))
        self._wake_for(kind, obj)
        return True

    def take_deletion(self, kind: Kind, obj: Mapping[str, Any]) -> None:
        """Takes an object as it was when it was deleted."""
        self._heard_s[kind.name] = self._monotonic_s()
        place = _find_place(obj)
        before = self._objects[kind.name].get(place)
        if before is not None and before["metadata"]["uid"] == obj["metadata"]["uid"]:
            self._drop(kind, place)
            self._wake_for(kind, obj)

    def take_list(self, kind: Kind, objects: Iterable[Mapping[str, Any]], *, at_version: str) -> int:
        """Takes all objects of a kind as of one moment; returns how many changes that showed.

        Args:
            kind: The kind.
            objects: All of them.
            at_version: The list's resource version: what is known to be newer was made while the list was on its way.
        """
        listed = {_find_place(obj): obj for obj in objects}
        num_changes = sum(self.take_object(kind, obj) for obj in listed.values())
        for place, known in list(self._objects[kind.name].items()):
            if place not in listed and not _is_newer_than(known, at_version):
                self._drop(kind, place)
                self._wake_for(kind, known)
                num_changes += 1
        self._heard_s[kind.name] = self._monotonic_s()
        return num_changes

    def wake_all(self) -> None:
        """Wakes every training."""
        for key in list(self._trainings.values()):
            self._wake(key)

    # --- what is known ------------------------------------------------------------------------------------------------

    def find(self, kind: str, namespace: str, name: str) -> ApiObject | None:
        """Returns an object."""
        return self._objects.get(kind, {}).get((namespace, name))

    def find_training(self, key: Key) -> ApiObject | None:
        """Returns a training by its key."""
        return self.find(TRAINING.name, key.namespace, key.name)

    def find_training_by_uid(self, uid: str) -> ApiObject | None:
        """Returns a training by its uid."""
        key = self._trainings.get(uid)
        return self.find_training(key) if key is not None else None

    def find_key(self, uid: str) -> Key | None:
        """Returns the key of a training by its uid."""
        return self._trainings.get(uid)

    def list_children(self, kind: str, training_uid: str) -> Sequence[ApiObject]:
        """Returns the objects of a kind that carry a training's label."""
        return tuple(self._children.get((kind, training_uid), {}).values())

    def list_participation_uids(self) -> list[str]:
        """Returns the uids of all participations."""
        return [obj["metadata"]["uid"] for obj in self._objects[PARTICIPATION.name].values()]

    def count(self) -> dict[str, int]:
        """Returns how many objects are known, by kind."""
        return {name: len(objects) for name, objects in self._objects.items()}

    def get_ages_s(self) -> dict[str, float]:
        """Returns the age of the last event or list, by kind."""
        now = self._monotonic_s()
        return {name: now - heard_s for name, heard_s in self._heard_s.items()}

    # ------------------------------------------------------------------------------------------------------------------

    def _put(self, kind: Kind, place: _Place, obj: ApiObject) -> None:
        self._drop(kind, place)
        self._objects[kind.name][place] = obj
        if kind is TRAINING:
            self._trainings[obj["metadata"]["uid"]] = Key(*place)
        else:
            self._children.setdefault((kind.name, _get_training_uid(obj)), {})[place] = obj

    def _drop(self, kind: Kind, place: _Place) -> None:
        obj = self._objects[kind.name].pop(place, None)
        if obj is None:
            return
        if kind is TRAINING:
            self._trainings.pop(obj["metadata"]["uid"], None)
            return
        index = kind.name, _get_training_uid(obj)
        siblings = self._children.get(index, {})
        siblings.pop(place, None)
        if not siblings:
            self._children.pop(index, None)

    def _wake_for(self, kind: Kind, obj: ApiObject) -> None:
        namespace, name = _find_place(obj)
        training = name if kind is TRAINING else (obj["metadata"].get("labels") or {}).get(TRAINING_LABEL)
        if training:
            self._wake(Key(namespace, training))


def _find_place(obj: Mapping[str, Any]) -> _Place:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _get_training_uid(obj: ApiObject) -> str:
    return str((obj["metadata"].get("labels") or {}).get(TRAINING_UID_LABEL, ""))


def _is_older(obj: Mapping[str, Any], known: ApiObject) -> bool:
    """Says whether an object is one that is known already, or an earlier state of it."""
    return int(obj["metadata"]["resourceVersion"]) <= int(known["metadata"]["resourceVersion"])


def _is_newer_than(known: ApiObject, version: str) -> bool:
    return int(known["metadata"]["resourceVersion"]) > int(version)


def _cut(kind: Kind, obj: Mapping[str, Any]) -> ApiObject:
    """Leaves out what nobody here reads: most of an object's size is who wrote which field when."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    kept = {name: obj[name] for name in ("immutable", *kind.kept) if name in obj}
    if "spec" in kept and kind.kept_of_spec:
        kept["spec"] = {name: kept["spec"][name] for name in kind.kept_of_spec if name in kept["spec"]}
    if kind is POD:
        containers = kept["spec"].get("containers") or ()
        kept["spec"]["containers"] = [{"resources": container.get("resources")} for container in containers]
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **kept}
