import signal

import pytest

from splittraining.api.exit_codes import ExitCode
from splittraining.local.outcome import PartyEnd, decide_outcome, describe_end


def end(party, code, *, made_to_stop=False):
    return PartyEnd(party, code, f"Reason{code}", f"message of {party}", made_to_stop)


CASES = {
    "all succeeded": ([end("server", 0), end("a", 0)], 0, ""),
    "the one with an error of its own is the cause, though it ended last": (
        [end("server", 77), end("b", 76), end("a", 65)],
        65,
        "a",
    ),
    "the first of two own errors is the cause": ([end("b", 66), end("a", 65)], 66, "b"),
    "a killed party is the cause, not those that lost it": ([end("server", 76), end("a", 137)], 137, "a"),
    "a failed party wins over the server that waited for it": ([end("server", 78), end("a", 65)], 65, "a"),
    "a stall wins over those that heard of it": ([end("a", 77), end("server", 79)], 79, "server"),
    "who lost a peer knows more than who was told of it": ([end("a", 77), end("server", 76)], 76, "server"),
    "a party that was killed for not following is never the cause": (
        [end("server", 76), end("a", 137, made_to_stop=True)],
        76,
        "server",
    ),
    "a party that somebody else preempted": ([end("a", 75), end("server", 77)], 77, "server"),
}


@pytest.mark.parametrize(("ends", "code", "party"), CASES.values(), ids=CASES.keys())
def test_the_cause_of_a_run_is_the_party_whose_error_is_its_own(ends, code, party):
    outcome = decide_outcome(ends, interrupted=False)
    assert (outcome.exit_code, outcome.party) == (code, party)


def test_an_interrupted_run_says_how_to_start_over():
    ends = [end("server", 75, made_to_stop=True), end("a", 77, made_to_stop=True)]
    outcome = decide_outcome(ends, interrupted=True)
    assert outcome.exit_code == ExitCode.INTERRUPTED
    assert "--restart" in outcome.remedy


def test_a_run_that_failed_before_it_was_interrupted_shows_the_failure():
    outcome = decide_outcome([end("a", 65), end("server", 75, made_to_stop=True)], interrupted=True)
    assert outcome.exit_code == ExitCode.DATA_INVALID


def test_a_run_that_finished_before_it_heard_of_the_interrupt_succeeded():
    assert decide_outcome([end("a", 0), end("server", 0)], interrupted=True).exit_code == ExitCode.OK


def test_the_partys_own_last_word_is_kept():
    described = describe_end("a", 65, reason="DataInvalid", message="no column", made_to_stop=False)
    assert described == PartyEnd("a", 65, "DataInvalid", "no column", made_to_stop=False)


def test_a_party_without_a_last_word_is_described_by_its_code_and_its_last_line():
    described = describe_end("a", 71, stderr="Disk is full", made_to_stop=False)
    assert described.reason == "Storage"
    assert "Disk is full" in described.message


@pytest.mark.parametrize(
    ("number", "code", "reason", "message"),
    [
        (signal.SIGKILL, 137, "Killed", "ran out of memory, or somebody killed it"),
        (signal.SIGSEGV, 139, "Killed", "SIGSEGV"),
        (signal.SIGTERM, 75, "Preempted", "SIGTERM"),
        (signal.SIGRTMIN + 1, 128 + signal.SIGRTMIN + 1, "Killed", "signal"),
    ],
)
def test_a_signal_becomes_a_documented_code(number, code, reason, message):
    described = describe_end("a", -number, made_to_stop=False)
    assert (described.exit_code, described.reason) == (code, reason)
    assert message in described.message


def test_a_party_that_the_command_killed_is_not_said_to_have_run_out_of_memory():
    assert "memory" not in describe_end("a", -signal.SIGKILL, made_to_stop=True).message


def test_a_remedy_that_the_message_gives_is_not_given_twice():
    outcome = decide_outcome([PartyEnd("a", 65, "DataInvalid", "Bad. To do: mend it.")], interrupted=False)
    assert outcome.remedy == ""
    assert decide_outcome([PartyEnd("a", 65, "DataInvalid", "Bad.")], interrupted=False).remedy
