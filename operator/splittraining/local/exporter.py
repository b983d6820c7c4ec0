"""Results as a state dict: read, checked and merged by the party's own code, in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from splittraining.api.results import ExportReport
from splittraining.api.usage import UsageInvalid
from splittraining.local.alone import run_alone
from splittraining.local.launcher import EXPORT_TARGET, Launcher
from splittraining.local.leftovers import read_record
from splittraining.local.workspace import RECORD_FILE


def find_party_folders(path: Path) -> list[Path]:
    """Returns the parties' folders that a path stands for: those of a run, else the folder itself.

    Raises:
        UsageInvalid: if it is no folder.
    """
    if not path.is_dir():
        raise UsageInvalid(
            f"{path} is not a folder",
            allowed="the folder of a run, such as runs/NAME, or of a party, such as runs/NAME/PARTY",
            remedy="correct the path",
        )
    if (path / RECORD_FILE).is_file():
        return [path / party.name for party in read_record(path).parties]
    return [path]


def export_results(
    folders: Sequence[Path],
    output: Path,
    *,
    client: str = "",
    launcher: Launcher | None = None,
    debug: bool = False,
) -> ExportReport:
    """Writes the results of one or several parties as one state dict.

    Args:
        folders: In the layout of a party's volume: one for its own segments, all owners' for the whole model.
        output: The file to write; must not be there.
        client: Of clients that hold the same segments, the one whose values the whole model has; empty for no choice.
        launcher: Starts the process; by default one that imports nothing beforehand, since nothing else follows.
        debug: Whether the error carries what the process wrote, tracebacks included, as a note.

    Raises:
        UsageInvalid: if the file is there, or its folder is not.
        SplitTrainingError: whatever the process ended with.
    """
    if output.exists() or not output.parent.is_dir():
        what = "is there already" if output.exists() else "is in a folder that is not there"
        raise UsageInvalid(
            f"{output} {what}", allowed="a new file in an existing folder", remedy="choose another one with -o FILE"
        )
    with tempfile.TemporaryDirectory(prefix="splittraining-export-") as name:
        printed = run_alone(
            "export",
            EXPORT_TARGET,
            ([str(folder.resolve()) for folder in folders], str(output.resolve()), client),
            folder=Path(name),
            launcher=launcher or Launcher(preload=()),
            debug=debug,
        )
    return ExportReport.model_validate_json(printed)
