"""The run folder: what the command writes for the parties, and what the parties leave for a person.

runs/<name>/
    run.lock          held by the command while it lives; says that the folder is a run's
    run.json          the record of the run
    report.md         the same for people
    command.log       what the intake refused, where it refused anything
    intake.pem        what the intake's own certificate chains to
    source/           the model's files, as the contract's digest names them
    predictions/      a run of its own that predicts (`splittraining predict`): the same layout with prediction.json
                      as its record, and predictions.npz at the parties where labels would be
    <party>/          party.json, token (gone once the run is over), stderr.log; and the party's own log.jsonl,
                      metrics.jsonl, termination.json, plan.json, result/segments.safetensors, result/manifest.json
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from splittraining.api.errors import StorageFailed
from splittraining.api.usage import UsageInvalid

LOCK_FILE = "run.lock"
RECORD_FILE = "run.json"
PREDICTIONS_FOLDER = "predictions"
PREDICTION_RECORD_FILE = "prediction.json"
REPORT_FILE = "report.md"
LOG_FILE = "command.log"
TRUST_FILE = "intake.pem"
SOURCE_FOLDER = "source"
DOCUMENT_FILE = "party.json"
TOKEN_FILE = "token"  # noqa: S105 - a file name
STDERR_FILE = "stderr.log"
TERMINATION_FILE = "termination.json"
METRICS_FILE = "metrics.jsonl"
PLAN_FILE = "plan.json"


class Workspace:
    """One run's folder, held for as long as the command runs. Close it to let the next run have it.

    Args:
        folder: The run folder; made if it is not there.
        restart: Whether an earlier run's results may be deleted.
        flag: The flag that names another folder, for messages.

    Raises:
        UsageInvalid: if an earlier run is there and `restart` is not given, if another command runs in it, or if the
            folder holds something else.
        StorageFailed: if it cannot be written.
    """

    def __init__(self, folder: Path, *, restart: bool, flag: str = "--runs") -> None:
        self.folder = folder
        taken = folder.exists() and any(entry.name != LOCK_FILE for entry in folder.iterdir())
        if taken and not (folder / LOCK_FILE).is_file():
            raise UsageInvalid(
                f"{folder} is there and is not a run folder",
                allowed="a folder of an earlier run, or none",
                remedy=f"give another folder with {flag}",
            )
        if taken and not restart:
            raise UsageInvalid(
                f"{folder} holds an earlier run, and going on with one is not possible yet",
                remedy=f"add --restart to delete it and start over, or give another folder with {flag}",
            )
        with naming_the_path(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _acquire_lock(folder)
            self._clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._lock)

    def write_source(self, files: Mapping[str, bytes]) -> Path:
        """Writes the model's source files and returns their folder."""
        folder = self.folder / SOURCE_FOLDER
        with naming_the_path(folder):
            folder.mkdir()
        for name, content in files.items():
            write_file(folder / name, content)
        return folder

    def write_trust(self, pem: bytes) -> Path:
        """Writes what the intake's certificate chains to and returns the path."""
        path = self.folder / TRUST_FILE
        write_file(path, pem)
        return path

    def create_party(self, party: str) -> Path:
        """Makes the folder that is one party's volume, for the user alone, and returns it."""
        folder = self.folder / party
        with naming_the_path(folder):
            folder.mkdir(mode=0o700)
        return folder

    def write_document(self, party: str, document: bytes) -> Path:
        """Writes a party document and returns its path."""
        path = self.folder / party / DOCUMENT_FILE
        write_file(path, document)
        return path

    def delete_token(self, party: str) -> None:
        """Deletes a party's token, if it is still there: it has been used, or nobody may use it any more."""
        (self.folder / party / TOKEN_FILE).unlink(missing_ok=True)

    def _clear(self) -> None:
        for entry in self.folder.iterdir():
            if entry.name == LOCK_FILE:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def write_file(path: Path, content: bytes) -> None:
    """Writes a file.

    Raises:
        StorageFailed: if the disk is full or the folder cannot be written.
    """
    with naming_the_path(path):
        path.write_bytes(content)


def replace_file(path: Path, content: bytes) -> None:
    """Replaces a file of the user's: the old one stays whole until the new one is.

    Raises:
        StorageFailed: if the disk is full or the folder cannot be written.
    """
    target = path.resolve()  # a link stays a link
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        write_file(temporary, content)
        with naming_the_path(target):
            shutil.copymode(target, temporary)
            temporary.replace(target)
    finally:
        with contextlib.suppress(OSError):  # the first error is the one to tell
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming_the_path(path: Path) -> Iterator[None]:
    """Turns an operating system's error into one that says which path could not be written, and what to do."""
    try:
        yield
    except OSError as error:
        raise StorageFailed(
            f"{error.filename or path} cannot be written: {error.strerror or error}",
            allowed="a writable folder with free space",
            remedy="free space, or give another folder with --runs",
        ) from error


def _acquire_lock(folder: Path) -> int:
    lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise UsageInvalid(
            f"another command is running in {folder}", remedy="wait for it to end, or give another folder with --runs"
        ) from error
    return lock
