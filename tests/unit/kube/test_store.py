"""The store: the newest of everything, whatever the order in which it is told."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from splittraining.cluster.store import Store

LABEL = "splitlearning.dev/training-uid"


def make(name: str, version: int, *, uid: str = "u", label: str | None = "t1") -> dict[str, Any]:
    labels = {} if label is None else {LABEL: label}
    metadata = {"namespace": "n", "name": name, "uid": uid, "resourceVersion": str(version), "labels": labels}
    return {"kind": "Job", "metadata": {**metadata, "managedFields": [{}]}}


def a_store() -> Store:
    return Store(index_label=LABEL)


def names(store: Store) -> list[str]:
    return sorted(obj["metadata"]["name"] for obj in store.list_all("Job"))


def test_an_older_state_is_passed_over():
    store = a_store()
    assert store.put(make("a", 5))
    assert not store.put(make("a", 4))
    assert not store.put(make("a", 5))
    assert store.put(make("a", 6))


def test_a_deleted_object_is_not_brought_back_by_a_late_event():
    store = a_store()
    store.put(make("a", 5))
    assert store.remove(make("a", 7))
    assert not store.put(make("a", 6))
    assert store.find("Job", "n", "a") is None
    assert store.put(make("a", 8, uid="another"))


def test_the_deletion_of_the_old_one_does_not_take_a_newer_namesake():
    store = a_store()
    store.put(make("a", 9, uid="new"))
    assert not store.remove(make("a", 7, uid="old"))
    assert names(store) == ["a"]


def test_a_list_finds_what_was_deleted_unseen_and_keeps_what_it_cannot_know():
    store = a_store()
    store.replace("Job", [make("a", 1), make("b", 2)], version="3")
    store.put(make("c", 12))
    changed = store.replace("Job", [make("a", 10)], version="11")
    assert sorted(obj["metadata"]["name"] for obj in changed) == ["a", "b"]
    assert names(store) == ["a", "c"]
    assert store.replace("Job", [make("a", 10), make("c", 12)], version="13") == []


def test_objects_are_found_by_their_label_also_when_it_changes():
    store = a_store()
    store.put(make("a", 1))
    store.put(make("b", 2, label="t2"))
    assert [obj["metadata"]["name"] for obj in store.list_labeled("Job", "t1")] == ["a"]
    store.put(make("a", 3, label=None))
    assert store.list_labeled("Job", "t1") == []


def test_who_wrote_which_field_is_not_kept_and_kinds_can_be_cut_further():
    store = Store(index_label=LABEL, cuts={"Job": lambda obj: {**obj, "spec": {}}})
    store.put({**make("a", 1), "spec": {"template": "long"}})
    kept = store.find("Job", "n", "a")
    assert kept is not None
    assert "managedFields" not in kept["metadata"]
    assert kept["spec"] == {}


Events = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["put", "remove"])), max_size=12)


@given(history=Events, order=st.randoms(use_true_random=False))
def test_any_order_of_events_ends_in_the_newest_state(history: list[tuple[str, str]], order: Any):
    told = list(enumerate(history, start=1))
    newest = {name: action for _, (name, action) in told}
    order.shuffle(told)
    store = a_store()
    for version, (name, action) in told:
        getattr(store, action)(make(name, version))
    assert names(store) == sorted(name for name, action in newest.items() if action == "put")
