"""Rules on waiting, certificates and what else belongs to running a training."""

from __future__ import annotations

from splittraining.api.rules.rule import Rule
from splittraining.api.spec.split_training import SplitTrainingSpec


def _leaves_outlast_the_start(spec: SplitTrainingSpec) -> bool:
    return spec.tls.leaf_duration_seconds >= 2 * spec.startup.ready_timeout_seconds


OPERATION_RULES = (
    # A party that waits for others has shown a leaf that may be at half its life already, when it is renewed.
    Rule(
        "spec",
        "self.tls.leafDurationSeconds >= 2 * self.startup.readyTimeoutSeconds",
        "a certificate outlasts the wait for all parties at its half life: tls.leafDurationSeconds is at least twice"
        " startup.readyTimeoutSeconds; raise the first or lower the second",
        _leaves_outlast_the_start,
        ".tls.leafDurationSeconds",
    ),
)
