"""`splittraining run`: a training on this machine, shown while it lasts."""

from __future__ import annotations

import argparse
import contextlib
import sys

from rich.console import Console

from splittraining.api.exit_codes import ExitCode
from splittraining.cli.views import choose_view
from splittraining.local.manifest import load_manifest
from splittraining.local.outcome import Outcome
from splittraining.local.runner import RunRequest, run_training
from splittraining.local.signals import StopWish, Wakeup, heed_signals
from splittraining.local.volumes import parse_pairs
from splittraining.local.workspace import STDERR_FILE
from splittraining.report.markdown import render_duration


def execute(arguments: argparse.Namespace) -> int:
    """Runs the manifest and returns the exit code of whatever ended it."""
    sources = parse_pairs(arguments.source, flag="--source", meaning="NAME")
    request = RunRequest(
        manifest=load_manifest(arguments.filename, source_folders=sources),
        runs_folder=arguments.runs,
        volumes=parse_pairs(arguments.volume, flag="--volume", meaning="CLAIM"),
        restart=arguments.restart,
        debug=arguments.debug,
    )
    console = Console()
    with contextlib.closing(Wakeup()) as wakeup:
        wish = StopWish(wakeup)
        with heed_signals(wish), choose_view(console) as view:
            result = run_training(request, emit=view.show, wakeup=wakeup, wish=wish)
    if result.outcome.exit_code == ExitCode.OK:
        elapsed = render_duration(result.record.elapsed_milliseconds / 1000)
        console.print(f"Succeeded in {elapsed}.", style="green", highlight=False)
    else:
        if request.debug and result.outcome.party:
            sys.stderr.write((result.folder / result.outcome.party / STDERR_FILE).read_text(encoding="utf-8"))
        sys.stderr.write(f"error: {render_outcome(result.outcome)}\n")
    console.print(f"Results in {result.folder}, report in {result.folder}/report.md", highlight=False, soft_wrap=True)
    return result.outcome.exit_code


def render_outcome(outcome: Outcome) -> str:
    """Renders why a run failed: the party, its error, and what to do."""
    cause = f"{outcome.party}: {outcome.reason}: " if outcome.party else ""
    # A message of several lines, such as all violations of a rule, keeps them; the remedy follows on its own.
    message = outcome.message.rstrip()
    remedy = f"{'' if message.endswith('.') else '.'} To do: {outcome.remedy}" if outcome.remedy else ""
    return f"{cause}{message}{remedy}"
