"""The entry point of a party: ``splittraining-party run DOCUMENT`` and ``splittraining-party plan DOCUMENT``.

The composition root of ``party``: it reads the party document once, hands everything down, and turns whatever ends the
party into an exit code, a sentence and the last report.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from pydantic import ValidationError

from splittraining.api.errors import OutOfMemory, Preempted, SpecInvalid, SplitTrainingError, StorageFailed
from splittraining.api.exit_codes import REMEDIES, ExitCode
from splittraining.api.party_document import PartyDocument
from splittraining.api.report import PartyState, Report
from splittraining.party.logs import logging_to
from splittraining.party.wire.tls import prepare_grpc_environment

prepare_grpc_environment()  # gRPC reads its cipher suites when it is first imported, which the imports below do

try:
    import torch
except ModuleNotFoundError:
    raise SystemExit("error: a party needs PyTorch. To do: pip install 'splittraining[party]'.") from None

from splittraining.party.allocations import is_allocation_failure  # noqa: E402
from splittraining.party.intake_client import Reporter, fetch_credentials  # noqa: E402
from splittraining.party.training.agreement import check_agreed, check_source  # noqa: E402
from splittraining.party.training.assembly import assemble, find_owner  # noqa: E402
from splittraining.party.training.results import JsonLines, write_atomically, write_termination  # noqa: E402
from splittraining.party.training.session import LinkCounts, Session, Surroundings  # noqa: E402
from splittraining.party.training.share import ModelShare  # noqa: E402
from splittraining.party.training.telemetry import Telemetry  # noqa: E402

_LOG = logging.getLogger(__name__)

TERMINATION_FILE = "termination.json"
LOG_FILE = "log.jsonl"
METRICS_FILE = "metrics.jsonl"
PLAN_FILE = "plan.json"

INTAKE_TIMEOUT_S = 60.0
"""How long to knock at the intake's door: it runs before the parties start."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    parser = argparse.ArgumentParser(prog="splittraining-party", description="One party of a split training.")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("run", "run this party of a training to its end"), ("plan", "cut the model, print the plan")):
        command = commands.add_parser(name, help=text)
        command.add_argument("document", help="path of the party document (JSON)")
    arguments = parser.parse_args(argv)
    if arguments.command == "run":
        return run_party(arguments.document, debug=arguments.debug)
    return plan_party(arguments.document, debug=arguments.debug)


def plan_party(document_path: str, *, debug: bool = False) -> int:
    """Cuts the model as this party would and prints the plan report as JSON; trains nothing, connects to nobody."""

    def plan() -> None:
        document = read_document(document_path)
        check_agreed(document)
        check_source(document)
        share = ModelShare(
            document.contract,
            owner=find_owner(document),
            source_path=document.source_path,
            device=torch.device("cpu"),
        )
        sys.stdout.write(share.report.model_dump_json(by_alias=True) + "\n")

    error = _catch(plan)
    if error is None:
        return ExitCode.OK
    _show(error, debug=debug)
    return error.exit_code


def run_party(document_path: str, *, debug: bool = False, surroundings: Surroundings | None = None) -> int:
    """Runs one party of a training to its end.

    Args:
        document_path: Path of the party document (JSON).
        debug: Whether tracebacks are shown and logged.
        surroundings: Time, randomness and the like; the machine's own by default.

    Returns:
        The exit code. Why it ended stands in ``termination.json`` and in the last report.
    """
    try:
        document = read_document(document_path)
        output = Path(document.output_path)
        output.mkdir(parents=True, exist_ok=True)
    except SplitTrainingError as refused:
        _show(refused, debug=debug)
        return refused.exit_code
    with logging_to(output / LOG_FILE, party=document.party, debug=debug):
        preemption = _Preemption()
        error = _catch(lambda: _train(document, output, surroundings or Surroundings(), preemption))
        preemption.disarm()
        if error is None:
            _LOG.info("finished")
            return _terminate(output, ExitCode.OK, "Finished", "", debug=debug)
        _LOG.error("%s: %s", error.reason, error, exc_info=error)
        if debug:
            _show(error, debug=debug)
        return _terminate(output, error.exit_code, error.reason, str(error), debug=debug)


def read_document(path: str) -> PartyDocument:
    """Reads a party document.

    Raises:
        SpecInvalid: if it is not there or not a party document.
    """
    try:
        return PartyDocument.model_validate_json(Path(path).read_bytes())
    except OSError as error:
        raise SpecInvalid(f"the party document {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SpecInvalid(
            f"{path} is not a party document: {place}: {first['msg']}",
            remedy="use the same version of splittraining for the operator and the party",
        ) from error


def _train(document: PartyDocument, output: Path, surroundings: Surroundings, preemption: _Preemption) -> None:
    """Runs the party; a failure is told to the intake before it is raised."""
    credentials = fetch_credentials(document, now=surroundings.now(), timeout_s=INTAKE_TIMEOUT_S)
    counts = LinkCounts()
    telemetry = Telemetry(
        Report(
            party=document.party,
            generation=document.generation,
            sequence=0,
            state=PartyState.STARTING,
            rounds=document.rounds,
            device=document.device.lower(),
        ),
        sink=Reporter(document, credentials),
        metrics=JsonLines(output / METRICS_FILE),
        count_links=counts,
        monotonic_s=surroundings.monotonic_s,
        period_s=document.reporting.period_milliseconds / 1000,
    )

    def train() -> None:
        assembly = assemble(document, monotonic_s=surroundings.monotonic_s)
        _LOG.info("assembled: %s", assembly.fingerprint)
        write_atomically(output / PLAN_FILE, assembly.share.report.model_dump_json(by_alias=True).encode())
        Session(assembly, credentials=credentials, telemetry=telemetry, counts=counts, surroundings=surroundings).run()

    error = _catch(train)
    preemption.disarm()
    if error is not None:
        telemetry.fail(error, error.exit_code)
        raise error
    telemetry.finish()


class Unexpected(SplitTrainingError):
    """A fault of this project."""


def _catch(action: Callable[[], None]) -> SplitTrainingError | None:
    """Runs something and returns what ended it as an error with an exit code, or None."""
    try:
        action()
    except SplitTrainingError as error:
        return error
    except Exception as error:  # noqa: BLE001 - the last resort: whatever it is, it must become a sentence and an exit code
        named = _name_error(error)
        named.__cause__ = error
        return named
    return None


def _name_error(error: Exception) -> SplitTrainingError:
    if is_allocation_failure(error):
        return OutOfMemory("an allocation failed", remedy=REMEDIES[ExitCode.OUT_OF_MEMORY])
    # Only what and where: the error's own text may hold data, and this sentence travels. The own log has the text.
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno} in {last.name}"
    return Unexpected(f"{type(error).__name__} at {place}", remedy=REMEDIES[ExitCode.INTERNAL])


class _Preemption:
    """Turns SIGTERM into Preempted, raised where the party is; a party that is ending anyway takes no notice of it."""

    def __init__(self) -> None:
        self._armed = True
        signal.signal(signal.SIGTERM, self._preempt)

    def disarm(self) -> None:
        """Lets the party tell how it ended without being disturbed."""
        self._armed = False

    def _preempt(self, _number: int, _frame: FrameType | None) -> None:
        if self._armed:
            self._armed = False
            raise Preempted("the party was asked to stop", remedy=REMEDIES[ExitCode.PREEMPTED])


def _terminate(output: Path, code: ExitCode, reason: str, message: str, *, debug: bool) -> int:
    try:
        write_termination(output / TERMINATION_FILE, code=code, reason=reason, message=message)
    except StorageFailed as error:
        _show(error, debug=debug)
        return code or error.exit_code
    return code


def _show(error: SplitTrainingError, *, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    sys.stderr.write(f"error: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
