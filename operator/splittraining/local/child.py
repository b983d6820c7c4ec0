"""The first code of ours in a party's process. Standard library only: the party itself is imported by name, here."""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_ORPHANED = 137
"""As if killed: there is nobody left to read it."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a new process is to do.

    Args:
        target: Import path of a function that returns an exit code, as `package.module:function`.
        arguments: Its positional arguments.
        keywords: Its keyword arguments.
        stderr_path: File that receives what the process writes to stderr.
        stdout_path: The same for stdout; empty means stderr's file.
    """

    target: str
    arguments: tuple[object, ...] = ()
    keywords: Mapping[str, object] = field(default_factory=dict)
    stderr_path: str = os.devnull
    stdout_path: str = ""


def follow_order(order: Order) -> None:
    """Runs the target in this process, which ends with the target's exit code."""
    gc.disable()
    _end_with_the_command()
    # Ctrl-C reaches every process of the terminal's group; what it means is for the command to decide.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _redirect(order)
    module, _, name = order.target.partition(":")
    function: Callable[..., int] = getattr(importlib.import_module(module), name)
    # What came by the fork and what was imported stays: the garbage collector's visits would take a fifth of the time
    # of the imports, and copy every page that is shared.
    gc.freeze()
    gc.enable()
    sys.exit(function(*order.arguments, **order.keywords))


def _end_with_the_command() -> None:
    """Ends this process at once when the command dies, even by kill -9: its end of a pipe closes."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # this function only runs in processes that the launcher started
    lifeline = parent.sentinel

    def watch() -> None:
        multiprocessing.connection.wait([lifeline])
        os._exit(_ORPHANED)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def _redirect(order: Order) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    _point(2, order.stderr_path)
    _point(1, order.stdout_path or order.stderr_path)


def _point(descriptor: int, path: str) -> None:
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(target, descriptor)
    os.close(target)
