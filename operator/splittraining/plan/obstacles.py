"""What keeps a party from being there: the first thing that people should look at, by party and in a sentence."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from splittraining.api.conditions import PartiesReadyReason
from splittraining.plan.observed import ObservedJob, ObservedPod

_IMAGE_REASONS = frozenset(
    {
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_REFUSED_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why one party is not there."""

    party: str
    reason: enum.StrEnum
    """Of `PartiesReady`."""
    message: str

    def __str__(self) -> str:
        return f"{self.party}: {self.message}"


def find_obstacle(party: str, job: ObservedJob | None, pod: ObservedPod | None) -> Obstacle | None:
    """Returns what keeps a party away, or None where it is only a matter of time as far as one can see.

    Args:
        party: Party name.
        job: Its Job of the attempt under way, if there is one.
        pod: Its pod, if there is one.
    """
    if pod is None:
        return None if job is None else _find_refusal(party, job)
    if pod.unschedulable_message:
        return _describe_scheduling(party, pod.unschedulable_message)
    if pod.waiting_reason in _IMAGE_REASONS:
        return Obstacle(
            party,
            PartiesReadyReason.IMAGE_PULL,
            f"its image cannot be pulled ({pod.waiting_reason}: {pod.waiting_message or 'no details'});"
            " check the image's name and the imagePullSecrets",
        )
    if pod.waiting_reason in _REFUSED_REASONS:
        return Obstacle(
            party,
            PartiesReadyReason.POD_REFUSED,
            f"its container cannot be made ({pod.waiting_reason}: {pod.waiting_message or 'no details'})",
        )
    return None


def _find_refusal(party: str, job: ObservedJob) -> Obstacle | None:
    if not job.refused_pod_reason:
        return None
    reason = PartiesReadyReason(job.refused_pod_reason)
    return Obstacle(party, reason, f"its pod is refused: {job.refused_pod_message}")


def _describe_scheduling(party: str, message: str) -> Obstacle:
    if "persistentvolumeclaim" in message and "not found" in message:
        return Obstacle(
            party,
            PartiesReadyReason.CLAIM_MISSING,
            f"{message}; create the claim that data.volume or warmStart.volume names, in the party's namespace",
        )
    return Obstacle(party, PartiesReadyReason.UNSCHEDULABLE, f"no node takes its pod: {message}")
