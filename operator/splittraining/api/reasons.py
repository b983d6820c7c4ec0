"""What each reason of a condition means and what to do about it: the rows of docs/reasons.md.

Reasons of ``Failed`` that are a party's own errors are not repeated here: their exit codes have cause and remedy.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from splittraining.api.conditions import (
    AcceptedReason,
    ApprovedReason,
    CertificatesReadyReason,
    CheckpointAvailableReason,
    CompleteReason,
    ConditionType,
    DegradedReason,
    FailedReason,
    NetworkIsolatedReason,
    PartiesReadyReason,
    ProgressingReason,
    StalledReason,
    SuspendedReason,
)

NOTHING = "Nothing to do."

ADVICE: Mapping[tuple[ConditionType, enum.StrEnum], tuple[str, str]] = MappingProxyType(
    {
        (ConditionType.ACCEPTED, AcceptedReason.ACCEPTED): ("The manifest can be run.", NOTHING),
        (ConditionType.ACCEPTED, AcceptedReason.SPEC_INVALID): (
            "The manifest breaks a rule of the API.",
            "Change what the message names; a spec is immutable, so delete the training and create it anew.",
        ),
        (ConditionType.ACCEPTED, AcceptedReason.NOT_SUPPORTED): (
            "The manifest asks for something that this version does not run.",
            "Use a value that the message lists; README.md has the table of what works today.",
        ),
        (ConditionType.ACCEPTED, AcceptedReason.SOURCE_MISSING): (
            "The ConfigMap of the model's source is not there, has no *.py file, or is not the one that was accepted.",
            "Create it in the training's namespace, or put it back as it was; it is looked at again within 10 s.",
        ),
        (ConditionType.ACCEPTED, AcceptedReason.NOT_INVITED): (
            "The operator has no right in the namespace: to read the model's source, or to make or delete objects.",
            "Let the chart know the namespace (workNamespaces), or make the RoleBinding that its NOTES show.",
        ),
        (ConditionType.ACCEPTED, AcceptedReason.NAME_TAKEN): (
            "An object of a name that is needed exists and belongs to somebody else; it is never adopted.",
            "Delete or rename that object.",
        ),
        (ConditionType.ACCEPTED, AcceptedReason.OBJECT_INVALID): (
            "The API server does not take an object that the manifest leads to: a toleration, say, or an old CRD.",
            "Correct what its message names, in a new training; upgrade Kubernetes or the CRDs if they are old.",
        ),
        (ConditionType.APPROVED, ApprovedReason.APPROVED): ("Every institution agreed.", NOTHING),
        (ConditionType.APPROVED, ApprovedReason.NOT_REQUIRED): (
            "All parties run in the training's own namespace.",
            NOTHING,
        ),
        (ConditionType.APPROVED, ApprovedReason.AWAITING_APPROVAL): (
            "An institution has not decided yet.",
            "Ask the people that it names.",
        ),
        (ConditionType.APPROVED, ApprovedReason.REFUSED): (
            "An institution said no.",
            "Read its message and talk to its people.",
        ),
        (ConditionType.APPROVED, ApprovedReason.CONTRACT_MISMATCH): (
            "What was approved is another contract.",
            "Let the institution look at the contract as it is now, and approve that.",
        ),
        (ConditionType.APPROVED, ApprovedReason.CONSENT_WITHDRAWN): (
            "An institution took its consent back.",
            "Talk to its people.",
        ),
        (ConditionType.CERTIFICATES_READY, CertificatesReadyReason.ISSUED): (
            "Every party holds a certificate.",
            NOTHING,
        ),
        (ConditionType.CERTIFICATES_READY, CertificatesReadyReason.AWAITING_CERTIFICATES): (
            "A party has not been heard of with a certificate yet.",
            "If it lasts: look at that party's log, and whether it can reach the intake.",
        ),
        (ConditionType.CERTIFICATES_READY, CertificatesReadyReason.IDENTITY_REFUSED): (
            "The intake refused a party's request.",
            "Look at the operator's log for the refusal; clocks and deleted pods are the usual causes.",
        ),
        (ConditionType.CERTIFICATES_READY, CertificatesReadyReason.CERTIFICATE_EXPIRED): (
            "A certificate ended before it was renewed.",
            "Look whether the intake could be reached; the party gets a fresh one when it starts.",
        ),
        (ConditionType.CERTIFICATES_READY, CertificatesReadyReason.CA_REPLACED): (
            "The CA's Secret was deleted and made anew.",
            "Restart the trainings that run: certificates of the old CA are no longer trusted.",
        ),
        (ConditionType.NETWORK_ISOLATED, NetworkIsolatedReason.POLICIES_APPLIED): (
            "Every party found closed what policies forbid.",
            NOTHING,
        ),
        (ConditionType.NETWORK_ISOLATED, NetworkIsolatedReason.NOT_ENFORCED): (
            "A party reached an address that the policies forbid: the cluster's network ignores them.",
            "Install a network plugin that enforces NetworkPolicies, or accept it (network.enforcement: Preferred).",
        ),
        (ConditionType.NETWORK_ISOLATED, NetworkIsolatedReason.NOT_REQUESTED): (
            "network.isolation is None.",
            "Use DenyAll to have policies written.",
        ),
        (ConditionType.NETWORK_ISOLATED, NetworkIsolatedReason.PENDING): (
            "Not all parties have tried the policies yet.",
            NOTHING,
        ),
        (ConditionType.PARTIES_READY, PartiesReadyReason.ALL_READY): ("All parties are connected.", NOTHING),
        (ConditionType.PARTIES_READY, PartiesReadyReason.NOT_STARTED): (
            "No party runs: the training waits, is suspended or is over.",
            NOTHING,
        ),
        (ConditionType.PARTIES_READY, PartiesReadyReason.AWAITING_PARTIES): (
            "Parties are on their way.",
            "If it lasts: `kubectl describe pod` and the log of the parties that the message names.",
        ),
        (ConditionType.PARTIES_READY, PartiesReadyReason.UNSCHEDULABLE): (
            "No node takes a party's pod, for the reason that the scheduler gives.",
            "Free or add what is missing (GPUs, memory, a node with the labels), or ask for less.",
        ),
        (ConditionType.PARTIES_READY, PartiesReadyReason.CLAIM_MISSING): (
            "The claim that a party's data.volume or warmStart.volume names is not there.",
            "Create the PersistentVolumeClaim in the party's namespace, or name another one.",
        ),
        (ConditionType.PARTIES_READY, PartiesReadyReason.IMAGE_PULL): (
            "A party's image cannot be pulled.",
            "Check the image's name, the registry and spec.imagePullSecrets.",
        ),
        (ConditionType.PARTIES_READY, PartiesReadyReason.QUOTA): (
            "A ResourceQuota of the namespace leaves no room for a party's pod.",
            "Raise the quota, free what is used, or ask for less.",
        ),
        (ConditionType.PARTIES_READY, PartiesReadyReason.POD_REFUSED): (
            "The API server or the node refused a party's pod: a LimitRange, Pod Security, a policy, a missing object.",
            "Do what the message says; it is the refusal's own text.",
        ),
        (ConditionType.PARTIES_READY, PartiesReadyReason.NO_CERTIFICATE): (
            "A party runs and got no certificate.",
            "Look at its log: it says what the intake answered, or that it could not be reached.",
        ),
        (ConditionType.PARTIES_READY, PartiesReadyReason.NAMESPACE_TERMINATING): (
            "The namespace is being deleted.",
            "Nothing can be made there any more: create the training elsewhere.",
        ),
        (ConditionType.PARTIES_READY, PartiesReadyReason.NODE_LOST): (
            "A party's node is gone.",
            "Nothing: the parties are started over. A node that stays away must be deleted or tainted out-of-service.",
        ),
        (ConditionType.PARTIES_READY, PartiesReadyReason.EVICTED): (
            "A party's pod was evicted, drained or preempted.",
            "Nothing: the parties are started over. A higher priority, or requests that fit, make it rarer.",
        ),
        (ConditionType.PARTIES_READY, PartiesReadyReason.OUT_OF_MEMORY): (
            "A party was killed for memory from outside its container.",
            "Give it a memory request that it really needs; the parties are started over.",
        ),
        (ConditionType.PARTIES_READY, PartiesReadyReason.CRASHED): (
            "A party ended without an error of its own.",
            "Look at its log; the parties are started over, at most maxRestartsPerParty times.",
        ),
        (ConditionType.PROGRESSING, ProgressingReason.PENDING): (
            "It has not begun, or waits for its next attempt.",
            "Read the message.",
        ),
        (ConditionType.PROGRESSING, ProgressingReason.AWAITING_APPROVAL): (
            "It waits for an institution's consent.",
            "See Approved.",
        ),
        (ConditionType.PROGRESSING, ProgressingReason.STARTING): ("Its parties are coming.", "See PartiesReady."),
        (ConditionType.PROGRESSING, ProgressingReason.RUNNING): ("It trains.", NOTHING),
        (ConditionType.PROGRESSING, ProgressingReason.SUSPENDED): (
            "spec.suspend is true.",
            "Set it to false to go on.",
        ),
        (ConditionType.PROGRESSING, ProgressingReason.COMPLETED): (
            "It is complete.",
            "`kubectl splittraining fetch` gets the results.",
        ),
        (ConditionType.PROGRESSING, ProgressingReason.FAILED): ("It failed.", "See Failed."),
        (ConditionType.CHECKPOINT_AVAILABLE, CheckpointAvailableReason.CHECKPOINT_TAKEN): (
            "A start over goes on from a checkpoint.",
            NOTHING,
        ),
        (ConditionType.CHECKPOINT_AVAILABLE, CheckpointAvailableReason.NONE_YET): (
            "No checkpoint was taken yet.",
            NOTHING,
        ),
        (ConditionType.CHECKPOINT_AVAILABLE, CheckpointAvailableReason.NOT_CONFIGURED): (
            "No checkpoints are taken: a start over begins at round 1.",
            NOTHING,
        ),
        (ConditionType.SUSPENDED, SuspendedReason.SUSPENDED): (
            "No pod is left.",
            "Set spec.suspend to false to go on.",
        ),
        (ConditionType.SUSPENDED, SuspendedReason.SUSPENDING): ("Its pods are ending.", NOTHING),
        (ConditionType.SUSPENDED, SuspendedReason.NOT_SUSPENDED): ("It is not suspended.", NOTHING),
        (ConditionType.COMPLETE, CompleteReason.COMPLETED): (
            "Every round is done and every party has written its result.",
            NOTHING,
        ),
        (ConditionType.COMPLETE, CompleteReason.NOT_COMPLETED): ("It is not complete.", NOTHING),
        (ConditionType.FAILED, FailedReason.NOT_FAILED): ("It has not failed.", NOTHING),
        (ConditionType.FAILED, FailedReason.DEADLINE_EXCEEDED): (
            "It ran longer than activeDeadlineSeconds.",
            "Create it anew with a longer deadline, fewer rounds or more resources.",
        ),
        (ConditionType.FAILED, FailedReason.TOO_MANY_RESTARTS): (
            "One party was lost more often than faultTolerance.maxRestartsPerParty allows.",
            "Look at that party's log and node before you create the training anew.",
        ),
        (ConditionType.FAILED, FailedReason.CONSENT_WITHDRAWN): (
            "An institution took its consent back.",
            "Talk to its people.",
        ),
        (ConditionType.DEGRADED, DegradedReason.CLIENT_LOST): ("It goes on without a client.", "Look at that client."),
        (ConditionType.DEGRADED, DegradedReason.REPORTS_MISSING): (
            "A party's reports do not arrive.",
            "Look whether it can reach the intake.",
        ),
        (ConditionType.STALLED, StalledReason.NO_PROGRESS): (
            "Nobody made a step for stallTimeoutSeconds.",
            "Look at the parties' logs.",
        ),
        (ConditionType.STALLED, StalledReason.AWAITING_CLIENT): (
            "It waits for a client that is away.",
            "Look at that client.",
        ),
    }
)
