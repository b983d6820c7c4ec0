"""A start that takes its time can be taken, given up, or fail; no process is lost."""

from __future__ import annotations

import multiprocessing.connection
import threading

import pytest

from splittraining.local.launcher import Starting


class Process:
    """What a start returns, as far as it is touched."""

    def __init__(self) -> None:
        self.is_killed = threading.Event()

    def kill(self) -> None:
        self.is_killed.set()


def wait_for(starting: Starting) -> None:
    assert multiprocessing.connection.wait([starting.fileno()], timeout=20)


def test_it_is_ready_when_the_process_runs_and_not_before():
    process, may_run = Process(), threading.Event()
    starting = Starting(lambda: may_run.wait() and process)
    assert multiprocessing.connection.wait([starting.fileno()], timeout=0) == []
    may_run.set()
    wait_for(starting)
    assert starting.take() is process
    assert not process.is_killed.is_set()


def test_one_that_is_given_up_is_killed_as_soon_as_it_runs():
    process, may_run = Process(), threading.Event()
    starting = Starting(lambda: may_run.wait() and process)
    assert starting.give_up() is None
    may_run.set()
    assert process.is_killed.wait(20)


def test_one_that_runs_when_it_is_given_up_is_handed_over():
    process = Process()
    starting = Starting(lambda: process)
    wait_for(starting)
    assert starting.give_up() is process


def test_a_start_that_fails_is_ready_and_says_why():
    def fail() -> Process:
        raise EOFError("unexpected EOF")

    starting = Starting(fail)
    wait_for(starting)
    with pytest.raises(EOFError, match="unexpected EOF"):
        starting.take()


def test_a_start_that_fails_leaves_nothing_to_give_up():
    def fail() -> Process:
        raise EOFError

    starting = Starting(fail)
    wait_for(starting)
    assert starting.give_up() is None
