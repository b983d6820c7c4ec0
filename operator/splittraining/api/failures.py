"""Which exit code tells what a training failed of."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from splittraining.api.conditions import FailedReason
from splittraining.api.exit_codes import ExitCode

EXIT_CODES: Mapping[FailedReason, ExitCode] = MappingProxyType(
    {
        FailedReason.NOT_FAILED: ExitCode.OK,
        FailedReason.INTERNAL_ERROR: ExitCode.INTERNAL,
        FailedReason.SPEC_INVALID: ExitCode.SPEC_INVALID,
        FailedReason.DATA_INVALID: ExitCode.DATA_INVALID,
        FailedReason.MODEL_INVALID: ExitCode.MODEL_INVALID,
        FailedReason.CONTRACT_MISMATCH: ExitCode.CONTRACT_MISMATCH,
        FailedReason.IDENTITY_REFUSED: ExitCode.IDENTITY_REFUSED,
        FailedReason.NUMERICS_INVALID: ExitCode.NUMERICS,
        FailedReason.PROTOCOL_VIOLATION: ExitCode.PROTOCOL,
        FailedReason.STORAGE_FAILED: ExitCode.STORAGE,
        FailedReason.DEVICE_UNAVAILABLE: ExitCode.DEVICE_UNAVAILABLE,
        FailedReason.MODEL_CODE_FAILED: ExitCode.MODEL_CODE,
        FailedReason.NOT_SUPPORTED: ExitCode.NOT_SUPPORTED,
        FailedReason.PREEMPTED: ExitCode.PREEMPTED,
        FailedReason.PEER_LOST: ExitCode.PEER_LOST,
        FailedReason.PEER_FAILED: ExitCode.PEER_FAILED,
        FailedReason.START_TIMEOUT: ExitCode.START_TIMEOUT,
        FailedReason.STALLED: ExitCode.STALLED,
        FailedReason.NETWORK_OPEN: ExitCode.NETWORK_OPEN,
        FailedReason.OUT_OF_MEMORY: ExitCode.OUT_OF_MEMORY,
        FailedReason.DEADLINE_EXCEEDED: ExitCode.DEADLINE_EXCEEDED,
        FailedReason.TOO_MANY_RESTARTS: ExitCode.TOO_MANY_RESTARTS,
        FailedReason.CONSENT_WITHDRAWN: ExitCode.CONSENT_WITHDRAWN,
    }
)


def get_exit_code(reason: str) -> ExitCode:
    """Returns the exit code of a reason of Failed; one that a newer operator gives is told as internal."""
    try:
        return EXIT_CODES[FailedReason(reason)]
    except ValueError:
        return ExitCode.INTERNAL
