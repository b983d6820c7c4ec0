"""`splittraining export`: what was trained, as a state dict for the author's own model in plain PyTorch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from splittraining.api.exit_codes import ExitCode
from splittraining.api.results import ExportReport
from splittraining.local.exporter import export_results, find_party_folders
from splittraining.report.markdown import render_size

WHOLE_FILE = "model.safetensors"


def execute(arguments: argparse.Namespace) -> int:
    """Writes the state dict and says what is in it."""
    folders = [folder for path in arguments.paths for folder in find_party_folders(path)]
    default = f"{folders[0].resolve().name}.safetensors" if len(folders) == 1 else WHOLE_FILE
    output = arguments.output or Path(default)
    report = export_results(folders, output, client=arguments.client, debug=arguments.debug)
    sys.stdout.write(render_export(report))
    return ExitCode.OK


def render_export(report: ExportReport) -> str:
    """Renders what was exported, for people."""
    what = "The whole model" if report.is_whole else f"The segments of {report.parties[0]} alone"
    origin = f", of {', '.join(report.parties)}" if report.is_whole else ""
    return (
        f"{what}{origin}: {report.num_tensors} tensors after step {report.step}, as their manifests say\n"
        f"Contract {report.contract_digest}\n"
        f"In {report.path}, {render_size(report.size_bytes)}\n"
    )
