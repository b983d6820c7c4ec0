"""Conditions of a SplitTraining and the reasons that each may give. Names are part of the API: scripts wait for them.

Every condition of the first group exists from the first reconcile on; ``Degraded`` and ``Stalled`` come when they
apply. True is good news but for ``Suspended``, ``Failed``, ``Degraded`` and ``Stalled``. There is no phase:
``Progressing`` always exists, and its reason is the State that ``kubectl get`` prints.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType


class ConditionType(enum.StrEnum):
    """What is told about a training. ``kubectl wait`` waits for Complete and Failed."""

    ACCEPTED = "Accepted"
    APPROVED = "Approved"
    CERTIFICATES_READY = "CertificatesReady"
    NETWORK_ISOLATED = "NetworkIsolated"
    PARTIES_READY = "PartiesReady"
    PROGRESSING = "Progressing"
    CHECKPOINT_AVAILABLE = "CheckpointAvailable"
    SUSPENDED = "Suspended"
    COMPLETE = "Complete"
    FAILED = "Failed"
    DEGRADED = "Degraded"
    STALLED = "Stalled"


ALWAYS_PRESENT = tuple(kind for kind in ConditionType if kind not in (ConditionType.DEGRADED, ConditionType.STALLED))
"""Conditions that exist from the first reconcile on."""


class ConditionStatus(enum.StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class AcceptedReason(enum.StrEnum):
    """Whether the manifest can be run at all."""

    ACCEPTED = "Accepted"
    SPEC_INVALID = "SpecInvalid"
    NOT_SUPPORTED = "NotSupported"
    SOURCE_MISSING = "SourceMissing"
    NOT_INVITED = "NotInvited"  # a party's namespace does not let this training in
    NAME_TAKEN = "NameTaken"  # an object of a needed name exists and is somebody else's
    OBJECT_INVALID = "ObjectInvalid"  # the API server does not take an object that is needed


class ApprovedReason(enum.StrEnum):
    """Whether every institution agreed to the contract."""

    APPROVED = "Approved"
    NOT_REQUIRED = "NotRequired"
    AWAITING_APPROVAL = "AwaitingApproval"
    REFUSED = "Refused"
    CONTRACT_MISMATCH = "ContractMismatch"  # what was approved is another contract
    CONSENT_WITHDRAWN = "ConsentWithdrawn"


class CertificatesReadyReason(enum.StrEnum):
    """Whether every party holds a valid certificate."""

    ISSUED = "Issued"
    AWAITING_CERTIFICATES = "AwaitingCertificates"
    IDENTITY_REFUSED = "IdentityRefused"
    CERTIFICATE_EXPIRED = "CertificateExpired"
    CA_REPLACED = "CAReplaced"


class NetworkIsolatedReason(enum.StrEnum):
    """Whether the parties' pods reach only what they need."""

    POLICIES_APPLIED = "PoliciesApplied"
    NOT_ENFORCED = "NotEnforced"  # the cluster's network ignores policies
    NOT_REQUESTED = "NotRequested"
    PENDING = "Pending"


class PartiesReadyReason(enum.StrEnum):
    """Whether all parties are there, and else what keeps the first missing one away."""

    ALL_READY = "AllReady"
    NOT_STARTED = "NotStarted"
    AWAITING_PARTIES = "AwaitingParties"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL = "ImagePull"
    QUOTA = "Quota"
    NO_CERTIFICATE = "NoCertificate"
    NAMESPACE_TERMINATING = "NamespaceTerminating"
    NODE_LOST = "NodeLost"
    EVICTED = "Evicted"
    OUT_OF_MEMORY = "OutOfMemory"
    CLAIM_MISSING = "ClaimMissing"
    POD_REFUSED = "PodRefused"  # by a limit range, pod security or another admission
    CRASHED = "Crashed"


class ProgressingReason(enum.StrEnum):
    """The State of a training, in one word."""

    PENDING = "Pending"
    AWAITING_APPROVAL = "AwaitingApproval"
    STARTING = "Starting"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    COMPLETED = "Completed"
    FAILED = "Failed"


class CheckpointAvailableReason(enum.StrEnum):
    """Whether a start over can go on from a matched checkpoint."""

    CHECKPOINT_TAKEN = "CheckpointTaken"
    NONE_YET = "NoneYet"
    NOT_CONFIGURED = "NotConfigured"


class SuspendedReason(enum.StrEnum):
    """Whether the training is stopped on purpose."""

    SUSPENDED = "Suspended"
    SUSPENDING = "Suspending"
    NOT_SUSPENDED = "NotSuspended"


class CompleteReason(enum.StrEnum):
    """Whether every round is done and every party wrote its result."""

    COMPLETED = "Completed"
    NOT_COMPLETED = "NotCompleted"


class FailedReason(enum.StrEnum):
    """Why nothing more will happen: the name of an error of ``api/errors``, or what only a cluster can find."""

    NOT_FAILED = "NotFailed"
    INTERNAL_ERROR = "SplitTrainingError"
    SPEC_INVALID = "SpecInvalid"
    DATA_INVALID = "DataInvalid"
    MODEL_INVALID = "ModelInvalid"
    CONTRACT_MISMATCH = "ContractMismatch"
    IDENTITY_REFUSED = "IdentityRefused"
    NUMERICS_INVALID = "NumericsInvalid"
    PROTOCOL_VIOLATION = "ProtocolViolation"
    STORAGE_FAILED = "StorageFailed"
    DEVICE_UNAVAILABLE = "DeviceUnavailable"
    MODEL_CODE_FAILED = "ModelCodeFailed"
    NOT_SUPPORTED = "NotSupported"
    PREEMPTED = "Preempted"
    PEER_LOST = "PeerLost"
    PEER_FAILED = "PeerFailed"
    START_TIMEOUT = "StartTimeout"
    STALLED = "Stalled"
    NETWORK_OPEN = "NetworkOpen"
    OUT_OF_MEMORY = "OutOfMemory"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    TOO_MANY_RESTARTS = "TooManyRestarts"
    CONSENT_WITHDRAWN = "ConsentWithdrawn"


class DegradedReason(enum.StrEnum):
    """What is missing while the training goes on."""

    CLIENT_LOST = "ClientLost"
    REPORTS_MISSING = "ReportsMissing"


class StalledReason(enum.StrEnum):
    """Why nothing moves although nothing failed."""

    NO_PROGRESS = "NoProgress"
    AWAITING_CLIENT = "AwaitingClient"


REASONS: Mapping[ConditionType, type[enum.StrEnum]] = MappingProxyType(
    {
        ConditionType.ACCEPTED: AcceptedReason,
        ConditionType.APPROVED: ApprovedReason,
        ConditionType.CERTIFICATES_READY: CertificatesReadyReason,
        ConditionType.NETWORK_ISOLATED: NetworkIsolatedReason,
        ConditionType.PARTIES_READY: PartiesReadyReason,
        ConditionType.PROGRESSING: ProgressingReason,
        ConditionType.CHECKPOINT_AVAILABLE: CheckpointAvailableReason,
        ConditionType.SUSPENDED: SuspendedReason,
        ConditionType.COMPLETE: CompleteReason,
        ConditionType.FAILED: FailedReason,
        ConditionType.DEGRADED: DegradedReason,
        ConditionType.STALLED: StalledReason,
    }
)
"""Which reasons a condition may give."""
