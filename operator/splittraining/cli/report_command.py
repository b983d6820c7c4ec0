"""`splittraining report`: the report of a finished run, rendered again from its folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from splittraining.api.exit_codes import ExitCode
from splittraining.local.results import rewrite_report


def execute(arguments: argparse.Namespace) -> int:
    """Prints the report, and writes it into the run folder."""
    path = rewrite_report(find_run_folder(arguments.run, arguments.runs))
    sys.stdout.write(path.read_text(encoding="utf-8"))
    return ExitCode.OK


def find_run_folder(name_or_folder: str, runs_folder: Path) -> Path:
    """Returns the folder that a person means: a run of that name where there is one, else the folder itself."""
    named = runs_folder / name_or_folder
    return named if named.is_dir() else Path(name_or_folder)
