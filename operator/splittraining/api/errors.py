"""The errors a user can meet. Each says what was given, what is allowed and what to do, and knows its exit code.

SplitTrainingError
├── SpecInvalid          a manifest that cannot be run            64
├── DataInvalid          rows, columns, shapes, files             65
├── ModelInvalid         a model that cannot be cut as asked      66
├── ContractMismatch     parties hold different contracts         67
├── IdentityRefused      certificates, names, TLS                 68
├── NumericsInvalid      NaN, infinity                            69
├── ProtocolViolation    a frame nobody may send                  70
├── StorageFailed        disk full, unwritable                    71
├── DeviceUnavailable    a GPU was asked for and is not there     72
├── ModelCodeFailed      the user's own code raised               73
├── NotSupported         allowed one day, not in this version     74
├── Preempted            asked to stop in the middle              75
├── PeerLost             a connection died without a Goodbye      76
├── PeerFailed           another party ended with an error        77
├── StartTimeout         not every party came                     78
├── Stalled              no progress                              79
├── NetworkOpen          policies that nobody enforces            80
└── OutOfMemory          an allocation failed                     137
"""

from __future__ import annotations

from typing import ClassVar

from splittraining.api.exit_codes import ExitCode


class SplitTrainingError(Exception):
    """A named error with a remedy.

    Args:
        given: What was found, with its place and value.
        allowed: What would have been accepted.
        remedy: What the reader should do next.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL

    def __init__(self, given: str, *, allowed: str = "", remedy: str = "") -> None:
        self.given = given
        self.allowed = allowed
        self.remedy = remedy
        super().__init__(given)

    @property
    def reason(self) -> str:
        """The error's name as conditions, events and reports show it."""
        return type(self).__name__

    def __str__(self) -> str:
        parts = [self.given]
        if self.allowed:
            parts.append(f"Allowed: {self.allowed}")
        if self.remedy:
            parts.append(f"To do: {self.remedy}")
        return " ".join(part if part.endswith((".", "?", "!")) else f"{part}." for part in parts)


class SpecInvalid(SplitTrainingError):
    """A manifest that cannot be run as it stands."""

    exit_code = ExitCode.SPEC_INVALID


class DataInvalid(SplitTrainingError):
    """Data that is not what the manifest says."""

    exit_code = ExitCode.DATA_INVALID


class ModelInvalid(SplitTrainingError):
    """A model that cannot be built, traced or cut as asked."""

    exit_code = ExitCode.MODEL_INVALID


class ContractMismatch(SplitTrainingError):
    """Two parties hold different contracts or wire plans."""

    exit_code = ExitCode.CONTRACT_MISMATCH


class IdentityRefused(SplitTrainingError):
    """A certificate, name or TLS session that is not the one expected."""

    exit_code = ExitCode.IDENTITY_REFUSED


class NumericsInvalid(SplitTrainingError):
    """A value that is not a finite number where training needs one, or numerics that cannot be exact."""

    exit_code = ExitCode.NUMERICS


class ProtocolViolation(SplitTrainingError):
    """A frame that the protocol does not allow here."""

    exit_code = ExitCode.PROTOCOL


class StorageFailed(SplitTrainingError):
    """A file that could not be written or read back."""

    exit_code = ExitCode.STORAGE


class DeviceUnavailable(SplitTrainingError):
    """A device that was asked for and is not there."""

    exit_code = ExitCode.DEVICE_UNAVAILABLE


class ModelCodeFailed(SplitTrainingError):
    """The user's own model, loss or loader code raised."""

    exit_code = ExitCode.MODEL_CODE


class NotSupported(SplitTrainingError):
    """A value of the API that this version does not run yet."""

    exit_code = ExitCode.NOT_SUPPORTED


class Preempted(SplitTrainingError):
    """The party was asked to stop in the middle."""

    exit_code = ExitCode.PREEMPTED


class PeerLost(SplitTrainingError):
    """A peer's connection ended without a Goodbye."""

    exit_code = ExitCode.PEER_LOST


class PeerFailed(SplitTrainingError):
    """Another party ended with an error of its own."""

    exit_code = ExitCode.PEER_FAILED


class StartTimeout(SplitTrainingError):
    """Not every party came in time."""

    exit_code = ExitCode.START_TIMEOUT


class Stalled(SplitTrainingError):
    """A party is connected and makes no progress."""

    exit_code = ExitCode.STALLED


class NetworkOpen(SplitTrainingError):
    """A connection that network policies must forbid is open."""

    exit_code = ExitCode.NETWORK_OPEN


class OutOfMemory(SplitTrainingError):
    """An allocation failed."""

    exit_code = ExitCode.OUT_OF_MEMORY
