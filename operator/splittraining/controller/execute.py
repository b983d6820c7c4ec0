"""Carries out a decision: status, deletions, applications, events, parties' statuses, in that order; decides nothing.

The status is the memory: it is written before anything that it tells about is done, and where it cannot be written,
since somebody wrote in between, nothing else is done either and the training is looked at again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from splittraining.api.base import compute_digest
from splittraining.api.names import APPLIED_DIGEST_ANNOTATION, PARTY_LABEL
from splittraining.api.participation import PARTICIPATION_KIND, ParticipationStatus
from splittraining.api.resource import SplitTraining
from splittraining.api.status import SplitTrainingStatus
from splittraining.cluster.client import ApiObject
from splittraining.controller.observe import is_own
from splittraining.plan.decision import Decision, Manifest, Reference, TrainingEvent
from splittraining.plan.manifests.metadata import get_child_name
from splittraining.plan.observed import Refusal
from splittraining.plan.pace import QUIET_PERIOD_S, is_transition
from splittraining.plan.topology import get_namespace

RETRY_REFUSED_S = 10.0
"""Longest pause before a refused write is tried again: quotas and invitations change at people's pace."""
FIRST_RETRY_REFUSED_S = 1.0
"""Shortest one, doubled each time: the API server hears of an invitation a moment after it is made."""

CONFIRM_PERIOD_S = 600.0
"""How long an object of a kind that is not watched is taken to be as it was seen."""

Identity = tuple[str, str, str]
"""Kind, namespace and name."""

_JOB = "Job"
_STATUS = f"{PARTICIPATION_KIND}/status"

_WHOLE_NAMESPACE = ("NotInvited", "NamespaceTerminating")
"""Refusals that every other object of the same namespace would meet as well."""


class WriteRefused(Exception):
    """An object that cannot be written, for a reason that people can do something about.

    Args:
        reason: One word, as conditions have them.
        message: A sentence for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Outdated(Exception):
    """Somebody wrote in between: what was decided stood on an older state."""


class Writer(Protocol):
    """Writes to the API server."""

    async def apply(self, manifest: Manifest, *, owner_uids: Collection[str], existing: ApiObject | None) -> ApiObject:
        """Applies a manifest and returns the object.

        Raises:
            WriteRefused: if it cannot be written.
        """
        ...

    async def delete(self, reference: Reference) -> None:
        """Deletes exactly one object; that it is gone already, or another one, is no error.

        Raises:
            WriteRefused: if it may not be deleted.
        """
        ...

    async def write_status(self, seen: ApiObject, status: Mapping[str, Any]) -> None:
        """Replaces the status of a training or a participation.

        Raises:
            Outdated: if the object is not as it was seen.
            WriteRefused: if it may not be written.
        """
        ...

    async def record(self, training: ApiObject, event: TrainingEvent) -> None:
        """Adds an event to a training."""
        ...


@dataclass(frozen=True, slots=True)
class Scene:
    """What a decision is carried out against."""

    resource: ApiObject
    """The training as the API server gave it."""
    training: SplitTraining
    owner_uids: frozenset[str]
    """Of the training and its participations: an object that none of them controls is not ours."""
    find: Callable[[str, str, str], ApiObject | None]
    """Returns a known object by kind, namespace and name."""

    def is_own(self, obj: ApiObject) -> bool:
        """Says whether an object is this training's."""
        return is_own(obj, self.owner_uids, training_uid=self.training.metadata.uid)


@dataclass(frozen=True, slots=True)
class Tried:
    """A write that was refused.

    Attributes:
        refusal: What was said.
        at_s: When it was tried last.
        pause_s: How long it is not tried again.
    """

    refusal: Refusal
    at_s: float
    pause_s: float


@dataclass
class Memory:
    """What one process remembers of one training; losing it costs a few writes."""

    status_written_s: float = float("-inf")
    refused: dict[Identity, Tried] = field(default_factory=dict)
    """What was refused at the last try, by kind, namespace and name."""
    confirmed: dict[Identity, tuple[str, float]] = field(default_factory=dict)
    """Digest and time of the last live look, by kind, namespace and name, of kinds that are not watched."""
    generations: dict[str, int] = field(default_factory=dict)
    """Generation after our last application, by uid: another one means that somebody else wrote."""
    untold: list[tuple[ApiObject, TrainingEvent]] = field(default_factory=list)
    """Events of transitions that are written in the status, with the training as it was then: no later look sees them
    again."""

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """What was refused at the last try, each once."""
        return tuple(dict.fromkeys(tried.refusal for tried in self.refused.values()))

    @contextlib.contextmanager
    def noting(
        self, identity: Identity, now: float, *, party: str = "", closed: dict[str, WriteRefused] | None = None
    ) -> Iterator[None]:
        """Notes whether the write inside is refused, which then keeps nothing else back.

        Args:
            identity: What is written.
            now: The moment.
            party: Whose object it is.
            closed: Takes in namespaces that refuse everything.
        """
        try:
            yield
            self.refused.pop(identity, None)
        except WriteRefused as refused:
            self._note(identity, Refusal(refused.reason, refused.message, party), now)
            if closed is not None and refused.reason in _WHOLE_NAMESPACE:
                closed[identity[1]] = refused

    def _note(self, identity: Identity, refusal: Refusal, now: float) -> None:
        """Notes that a write was refused, and for how long it is left alone."""
        before = self.refused.get(identity)
        pause_s = FIRST_RETRY_REFUSED_S if before is None else min(2 * before.pause_s, RETRY_REFUSED_S)
        self.refused[identity] = Tried(refusal, now, pause_s)

    def must_wait(self, identity: Identity, now: float) -> bool:
        """Says whether a write was refused so lately that it is not tried again yet."""
        tried = self.refused.get(identity)
        return tried is not None and now - tried.at_s < tried.pause_s

    def count_seconds_to_retry(self, now: float) -> float | None:
        """Returns when to come again for what was refused, or None where nothing was."""
        return min((max(0.0, tried.at_s + tried.pause_s - now) for tried in self.refused.values()), default=None)


@dataclass(frozen=True, slots=True)
class Carried:
    """What came of carrying out a decision."""

    postponed_s: float | None = None
    """When to come again for the status that was not written yet."""
    news: bool = False
    """Whether other objects were refused than before: the status should tell at once."""
    retry_s: float | None = None
    """When to come again for what was refused."""


class Executor:
    """Carries out decisions.

    Args:
        writer: Writes.
        watched_kinds: Kinds whose objects are all known; others are looked at now and then.
        monotonic_s: Returns seconds that never go back.
    """

    def __init__(self, writer: Writer, *, watched_kinds: Collection[str], monotonic_s: Callable[[], float]) -> None:
        self._writer = writer
        self._watched_kinds = watched_kinds
        self._monotonic_s = monotonic_s

    async def carry_out(self, decision: Decision, scene: Scene, memory: Memory) -> Carried:
        """Carries out a decision.

        Raises:
            Outdated: if the training or one of its objects is not as it was seen; nothing further was done then.
        """
        postponed_s = await self._write_status(decision, scene, memory)
        if postponed_s is None:
            memory.untold += [(scene.resource, event) for event in decision.events]
        before = memory.refusals
        deletions = [(_identify_reference(reference), reference) for reference in decision.delete]
        statuses = {_identify_status(scene, party): status for party, status in decision.participations.items()}
        wanted = {identity for identity, _ in deletions} | {_identify(manifest) for manifest in decision.apply}
        wanted |= set(statuses)
        memory.refused = {identity: entry for identity, entry in memory.refused.items() if identity in wanted}
        await self._delete_all(deletions, memory)
        await self._apply_all(decision.apply, scene, memory)
        while memory.untold:
            await self._writer.record(*memory.untold[0])
            del memory.untold[0]
        await self._write_participations(statuses, scene, memory)
        retry_s = memory.count_seconds_to_retry(self._monotonic_s())
        return Carried(postponed_s=postponed_s, news=memory.refusals != before, retry_s=retry_s)

    async def _write_status(self, decision: Decision, scene: Scene, memory: Memory) -> float | None:
        old, new = scene.training.status, decision.status
        if new == (old or SplitTrainingStatus()):
            return None
        now = self._monotonic_s()
        left_s = memory.status_written_s + QUIET_PERIOD_S - now
        if left_s > 0 and not is_transition(old, new):
            return left_s
        await self._writer.write_status(scene.resource, new.as_json_object())
        memory.status_written_s = now
        return None

    async def _write_participations(
        self, statuses: Mapping[Identity, ParticipationStatus], scene: Scene, memory: Memory
    ) -> None:
        now = self._monotonic_s()
        for identity, status in statuses.items():
            seen = scene.find(PARTICIPATION_KIND, *identity[1:])
            if seen is None or not scene.is_own(seen) or seen["metadata"].get("deletionTimestamp"):
                continue  # its coming, or going, brings us back
            generation = seen["metadata"].get("generation", 0)
            wanted = status.model_copy(update={"observed_generation": generation}).as_json_object()
            if (seen.get("status") or {}) == wanted or memory.must_wait(identity, now):
                continue
            with memory.noting(identity, now):
                await self._writer.write_status(seen, wanted)

    async def _delete_all(self, deletions: Sequence[tuple[Identity, Reference]], memory: Memory) -> None:
        now = self._monotonic_s()
        for identity, reference in deletions:
            if memory.must_wait(identity, now):
                continue
            with memory.noting(identity, now):
                await self._writer.delete(reference)

    async def _apply_all(self, manifests: Sequence[Manifest], scene: Scene, memory: Memory) -> None:
        closed: dict[str, WriteRefused] = {}  # namespaces that refuse everything
        now = self._monotonic_s()
        for manifest in manifests:
            identity = _identify(manifest)
            namespace = identity[1]
            if memory.must_wait(identity, now) or _is_held_back(identity, memory):
                continue
            party = manifest["metadata"].get("labels", {}).get(PARTY_LABEL, "")
            with memory.noting(identity, now, party=party, closed=closed):
                if namespace in closed:
                    raise closed[namespace]
                await self._apply(manifest, scene, memory)

    async def _apply(self, manifest: Manifest, scene: Scene, memory: Memory) -> None:
        identity, digest, now = _identify(manifest), compute_digest(manifest), self._monotonic_s()
        existing = scene.find(*identity)
        own = existing if existing is not None and scene.is_own(existing) else None
        if own is not None and _is_as_wanted(own, digest, memory):
            return
        confirmed = memory.confirmed.get(identity)
        if confirmed is not None and confirmed[0] == digest and now - confirmed[1] < CONFIRM_PERIOD_S:
            return
        marked = {**manifest, "metadata": _mark(manifest["metadata"], digest)}
        result = await self._writer.apply(marked, owner_uids=scene.owner_uids, existing=own)
        if manifest["kind"] not in self._watched_kinds:
            memory.confirmed[identity] = digest, now
        _remember(result, memory)


def _is_held_back(identity: Identity, memory: Memory) -> bool:
    """Says whether a Job must wait: no pod may run before its policy, and none for long before the others can."""
    return identity[0] == _JOB and any(kind not in (_JOB, _STATUS) for kind, _, _ in memory.refused)


def _identify_reference(reference: Reference) -> Identity:
    return reference.kind, reference.namespace, reference.name


def _identify_status(scene: Scene, party: str) -> Identity:
    return _STATUS, get_namespace(scene.training, party), get_child_name(scene.training, party)


def _identify(manifest: Manifest) -> Identity:
    return manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"]


def _is_as_wanted(existing: ApiObject, digest: str, memory: Memory) -> bool:
    metadata = existing["metadata"]
    if metadata.get("deletionTimestamp"):
        return True  # nothing can be written into it; its end brings us back
    if existing["kind"] == "Job" or existing.get("immutable"):
        return True  # never changed once they are there
    if (metadata.get("annotations") or {}).get(APPLIED_DIGEST_ANNOTATION) != digest:
        return False
    generation = metadata.get("generation")
    return generation is None or memory.generations.setdefault(metadata["uid"], generation) == generation


def _remember(obj: ApiObject, memory: Memory) -> None:
    generation = obj["metadata"].get("generation")
    if generation is not None:
        memory.generations[obj["metadata"]["uid"]] = generation


def _mark(metadata: Mapping[str, Any], digest: str) -> dict[str, Any]:
    return {**metadata, "annotations": {**metadata.get("annotations", {}), APPLIED_DIGEST_ANNOTATION: digest}}
