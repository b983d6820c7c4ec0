"""From the API server's objects to what decisions read. Pure: plain JSON in, `plan.observed` out."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from splittraining.api.names import ATTEMPT_LABEL, PARTY_LABEL, TRAINING_UID_LABEL
from splittraining.cluster.client import ApiObject
from splittraining.plan.observed import ObservedJob, ObservedPod, Source

GPU = "nvidia.com/gpu"
PARTY_CONTAINER = "party"

_QUOTA_WORDS = ("exceeded quota", "must specify limits", "must specify requests", "failed quota")


def find_participation_uids(participations: Iterable[ApiObject], *, training_uid: str) -> dict[str, str]:
    """Returns the uids of a training's own participations, by party: those that it controls, by its very uid."""
    return {
        participation["spec"]["party"]: participation["metadata"]["uid"]
        for participation in _iterate_own(participations, training_uid)
    }


def find_participation_images(participations: Iterable[ApiObject], *, training_uid: str) -> dict[str, str]:
    """Returns what a training's own participations run, by party."""
    return {
        participation["spec"]["party"]: image
        for participation in _iterate_own(participations, training_uid)
        if (image := participation["spec"].get("image", ""))
    }


def _iterate_own(participations: Iterable[ApiObject], training_uid: str) -> Iterator[ApiObject]:
    for participation in participations:
        is_going = participation["metadata"].get("deletionTimestamp")
        is_named = participation.get("spec", {}).get("party", "")
        if is_controlled_by(participation, {training_uid}) and is_named and not is_going:
            yield participation


def is_controlled_by(obj: ApiObject, uids: Iterable[str]) -> bool:
    """Says whether an object's controller is one of some owners."""
    wanted = set(uids)
    return any(
        owner.get("controller") and owner.get("uid") in wanted for owner in obj["metadata"].get("ownerReferences") or ()
    )


def is_own(obj: ApiObject, owner_uids: Collection[str], *, training_uid: str) -> bool:
    """Says whether an object is a training's.

    What outlives the training has no owner: it carries the training's uid as a label, and in its name a digest of it.
    """
    if obj["metadata"].get("ownerReferences"):
        return is_controlled_by(obj, owner_uids)
    return bool((obj["metadata"].get("labels") or {}).get(TRAINING_UID_LABEL) == training_uid)


def observe_jobs(
    jobs: Iterable[ApiObject], *, owner_uids: Iterable[str], refused: Mapping[str, tuple[str, str]]
) -> tuple[ObservedJob, ...]:
    """Translates a training's Jobs.

    Args:
        jobs: Jobs that carry the training's label.
        owner_uids: Uids of its participations: any other Job only looks like one of ours.
        refused: Reason and message by Job uid, where its pod cannot be created.
    """
    owners = set(owner_uids)
    return tuple(
        observe_job(job, refused=refused.get(job["metadata"]["uid"], ("", "")))
        for job in jobs
        if is_controlled_by(job, owners)
    )


def observe_job(job: ApiObject, *, refused: tuple[str, str] = ("", "")) -> ObservedJob:
    """Translates one Job."""
    metadata, status = job["metadata"], job.get("status") or {}
    conditions = {
        condition["type"]: condition
        for condition in status.get("conditions") or ()
        if condition.get("status") == "True"
    }
    failure = conditions.get("Failed") or conditions.get("FailureTarget")
    return ObservedJob(
        name=metadata["name"],
        uid=metadata["uid"],
        party=_get_label(job, PARTY_LABEL),
        attempt=_get_attempt(job),
        created_at=parse_time(metadata["creationTimestamp"]),
        has_succeeded="Complete" in conditions or "SuccessCriteriaMet" in conditions,
        has_failed=failure is not None,
        failure_message=failure.get("message", "") if failure else "",
        is_deleting=bool(metadata.get("deletionTimestamp")),
        refused_pod_reason=refused[0],
        refused_pod_message=refused[1],
    )


def observe_pods(pods: Iterable[ApiObject], *, job_uids: Iterable[str]) -> tuple[ObservedPod, ...]:
    """Translates a training's pods, oldest first: where a party has two, the later one is the one that counts.

    Args:
        pods: Pods that carry the training's label.
        job_uids: Uids of its Jobs: any other pod only looks like one of ours.
    """
    uids = set(job_uids)
    own = [pod for pod in pods if is_controlled_by(pod, uids)]
    own.sort(key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]))
    return tuple(observe_pod(pod) for pod in own)


def observe_pod(pod: ApiObject) -> ObservedPod:
    """Translates one pod."""
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    container = _find_container(status.get("containerStatuses") or ())
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    return ObservedPod(
        name=metadata["name"],
        uid=metadata["uid"],
        party=_get_label(pod, PARTY_LABEL),
        attempt=_get_attempt(pod),
        phase=status.get("phase", "Pending"),
        node=spec.get("nodeName", ""),
        num_gpus=sum(_count_gpus(part) for part in spec.get("containers") or ()),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        is_deleting=bool(metadata.get("deletionTimestamp")),
        unschedulable_message=_find_unschedulable_message(conditions.get("PodScheduled")),
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        exit_code=ended.get("exitCode"),
        ended_at=parse_time(ended["finishedAt"]) if ended.get("finishedAt") else None,
        end_reason=ended.get("reason", ""),
        last_words=ended.get("message", ""),
        was_disrupted=conditions.get("DisruptionTarget", {}).get("status") == "True",
    )


def find_pod_refusal(events: Iterable[ApiObject]) -> tuple[str, str]:
    """Returns why a Job's pod cannot be created, by its newest event of that: (`Quota` or `PodRefused`, message)."""
    refusals = [event for event in events if event.get("reason") == "FailedCreate"]
    if not refusals:
        return "", ""
    message = str(max(refusals, key=_get_event_time).get("message") or "")
    is_quota = any(words in message for words in _QUOTA_WORDS)
    return ("Quota" if is_quota else "PodRefused"), message


def observe_source(config_map: ApiObject | None, *, name: str, namespace: str) -> Source:
    """Translates the ConfigMap with the model's files, or its absence."""
    if config_map is None:
        return Source(problem=f"ConfigMap {name!r} is not in namespace {namespace!r}; create it there")
    files = {file: text.encode() for file, text in (config_map.get("data") or {}).items()}
    files |= {file: base64.b64decode(data) for file, data in (config_map.get("binaryData") or {}).items()}
    if not files:
        return Source(problem=f"ConfigMap {name!r} in namespace {namespace!r} holds no files; put the model's into it")
    return Source(files=files)


def parse_time(text: str) -> datetime:
    """Reads a time as the API server writes it."""
    return datetime.fromisoformat(text)


def _get_event_time(event: ApiObject) -> str:
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )


def _find_unschedulable_message(scheduled: ApiObject | None) -> str:
    if scheduled is None or scheduled.get("status") != "False" or scheduled.get("reason") != "Unschedulable":
        return ""
    return scheduled.get("message") or "the scheduler finds no node"


def _find_container(statuses: Sequence[ApiObject]) -> ApiObject:
    """Returns the party's own container: somebody's webhook may have put others beside it."""
    named = [status for status in statuses if status.get("name") == PARTY_CONTAINER]
    return (named or list(statuses) or [{}])[0]


def _count_gpus(container: ApiObject) -> int:
    limits = (container.get("resources") or {}).get("limits") or {}
    return int(limits.get(GPU, 0))


def _get_label(obj: ApiObject, label: str) -> str:
    return str((obj["metadata"].get("labels") or {}).get(label, ""))


def _get_attempt(obj: ApiObject) -> int:
    text = _get_label(obj, ATTEMPT_LABEL)
    return int(text) if text.isdecimal() else 0
