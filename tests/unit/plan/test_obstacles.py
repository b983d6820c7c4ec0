"""What keeps a party away, told by name."""

from __future__ import annotations

import pytest

from splittraining.api.conditions import PartiesReadyReason
from splittraining.plan.obstacles import Obstacle, find_obstacle
from support.observed import LookBuilder, a_look


def find(look: LookBuilder) -> Obstacle | None:
    observed = look.build()
    return find_obstacle("st-mary", observed.jobs_of(1).get("st-mary"), observed.pods_of(1).get("st-mary"))


@pytest.mark.parametrize(
    ("facts", "reason", "said"),
    [
        pytest.param(
            {"unschedulable_message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."},
            PartiesReadyReason.UNSCHEDULABLE,
            "no node takes its pod: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
            id="no GPU",
        ),
        pytest.param(
            {"unschedulable_message": 'persistentvolumeclaim "xrays" not found'},
            PartiesReadyReason.CLAIM_MISSING,
            'persistentvolumeclaim "xrays" not found; create the claim that data.volume or warmStart.volume names',
            id="no claim",
        ),
        pytest.param(
            {"waiting_reason": "ImagePullBackOff", "waiting_message": 'Back-off pulling image "x:1"'},
            PartiesReadyReason.IMAGE_PULL,
            'ImagePullBackOff: Back-off pulling image "x:1"',
            id="no image",
        ),
        pytest.param(
            {"waiting_reason": "CreateContainerConfigError", "waiting_message": 'configmap "c" not found'},
            PartiesReadyReason.POD_REFUSED,
            'configmap "c" not found',
            id="no container",
        ),
    ],
)
def test_a_pod_that_cannot_start_says_why(facts: dict[str, str], reason: PartiesReadyReason, said: str):
    obstacle = find(a_look().with_pod("st-mary", phase="Pending", **facts))
    assert obstacle is not None
    assert obstacle.reason is reason
    assert str(obstacle).startswith("st-mary: ")
    assert said in obstacle.message


@pytest.mark.parametrize("reason", [PartiesReadyReason.QUOTA, PartiesReadyReason.POD_REFUSED])
def test_a_pod_that_is_refused_says_why(reason: PartiesReadyReason):
    look = a_look().with_job("st-mary", refused_pod_reason=reason.value, refused_pod_message="exceeded quota: gpus")
    obstacle = find(look)
    assert obstacle is not None
    assert (obstacle.reason, obstacle.message) == (reason, "its pod is refused: exceeded quota: gpus")


def test_a_pod_that_is_coming_has_no_obstacle():
    assert find(a_look().with_pod("st-mary", phase="Pending", waiting_reason="ContainerCreating")) is None
    assert find(a_look().with_job("st-mary")) is None
    assert find(a_look()) is None
