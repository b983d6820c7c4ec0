"""The entry points of `splittraining` and its kubectl plugin: which command, and how it ends (exit code, message)."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence

import splittraining
from splittraining.api.errors import SplitTrainingError
from splittraining.api.exit_codes import REMEDIES, ExitCode
from splittraining.cli.arguments import PLUGIN, build_parser, build_plugin_parser
from splittraining.cli.needs import check_needs, is_package_installed


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: The arguments, without the program's name; absent means this process's own.

    Returns:
        The exit code, as docs/exit-codes.md lists them.
    """
    return _run(build_parser(version=splittraining.__version__).parse_args(argv))


def plugin_main(argv: Sequence[str] | None = None) -> int:
    """Runs one command of the kubectl plugin.

    Args:
        argv: The arguments, without the program's name; absent means this process's own.

    Returns:
        The exit code, as docs/exit-codes.md lists them.
    """
    given = sys.argv[1:] if argv is None else list(argv)
    parser = build_plugin_parser(version=splittraining.__version__)
    if not given:
        parser.print_help(sys.stderr)
        sys.stderr.write(
            "error: no command was given. Allowed: status, logs, fetch, plan. "
            f"To do: name one, for example `{PLUGIN} status NAME`.\n"
        )
        return ExitCode.USAGE
    return _run(parser.parse_args(given))


def _run(arguments: argparse.Namespace) -> int:
    try:
        check_needs(arguments.module, is_installed=is_package_installed)
        # By name: what one command needs, the others shall not have to import.
        module = importlib.import_module(f"splittraining.cli.{arguments.module}")
        execute: Callable[[argparse.Namespace], int] = module.execute
        return execute(arguments)
    except SplitTrainingError as error:
        return _report(error, error.exit_code, debug=arguments.debug)
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has seen enough. Nothing more can be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:  # noqa: BLE001 - the last resort: a person gets a sentence, not a traceback
        return _report(error, ExitCode.INTERNAL, debug=arguments.debug)


def render_error(error: Exception, code: ExitCode) -> str:
    """Renders an error as a person reads it: what is wrong, then what to do."""
    text = str(error) if isinstance(error, SplitTrainingError) else f"{type(error).__name__}: {error}."
    return text if "To do:" in text else f"{text} To do: {REMEDIES[code]}"


def _report(error: Exception, code: ExitCode, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    sys.stderr.write(f"error: {render_error(error, code)}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
