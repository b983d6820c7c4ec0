"""The ``splittraining-party`` command: deaf to nothing from its first instruction on, then all of `main`.

Importing PyTorch takes seconds. As process 1 of a container a party that has no handler of its own yet would not hear
SIGTERM at all (the kernel gives process 1 no default actions), would be killed after the grace period, and that would
read as memory that ran out.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from splittraining.api.exit_codes import ExitCode
from splittraining.party.lasting import without_collections


def main() -> NoReturn:
    """Runs the command line and ends this process with its exit code."""
    signal.signal(signal.SIGTERM, _stop_at_once)
    with without_collections(for_good=True):
        from splittraining.party.main import main as run_command_line  # noqa: PLC0415 - what takes seconds, once SIGTERM is heard

    code = run_command_line()
    sys.stdout.flush()
    sys.stderr.flush()
    # At once: all is written and closed, and taking PyTorch's objects apart one by one is another second.
    os._exit(code)


def _stop_at_once(_number: int, _frame: FrameType | None) -> None:
    # No exception: in the middle of an import it would pass through the hands of whatever is being imported.
    os.write(2, b"error: Preempted: the party was asked to stop before it had begun.\n")
    os._exit(ExitCode.PREEMPTED)


if __name__ == "__main__":
    main()
