"""What was observed, by kind, namespace and name.

Events come from watches, which skip what was deleted while they were away, and reach this process in no order between
kinds. So everything is filled by lists before the first event, compared with a list now and then, and whatever is
older than what is known is passed over, the answers to this process's own writes included.

A resourceVersion was long called opaque. With etcd behind the API server it always was a growing whole number within
one kind, newer versions promise that, and nothing else tells which of two states is the older one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from splittraining.cluster.client import ApiObject

Name = tuple[str, str]
"""Namespace and name."""

Cut = Callable[[ApiObject], ApiObject]
"""Keeps of an object what is read of it."""


def cut_metadata(obj: ApiObject) -> ApiObject:
    """Drops what nobody here reads and which is half of every object: who wrote which field."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {**obj, "metadata": metadata}


def get_version(obj: ApiObject) -> int:
    """Returns an object's resourceVersion as a number."""
    return int(obj["metadata"]["resourceVersion"])


@dataclass
class _Shelf:
    """All objects of one kind."""

    objects: dict[Name, ApiObject] = field(default_factory=dict)
    gone: dict[Name, int] = field(default_factory=dict)
    """At which version an object was seen to be deleted: a late event must not bring it back."""
    by_label: dict[str, set[Name]] = field(default_factory=lambda: defaultdict(set))


class Store:
    """Remembers objects.

    Args:
        index_label: Label by whose value objects are found quickly.
        cuts: What to keep of an object, by kind, where it is less than all but its managed fields.
    """

    def __init__(self, *, index_label: str, cuts: Mapping[str, Cut] | None = None) -> None:
        self._index_label = index_label
        self._cuts = dict(cuts or {})
        self._shelves: dict[str, _Shelf] = defaultdict(_Shelf)

    def find(self, kind: str, namespace: str, name: str) -> ApiObject | None:
        """Returns an object, or None."""
        return self._shelves[kind].objects.get((namespace, name))

    def list_all(self, kind: str) -> list[ApiObject]:
        """Returns all objects of a kind."""
        return list(self._shelves[kind].objects.values())

    def list_labeled(self, kind: str, value: str) -> list[ApiObject]:
        """Returns the objects of a kind whose indexed label has a value."""
        shelf = self._shelves[kind]
        return [shelf.objects[name] for name in sorted(shelf.by_label.get(value, ()))]

    def count(self) -> dict[str, int]:
        """Returns how many objects are known, by kind."""
        return {kind: len(shelf.objects) for kind, shelf in self._shelves.items()}

    def put(self, obj: ApiObject) -> bool:
        """Takes an object over, unless what is known is as new or newer.

        Returns:
            Whether it was news.
        """
        shelf, name = self._shelves[obj["kind"]], _get_name(obj)
        known = shelf.objects.get(name)
        version = get_version(obj)
        if version <= max(get_version(known) if known is not None else -1, shelf.gone.get(name, -1)):
            return False
        self._set(shelf, name, self._cut(obj))
        return True

    def remove(self, obj: ApiObject) -> bool:
        """Forgets an object that was deleted, unless a newer namesake is known.

        Returns:
            Whether it was known.
        """
        shelf, name = self._shelves[obj["kind"]], _get_name(obj)
        version = get_version(obj)
        shelf.gone[name] = max(shelf.gone.get(name, -1), version)
        known = shelf.objects.get(name)
        if known is None or get_version(known) > version:
            return False
        self._unset(shelf, name)
        return True

    def replace(self, kind: str, objects: Iterable[ApiObject], *, version: str) -> list[ApiObject]:
        """Compares with a fresh list of a kind and takes over what is new.

        Args:
            kind: The kind.
            objects: All that there are.
            version: The list's own resourceVersion: what is newer than that, the list cannot know.

        Returns:
            What was new, changed or gone.
        """
        shelf, at = self._shelves[kind], int(version)
        listed = {_get_name(obj): obj for obj in objects}
        missing = [
            (name, known) for name, known in shelf.objects.items() if name not in listed and get_version(known) <= at
        ]
        for name, _ in missing:
            self._unset(shelf, name)
        changed = [obj for obj in listed.values() if self.put(obj)]
        shelf.gone = {name: seen for name, seen in shelf.gone.items() if seen > at}
        return [*(known for _, known in missing), *changed]

    def _cut(self, obj: ApiObject) -> ApiObject:
        kept = cut_metadata(obj)
        cut = self._cuts.get(obj["kind"])
        return cut(kept) if cut is not None else kept

    def _set(self, shelf: _Shelf, name: Name, obj: ApiObject) -> None:
        self._unset(shelf, name)
        shelf.objects[name] = obj
        for value in self._iterate_index(obj):
            shelf.by_label[value].add(name)

    def _unset(self, shelf: _Shelf, name: Name) -> None:
        known = shelf.objects.pop(name, None)
        for value in self._iterate_index(known) if known is not None else ():
            names = shelf.by_label[value]
            names.discard(name)
            if not names:
                del shelf.by_label[value]

    def _iterate_index(self, obj: ApiObject) -> Iterator[str]:
        labels: Mapping[str, Any] = obj["metadata"].get("labels") or {}
        if self._index_label in labels:
            yield str(labels[self._index_label])


def _get_name(obj: ApiObject) -> Name:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
