"""Commands that fail, told by name."""

from __future__ import annotations

import pytest

from cluster.commands import run_command
from cluster.refusal import ClusterRefused


def test_what_a_command_prints_is_returned():
    assert run_command(["tr", "a-z", "A-Z"], inside=["env"], text="abc") == "ABC"


def test_a_command_that_is_not_there_is_told_by_name():
    with pytest.raises(ClusterRefused, match=r"no-such-command-here: No such file.*To do: install"):
        run_command(["no-such-command-here"])


def test_a_command_that_fails_is_told_with_what_it_said_and_not_with_how_it_was_entered():
    with pytest.raises(ClusterRefused, match=r"^`cat /no/such/file` ended with 1: .*No such file"):
        run_command(["cat", "/no/such/file"], inside=["env", "LC_ALL=C"])
