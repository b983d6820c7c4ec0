"""`splittraining fetch`: a party's weights, metrics and log, copied from its output volume and checked."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from splittraining.api.errors import StorageFailed
from splittraining.api.exit_codes import ExitCode
from splittraining.api.results import OUTPUT_PATHS, SEGMENTS_PATH
from splittraining.api.usage import ClusterFailed, UsageInvalid
from splittraining.cli.claims import Wanted, find_volume
from splittraining.cli.parcel import AnnouncedFile, receive_files
from splittraining.cli.reach import Api, use_cluster
from splittraining.cli.reader_pod import CONTAINER, Volume, build_command, reader_pod
from splittraining.cli.result_check import check_result
from splittraining.cli.tame import tame_line
from splittraining.cluster.streams import STDERR, STDOUT
from splittraining.report.markdown import render_size

SILENCE_S = 60.0
_MOST_COMPLAINT_BYTES = 2000


class Meter(Protocol):
    """Shows how far a transfer is."""

    def announce(self, total: int) -> None:
        """Takes in how many bytes are to come."""

    def advance(self, count: int) -> None:
        """Takes in how many have come since."""


class ProgressMeter:
    """A bar on a terminal, nothing elsewhere.

    Args:
        progress: Draws it.
        label: What is fetched.
    """

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=None)

    def announce(self, total: int) -> None:
        """Takes in how many bytes are to come."""
        self._progress.update(self._task, total=total)

    def advance(self, count: int) -> None:
        """Takes in how many have come since."""
        self._progress.advance(self._task, count)


def execute(arguments: argparse.Namespace) -> int:
    """Fetches the files and says what they are."""
    folder = (arguments.output or Path("runs") / arguments.name / arguments.party).resolve()
    check_folder(folder)
    console = Console()
    wanted = Wanted(arguments.name, arguments.party, arguments.image)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        meter = ProgressMeter(progress, f"{arguments.name}/{arguments.party}")
        lines = use_cluster(arguments, partial(fetch, wanted=wanted, folder=folder, meter=meter))
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return ExitCode.OK


async def fetch(api: Api, namespace: str, *, wanted: Wanted, folder: Path, meter: Meter) -> list[str]:
    """Fetches a party's files into a folder, which is there afterwards with all of them or not at all.

    Returns:
        What to tell: the files, and what the weights are.

    Raises:
        ClusterFailed: if the volume cannot be read.
        StorageFailed: if the folder cannot be written, or the weights are damaged.
        ContractMismatch: if the weights are not those of this training.
    """
    found = await find_volume(api, namespace, wanted, notices=sys.stderr)
    parent = _make_parent(folder)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=parent))
    try:
        async with reader_pod(api, found.volume) as pod:
            files = await _transfer(api, found.volume, pod, temporary, meter)
        if not files:
            raise UsageInvalid(
                f"the volume of {wanted.party} holds nothing yet",
                allowed=f"once the party has started: {', '.join(OUTPUT_PATHS)}",
                remedy=f"`kubectl splittraining status {wanted.training}` says what it waits for",
            )
        lines = _check(temporary, files, wanted.party, found.contract_digest)
        _put_in_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return [*lines, f"In {folder}"]


def check_folder(folder: Path) -> None:
    """Refuses a folder that holds something: what is fetched is not to be mixed with what was there.

    Raises:
        UsageInvalid: if it is there and not an empty folder.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        raise UsageInvalid(
            f"{folder} is there already", allowed="a new or empty folder", remedy="choose another one with -o FOLDER"
        )


async def _transfer(api: Api, volume: Volume, pod: str, folder: Path, meter: Meter) -> list[AnnouncedFile]:
    complaint = bytearray()
    async with api.run(
        volume.namespace, pod, build_command(OUTPUT_PATHS), container=CONTAINER, silence_s=SILENCE_S
    ) as messages:
        try:
            return await receive_files(
                _take_stdout(messages, complaint),
                folder,
                OUTPUT_PATHS,
                free_bytes=shutil.disk_usage(folder).free,
                announce=meter.announce,
                advance=meter.advance,
            )
        except ClusterFailed as error:
            said = tame_line(complaint.decode(errors="replace"))
            if said:
                raise ClusterFailed(f"{error.given}; the reader said: {said}", remedy=error.remedy) from error
            raise


async def _take_stdout(messages: AsyncIterator[tuple[int, bytes]], complaint: bytearray) -> AsyncIterator[bytes]:
    async for channel, data in messages:
        if channel == STDOUT:
            yield data
        elif channel == STDERR:
            complaint += data[: _MOST_COMPLAINT_BYTES - len(complaint)]


def _check(folder: Path, files: list[AnnouncedFile], party: str, contract_digest: str) -> list[str]:
    manifest = check_result(folder, party=party, contract_digest=contract_digest)
    lines = [f"{file.path}  {render_size(file.size)}" for file in files]
    if manifest is not None:
        checked = "" if contract_digest else " (which contract the training had is not known any more)"
        return [
            *lines,
            f"Weights of {party}: {len(manifest.tensors)} tensors after step {manifest.step}, as their manifest says",
            f"Contract {manifest.contract_digest}{checked}",
        ]
    if (folder / SEGMENTS_PATH).exists():
        # A manifest is written after its weights: without one nobody knows whether they are whole.
        (folder / SEGMENTS_PATH).unlink()
        lines = [line for line in lines if not line.startswith(SEGMENTS_PATH)]
        return [*lines, f"Weights of {party}: left out, their manifest is missing: the party did not finish writing"]
    return [*lines, f"Weights of {party}: none yet, they are written at the end of the training"]


def _make_parent(folder: Path) -> Path:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFailed(
            f"{folder.parent} cannot be made: {error.strerror or error}", remedy="choose another folder with -o"
        ) from error
    return folder.parent


def _put_in_place(temporary: Path, folder: Path) -> None:
    try:
        temporary.chmod(0o755)
        temporary.replace(folder)
    except OSError as error:
        raise StorageFailed(
            f"{folder} cannot be made: {error.strerror or error}", remedy="choose another folder with -o"
        ) from error
