"""One way to run a command to its end, and to say which one failed and what it said."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from cluster.refusal import ClusterRefused

_SHOWN_WORDS = 4


def run_command(
    command: Sequence[str], *, inside: Sequence[str] = (), text: str = "", environment: Mapping[str, str] | None = None
) -> str:
    """Runs a command and returns what it printed.

    Args:
        command: The command.
        inside: What goes before it, and says nothing to a reader: how to enter a node, for example.
        text: What it reads.
        environment: Its variables, by default this process's own.

    Raises:
        ClusterRefused: It failed; the message has what it said.
    """
    try:
        done = subprocess.run(
            [*inside, *command], input=text, capture_output=True, text=True, env=environment, check=False
        )
    except OSError as error:
        raise ClusterRefused(f"{command[0]}: {error.strerror}. To do: install what has it") from error
    if done.returncode != 0:
        shown = " ".join(command[:_SHOWN_WORDS])
        raise ClusterRefused(f"`{shown}` ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
