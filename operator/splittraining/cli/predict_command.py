"""`splittraining predict`: a finished training's parties predict together, each with the layers that it trained."""

from __future__ import annotations

import argparse
import contextlib
import sys

from rich.console import Console

from splittraining.api.exit_codes import ExitCode
from splittraining.cli.run_command import render_outcome
from splittraining.cli.views import choose_view
from splittraining.local.manifest import load_manifest
from splittraining.local.predictor import PredictionRequest, run_prediction
from splittraining.local.signals import StopWish, Wakeup, heed_signals
from splittraining.local.volumes import parse_pairs
from splittraining.local.workspace import STDERR_FILE


def execute(arguments: argparse.Namespace) -> int:
    """Predicts and returns the exit code of whatever ended it."""
    sources = parse_pairs(arguments.source, flag="--source", meaning="NAME")
    request = PredictionRequest(
        manifest=load_manifest(arguments.filename, source_folders=sources),
        run_folder=arguments.run,
        output_folder=arguments.output,
        rows=parse_pairs(arguments.rows, flag="--rows", meaning="PARTY", value="FILE"),
        volumes=parse_pairs(arguments.volume, flag="--volume", meaning="CLAIM"),
        restart=arguments.restart,
        debug=arguments.debug,
    )
    console = Console()
    with contextlib.closing(Wakeup()) as wakeup:
        wish = StopWish(wakeup)
        with heed_signals(wish), choose_view(console) as view:
            result = run_prediction(request, emit=view.show, wakeup=wakeup, wish=wish)
    if result.outcome.exit_code == ExitCode.OK:
        for party, path in result.record.files.items():
            console.print(f"{party}: {result.folder / path}", highlight=False, markup=False, soft_wrap=True)
    else:
        if request.debug and result.outcome.party:
            sys.stderr.write((result.folder / result.outcome.party / STDERR_FILE).read_text(encoding="utf-8"))
        sys.stderr.write(f"error: {render_outcome(result.outcome)}\n")
    return result.outcome.exit_code
