"""How a run ended: one party's error is the cause, the others only followed it."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass

from splittraining.api.exit_codes import REMEDIES, ExitCode

KILLED = "Killed"
"""Reason of a party that a signal ended: it could not say anything itself."""

_CONSEQUENCES: dict[int, int] = {
    # What a party meets because of another one, from the most to the least telling.
    ExitCode.STALLED: 1,
    ExitCode.START_TIMEOUT: 1,
    ExitCode.PEER_LOST: 2,  # it met the end of the other one itself
    ExitCode.PEER_FAILED: 3,  # it was told of it
    ExitCode.PREEMPTED: 4,
}
_MADE_TO_STOP = 5


@dataclass(frozen=True, slots=True)
class PartyEnd:
    """How one party's process ended, in the order of ends."""

    party: str
    exit_code: int
    reason: str = ""
    message: str = ""
    made_to_stop: bool = False
    """Whether it ended because the command told it to, after another party's end or the user's wish."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the run ended."""

    exit_code: int
    reason: str = ""
    party: str = ""
    message: str = ""
    remedy: str = ""


def describe_end(
    party: str, process_exit_code: int, *, reason: str = "", message: str = "", stderr: str = "", made_to_stop: bool
) -> PartyEnd:
    """Describes the end of a party's process in the documented exit codes.

    Args:
        party: Its name.
        process_exit_code: As the system gives it: negative for a signal.
        reason: What the party itself wrote last, or empty.
        message: The same.
        stderr: The last line it wrote to stderr, for a party that had no time to say more.
        made_to_stop: Whether the command told it to stop.
    """
    if process_exit_code == 0:
        return PartyEnd(party, 0)
    if process_exit_code < 0:
        return _describe_signal(party, -process_exit_code, made_to_stop=made_to_stop)
    code = process_exit_code
    return PartyEnd(
        party,
        code,
        reason or _name_code(code),
        message
        or (f"the process ended without a word; its last line on stderr is: {stderr}" if stderr else "")
        or "the process ended without a word",
        made_to_stop,
    )


def decide_outcome(ends: Sequence[PartyEnd], *, interrupted: bool) -> Outcome:
    """Decides what the command says and exits with.

    Args:
        ends: The end of every party, the first to end first.
        interrupted: Whether the user asked to stop while parties were running.
    """
    failed = [end for end in ends if end.exit_code != ExitCode.OK]
    cause = min(failed, key=_rank, default=None)
    if interrupted and (cause is None or _rank(cause) >= _CONSEQUENCES[ExitCode.PEER_LOST]):
        if cause is None:  # all had finished by themselves before they heard of it
            return Outcome(ExitCode.OK)
        return Outcome(
            ExitCode.INTERRUPTED,
            "Interrupted",
            message="the run was interrupted; it cannot be taken up again yet",
            remedy=REMEDIES[ExitCode.INTERRUPTED],
        )
    if cause is None:
        return Outcome(ExitCode.OK)
    return Outcome(cause.exit_code, cause.reason, cause.party, cause.message, _find_remedy(cause))


def _rank(end: PartyEnd) -> int:
    return _MADE_TO_STOP if end.made_to_stop else _CONSEQUENCES.get(end.exit_code, 0)


def _describe_signal(party: str, number: int, *, made_to_stop: bool) -> PartyEnd:
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    if number == signal.SIGTERM:
        return PartyEnd(party, ExitCode.PREEMPTED, "Preempted", f"was ended by {name}", made_to_stop)
    why = ""
    if number == signal.SIGKILL and not made_to_stop:
        why = ": the machine ran out of memory, or somebody killed it"
    return PartyEnd(party, 128 + number, KILLED, f"was killed (signal {number}, {name}){why}", made_to_stop)


def _name_code(code: int) -> str:
    try:
        name = ExitCode(code).name
    except ValueError:
        return "Unknown"
    return "".join(part.capitalize() for part in name.split("_"))


def _find_remedy(end: PartyEnd) -> str:
    # A party's own message already ends with what to do about it.
    if "To do:" in end.message:
        return ""
    try:
        return REMEDIES[ExitCode(end.exit_code)]
    except ValueError:
        return REMEDIES[ExitCode.INTERNAL] if end.reason != KILLED else f"Look at the log of {end.party}."
