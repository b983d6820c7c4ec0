"""How a party ends: whatever happens becomes a named error, an exit code and a last word."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from splittraining.api.errors import OutOfMemory, Preempted, SplitTrainingError, StorageFailed
from splittraining.api.exit_codes import REMEDIES, ExitCode
from splittraining.party.allocations import is_allocation_failure
from splittraining.party.training.results import write_termination


class Unexpected(SplitTrainingError):
    """A fault of this project."""


def catch(action: Callable[[], None]) -> SplitTrainingError | None:
    """Runs something and returns what ended it as an error with an exit code, or None."""
    try:
        action()
    except SplitTrainingError as error:
        return error
    except Exception as error:  # noqa: BLE001 - the last resort: whatever it is, it must become a sentence and an exit code
        named = _name_error(error)
        named.__cause__ = error
        return named
    return None


def _name_error(error: Exception) -> SplitTrainingError:
    if is_allocation_failure(error):
        return OutOfMemory("an allocation failed", remedy=REMEDIES[ExitCode.OUT_OF_MEMORY])
    # Only what and where: the error's own text may hold data, and this sentence travels. The own log has the text.
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno} in {last.name}"
    return Unexpected(f"{type(error).__name__} at {place}", remedy=REMEDIES[ExitCode.INTERNAL])


class Preemption:
    """Turns SIGTERM into Preempted, raised where the party is; a party that is ending anyway takes no notice of it."""

    def __init__(self) -> None:
        self._armed = True
        signal.signal(signal.SIGTERM, self._preempt)

    def disarm(self) -> None:
        """Lets the party tell how it ended without being disturbed."""
        self._armed = False

    def _preempt(self, _number: int, _frame: FrameType | None) -> None:
        if self._armed:
            self._armed = False
            raise Preempted("the party was asked to stop", remedy=REMEDIES[ExitCode.PREEMPTED])


def terminate(paths: Sequence[Path], code: ExitCode, reason: str, message: str, *, debug: bool) -> int:
    """Writes how the party ended to each path and returns the exit code.

    Args:
        paths: The party's own file, and a cluster's where there is one.
        code: The exit code.
        reason: The error's name, or ``Finished``.
        message: A sentence for people.
        debug: Whether a traceback is shown where a path cannot be written.
    """
    for path in paths:
        try:
            write_termination(path, code=code, reason=reason, message=message)
        except StorageFailed as error:
            show(error, debug=debug)
            # A result whose last word is lost is not a success; the next path, if any, is told so.
            code, reason, message = (code, reason, message) if code else (error.exit_code, error.reason, str(error))
    return code


def show(error: SplitTrainingError, *, debug: bool) -> None:
    """Writes an error to stderr."""
    if debug:
        traceback.print_exception(error)
    sys.stderr.write(f"error: {error}\n")
