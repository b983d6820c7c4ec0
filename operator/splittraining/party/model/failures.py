"""Where the user's own code stands in a traceback, and how its failures are told."""

from __future__ import annotations

import linecache
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

import splittraining
from splittraining.api.errors import ModelCodeFailed, NumericsInvalid, OutOfMemory, SplitTrainingError
from splittraining.party.allocations import is_allocation_failure

_NOT_DETERMINISTIC = " does not have a deterministic implementation"
"""How PyTorch says it, after the operation's name; most such operations are those of a GPU's backward pass."""

_FOREIGN_FOLDERS = tuple(
    str(Path(str(package.__file__)).resolve().parent) + os.sep for package in (torch, splittraining)
)


def is_user_file(filename: str) -> bool:
    """Returns whether a code file is neither torch's nor this project's nor generated."""
    return not filename.startswith("<") and not filename.startswith(_FOREIGN_FOLDERS)


def render_place(error: BaseException) -> str:
    """Renders file, line and source text of the deepest frame of the user's code, or nothing where there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: `{(error.text or '').strip()}`"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_user_file(frame.filename)]
    return f"{frames[-1].filename}, line {frames[-1].lineno}: `{frames[-1].line}`" if frames else ""


def render_current_place() -> str:
    """Renders file, line and source text of the innermost frame of the user's code on the stack of the caller."""
    frame = sys._getframe(1)  # noqa: SLF001 - inspect.stack() would read every source file, for every node
    while frame is not None:
        if is_user_file(frame.f_code.co_filename):
            text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
            return f"{frame.f_code.co_filename}, line {frame.f_lineno}: `{text}`"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def render_error(error: BaseException) -> str:
    """Renders type and first line of an error: torch's messages go on for pages."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


@contextmanager
def explain_user_code(
    what: str, *, remedy: str = "repair the code at that line", has_data: bool = False
) -> Iterator[None]:
    """Turns whatever the user's code raises inside the block into an error that names its place.

    Args:
        what: What the code was doing, such as ``the model's factory x:build``.
        remedy: What the reader should do.
        has_data: Whether rows are at hand. The error's own text may then hold some of them and is not told: what this
            error says travels to other parties. The party's own log has it.

    Raises:
        ModelCodeFailed: if the block raises anything but an error of ours.
        NumericsInvalid: if an operation has no deterministic form.
        OutOfMemory: if an allocation failed.
    """
    try:
        with explain_determinism(what):
            yield
    except SplitTrainingError:
        raise
    except Exception as error:
        if is_allocation_failure(error):
            raise OutOfMemory(
                f"{what} ran out of memory",
                remedy="give the party more memory, or make batchSize or the model smaller",
            ) from error
        told = type(error).__name__ if has_data else render_error(error)
        raise ModelCodeFailed(f"{what} raised {told}{_render_where(error)}", remedy=remedy) from error


@contextmanager
def explain_determinism(what: str) -> Iterator[None]:
    """Names an operation that PyTorch refuses because it has no deterministic form; other errors stay what they are.

    Args:
        what: What the code was doing.

    Raises:
        NumericsInvalid: with the operation, which holds no data.
    """
    try:
        yield
    except RuntimeError as error:
        operation, is_told, _ = str(error).partition(_NOT_DETERMINISTIC)
        if not is_told:
            raise
        raise NumericsInvalid(
            f"{what} uses {operation}{_render_where(error)}, which has no deterministic form on this device",
            allowed="operations that give the same bits every time, where numerics.mode is Exact",
            remedy="take another operation, or device: CPU at this party",
        ) from error


def _render_where(error: BaseException) -> str:
    place = render_place(error)
    return f" at {place}" if place else ""
