"""The entry point of a party: ``splittraining-party run DOCUMENT``, and ``plan`` and ``export`` beside it.

The composition root of ``party``: it reads the party document once, hands everything down, and turns whatever ends the
party into an exit code, a sentence and the last report.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from splittraining.api.errors import (
    NetworkOpen,
    Preempted,
    SpecInvalid,
    SplitTrainingError,
    StorageFailed,
)
from splittraining.api.exit_codes import REMEDIES, ExitCode
from splittraining.api.party_document import PartyDocument
from splittraining.api.report import Isolation, PartyState, Report
from splittraining.party.logs import logging_to
from splittraining.party.wire.tls import prepare_grpc_environment

prepare_grpc_environment()  # gRPC reads its cipher suites when it is first imported, which the imports below do

try:
    import torch
except ModuleNotFoundError:
    raise SystemExit("error: a party needs PyTorch. To do: pip install 'splittraining[party]'.") from None

from splittraining.party.endings import Preemption, catch, show, terminate  # noqa: E402
from splittraining.party.intake_client import Reporter, fetch_credentials, renew_credentials  # noqa: E402
from splittraining.party.renewal import Renewer  # noqa: E402
from splittraining.party.training.agreement import check_agreed, check_source  # noqa: E402
from splittraining.party.training.assembly import assemble, find_owner  # noqa: E402
from splittraining.party.training.device import describe_device, select_device  # noqa: E402
from splittraining.party.training.export import export_state_dict  # noqa: E402
from splittraining.party.training.results import JsonLines, write_atomically  # noqa: E402
from splittraining.party.training.session import LinkCounts, Session, Surroundings  # noqa: E402
from splittraining.party.training.share import ModelShare  # noqa: E402
from splittraining.party.training.telemetry import Telemetry  # noqa: E402
from splittraining.party.wire.isolation import probe_isolation  # noqa: E402
from splittraining.pki.credentials import Credentials  # noqa: E402
from splittraining.pki.live import LiveCredentials  # noqa: E402

_LOG = logging.getLogger(__name__)

TERMINATION_FILE = "termination.json"
LOG_FILE = "log.jsonl"
METRICS_FILE = "metrics.jsonl"
PLAN_FILE = "plan.json"

FAULT_TIMEOUT_S = 10.0
"""How long a party that cannot train anyway knocks at the intake's door, to tell it why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    parser = argparse.ArgumentParser(prog="splittraining-party", description="One party of a split training.")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("run", "run this party of a training to its end"), ("plan", "cut the model, print the plan")):
        command = commands.add_parser(name, help=text)
        command.add_argument("document", help="path of the party document (JSON)")
    command = commands.add_parser("export", help="write parties' results as one state dict, print what it is")
    command.add_argument("folders", nargs="+", help="folders in the layout of a party's volume")
    command.add_argument("--output", required=True, help="the file to write (safetensors)")
    command.add_argument("--client", default="", help="of clients with the same segments, whose the whole model has")
    arguments = parser.parse_args(argv)
    if arguments.command == "export":
        return export_results(arguments.folders, arguments.output, arguments.client, debug=arguments.debug)
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

    error = catch(plan)
    if error is None:
        return ExitCode.OK
    show(error, debug=debug)
    return error.exit_code


def export_results(folders: Sequence[str], output: str, client: str = "", *, debug: bool = False) -> int:
    """Writes the results of one or several parties as one state dict and prints the export report as JSON."""

    def export() -> None:
        report = export_state_dict([Path(folder) for folder in folders], Path(output), client=client)
        sys.stdout.write(report.model_dump_json(by_alias=True) + "\n")

    error = catch(export)
    if error is None:
        return ExitCode.OK
    show(error, debug=debug)
    return error.exit_code


def run_party(document_path: str, *, debug: bool = False, surroundings: Surroundings | None = None) -> int:
    """Runs one party of a training to its end.

    Args:
        document_path: Path of the party document (JSON).
        debug: Whether tracebacks are shown and logged.
        surroundings: Time, randomness and the like; the machine's own by default.

    Returns:
        The exit code. Why it ended stands in ``termination.json``, where the document asks for it also in its
        termination path, and in the last report.
    """
    try:
        document = read_document(document_path)
    except SplitTrainingError as refused:
        show(refused, debug=debug)
        return refused.exit_code
    output = Path(document.output_path)
    paths = [output / TERMINATION_FILE]
    if document.termination_path:
        paths.append(Path(document.termination_path))
    try:
        log = _open_log(document, output, debug=debug)
    except StorageFailed as unwritable:
        show(unwritable, debug=debug)
        return terminate(paths[1:], unwritable.exit_code, unwritable.reason, str(unwritable), debug=debug)
    with log:
        preemption = Preemption()
        error = catch(lambda: _train(document, output, surroundings or Surroundings(), preemption))
        preemption.disarm()
        if error is None:
            _LOG.info("finished")
            return terminate(paths, ExitCode.OK, "Finished", "", debug=debug)
        _LOG.error("%s: %s", error.reason, error, exc_info=error)
        if debug:
            show(error, debug=debug)
        return terminate(paths, error.exit_code, error.reason, str(error), debug=debug)


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


def _open_log(document: PartyDocument, output: Path, *, debug: bool) -> contextlib.ExitStack:
    """Makes the party's folder and opens its log there.

    Raises:
        StorageFailed: if either cannot be done.
    """
    with contextlib.ExitStack() as stack:
        try:
            output.mkdir(parents=True, exist_ok=True)
            # A pod's log is what people look at first, and all that is left where the volume cannot be read.
            echo = sys.stdout if document.termination_path else None
            stack.enter_context(logging_to(output / LOG_FILE, party=document.party, debug=debug, echo=echo))
        except OSError as error:
            raise StorageFailed(
                f"the party's folder {output} cannot be written: {error.strerror or error}",
                allowed="a folder on a volume that this party's user may write",
                remedy="look at the volume's owner, group and mode, and at outputPath of the party document",
            ) from error
        return stack.pop_all()


def _train(document: PartyDocument, output: Path, surroundings: Surroundings, preemption: Preemption) -> None:
    """Runs the party; a failure is told to the intake before it is raised."""
    # First of all, since a GPU that is not there makes the rest vain. The intake is told, but not waited for long.
    device = ""

    def find_device() -> None:
        nonlocal device
        device = describe_device(select_device(document.device))

    fault = catch(find_device)
    if isinstance(fault, Preempted):
        raise fault
    credentials = LiveCredentials(_fetch_credentials(document, surroundings, fault))
    counts = LinkCounts()
    telemetry = Telemetry(
        Report(
            party=document.party,
            generation=document.generation,
            sequence=0,
            state=PartyState.STARTING,
            rounds=0 if document.prediction else document.rounds,
            device=device,
            certificate_expiration_time=credentials.current.not_after,
        ),
        sink=Reporter(document, credentials),
        metrics=JsonLines(output / METRICS_FILE),
        count_links=counts,
        monotonic_s=surroundings.monotonic_s,
        period_s=document.reporting.period_milliseconds / 1000,
    )

    def train() -> None:
        if fault is not None:
            raise fault
        _check_isolation(document, telemetry, surroundings)
        assembly = assemble(document, monotonic_s=surroundings.monotonic_s)
        _LOG.info("assembled: %s", assembly.fingerprint)
        write_atomically(output / PLAN_FILE, assembly.share.report.model_dump_json(by_alias=True).encode())
        Session(assembly, credentials=credentials, telemetry=telemetry, counts=counts, surroundings=surroundings).run()

    renewer = Renewer(
        credentials,
        ask=lambda current: renew_credentials(document, current, clock=surroundings.now),
        on_renewed=telemetry.record_certificate,
        now=surroundings.now,
    )
    renewer.start()
    error = catch(train)
    preemption.disarm()
    renewer.close()
    if error is not None:
        telemetry.fail(error, error.exit_code)
        raise error
    telemetry.finish()


def _fetch_credentials(
    document: PartyDocument, surroundings: Surroundings, fault: SplitTrainingError | None
) -> Credentials:
    """Gets the party's leaf. Where there is a fault already, a leaf is only good for telling it, and it goes first."""
    timeout_s = float(document.ready_timeout_seconds)
    if fault is not None:
        timeout_s = min(timeout_s, FAULT_TIMEOUT_S)
    try:
        return fetch_credentials(document, now=surroundings.now(), timeout_s=timeout_s)
    except Preempted:
        raise
    except SplitTrainingError as error:
        if fault is None:
            raise
        _LOG.warning("the intake could not be told: %s", error)
        raise fault from error


def _check_isolation(document: PartyDocument, telemetry: Telemetry, surroundings: Surroundings) -> None:
    """Tries what network policies must forbid, and reports what it found.

    Raises:
        NetworkOpen: if it is open and the document requires that it is not.
    """
    endpoint = document.isolation_probe
    found = Isolation.UNKNOWN if endpoint is None else probe_isolation(endpoint, connect=surroundings.connect)
    telemetry.record_isolation(found)
    if endpoint is None or found is not Isolation.OPEN or not document.isolation_required:
        telemetry.enter(PartyState.STARTING)
        return
    raise NetworkOpen(
        f"{endpoint.host}:{endpoint.port} can be reached from this party, which network policies must forbid",
        allowed="a network in which NetworkPolicies are enforced (network.enforcement: Required)",
        remedy=REMEDIES[ExitCode.NETWORK_OPEN],
    )


if __name__ == "__main__":
    sys.exit(main())
