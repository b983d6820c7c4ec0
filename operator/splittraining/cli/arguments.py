"""The arguments of every command. `module` of the parsed arguments names the module that executes the command."""

from __future__ import annotations

import argparse
from pathlib import Path

PLUGIN = "kubectl splittraining"
"""The command as kubectl calls it, with what makes sense beside a cluster."""


def build_parser(*, version: str) -> argparse.ArgumentParser:
    """Builds the parser of the whole command line."""
    parser, commands = _build_frame("splittraining", "Split learning between institutions, from one manifest.", version)
    _add_run(commands)
    _add_validate(commands)
    _add_plan(commands)
    _add_report(commands)
    _add_export(commands)
    _add_predict(commands)
    _add_cluster_commands(commands)
    return parser


def build_plugin_parser(*, version: str) -> argparse.ArgumentParser:
    """Builds the parser of the kubectl plugin."""
    parser, commands = _build_frame(PLUGIN, "Split trainings of a cluster: how they are, and what they left.", version)
    _add_cluster_commands(commands)
    _add_plan(commands)
    return parser


def _build_frame(
    program: str, description: str, version: str
) -> tuple[argparse.ArgumentParser, argparse._SubParsersAction[argparse.ArgumentParser]]:
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--version", action="version", version=f"splittraining {version}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks, and let parties log more")
    return parser, parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def _add_cluster_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _add_status(commands)
    _add_logs(commands)
    _add_fetch(commands)


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(commands, "status", "show how a training in a cluster is")
    _add_training(parser)
    parser.add_argument(
        "-w", "--watch", action="store_true", help="until it is over; then exit with the code of what it failed of"
    )
    parser.add_argument(
        "-o", "--output", choices=("json", "yaml"), default="", help="print the resource in place of a table"
    )
    parser.set_defaults(module="status_command")


def _add_logs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(commands, "logs", "show what the parties' pods wrote")
    _add_training(parser)
    parser.add_argument("party", metavar="PARTY", nargs="?", default="", help="one party (default: all)")
    parser.add_argument("-f", "--follow", action="store_true", help="until the training is over")
    parser.add_argument(
        "--attempt", type=_parse_count, metavar="N", help="the N-th start of the parties (default: the latest)"
    )
    parser.set_defaults(module="logs_command")


def _add_fetch(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(commands, "fetch", "copy a party's weights, metrics and log from its output volume")
    _add_training(parser)
    parser.add_argument("party", metavar="PARTY", help="the party")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="where to (default: runs/NAME/PARTY); must be new or empty"
    )
    parser.add_argument(
        "--image", default="", help="image of the pod that reads the volume (default: the party's own); needs python3"
    )
    parser.set_defaults(module="fetch_command")


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the training")
    parser.add_argument("-n", "--namespace", default="", help="its namespace (default: the context's)")
    parser.add_argument("--context", default="", help="context of the kubeconfig (default: the current one)")
    parser.add_argument("--kubeconfig", default="", metavar="FILE", help="path of the kubeconfig, as for kubectl")


def _parse_count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} was given; allowed: 1 and above")
    return number


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
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the plan report as JSON")
    form.add_argument("--diagram", action="store_true", help="print a picture of the plan, as Mermaid text")
    parser.set_defaults(module="plan_command")


def _add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(commands, "report", "render the report of a finished run again")
    parser.add_argument("run", metavar="NAME_OR_FOLDER", help="name of the training, or the run's folder")
    _add_runs_folder(parser)
    parser.set_defaults(module="report_command")


def _add_predict(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(
        commands, "predict", "predict on this machine with what a run trained, each party with its own layers"
    )
    _add_manifest(parser)
    _add_volumes(parser)
    parser.add_argument(
        "--run", type=Path, metavar="FOLDER", help="the run, with a folder per party (default: runs/NAME)"
    )
    parser.add_argument(
        "--rows",
        action="append",
        default=[],
        metavar="PARTY=FILE",
        help="a party's rows, relative to its volume; may be repeated (default: data.test). Labels need not be there",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="where predictions go (default: predictions/ of the run)"
    )
    parser.add_argument("--restart", action="store_true", help="delete earlier predictions in that folder")
    parser.set_defaults(module="predict_command")


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(commands, "export", "write what was trained as a state dict for plain PyTorch")
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="a party's folder (runs/NAME/PARTY, or what `fetch` wrote) for its own layers; those of all owners, or"
        " runs/NAME, for the whole model",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="default: PARTY.safetensors or model.safetensors; must be new"
    )
    parser.add_argument(
        "--client",
        default="",
        metavar="NAME",
        help="whose layers the whole model shall have, where every client holds its own of the same layers",
    )
    parser.set_defaults(module="export_command")


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
