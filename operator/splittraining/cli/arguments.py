"""The arguments of every command. `module` of the parsed arguments names the module that executes the command."""

from __future__ import annotations

import argparse
from pathlib import Path


def build_parser(*, version: str) -> argparse.ArgumentParser:
    """Builds the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="splittraining", description="Split learning between institutions, from one manifest."
    )
    parser.add_argument("--version", action="version", version=f"splittraining {version}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks, and let parties log more")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_validate(commands)
    _add_plan(commands)
    _add_report(commands)
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(commands, "run", "run a SplitTraining on this machine, one process per party")
    _add_manifest(parser)
    _add_volumes(parser)
    _add_runs_folder(parser)
    parser.add_argument("--restart", action="store_true", help="delete an earlier run of the same name and start over")
    parser.set_defaults(module="run_command")


def _add_validate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(commands, "validate", "check a manifest without running anything")
    _add_manifest(parser)
    parser.set_defaults(module="validate_command")


def _add_plan(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(commands, "plan", "cut the model and show who owns what, and what crosses")
    _add_manifest(parser)
    _add_volumes(parser)
    parser.add_argument("--pin", action="store_true", help="write the plan's digest into the manifest")
    parser.add_argument("--json", action="store_true", help="print the plan report as JSON")
    parser.set_defaults(module="plan_command")


def _add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(commands, "report", "render the report of a finished run again")
    parser.add_argument("run", metavar="NAME_OR_FOLDER", help="name of the training, or the run's folder")
    _add_runs_folder(parser)
    parser.set_defaults(module="report_command")


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    # Also after the command's name, where people write it; suppressed so that it does not undo the one before.
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return parser


def _add_manifest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--filename", type=Path, required=True, metavar="FILE", help="manifest (YAML)")
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="folder of *.py files in place of the ConfigMap NAME; may be repeated",
    )


def _add_volumes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--volume",
        action="append",
        default=[],
        metavar="CLAIM=FOLDER",
        help="folder in place of a claim; may be repeated (default: data/CLAIM beside the manifest)",
    )


def _add_runs_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="FOLDER", help="where runs are kept (default: runs)"
    )
