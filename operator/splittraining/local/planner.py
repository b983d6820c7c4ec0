"""Cutting a training's model without training: the plan that its parties would agree on.

It runs the model's own code, so it happens in a process of its own, started like a party and ended with the command.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from pydantic import ValidationError

from splittraining.api import errors
from splittraining.api.identity import SERVER_PARTY
from splittraining.api.party_document import Endpoint, IntakeAccess, Reporting
from splittraining.api.plan_report import PlanReport
from splittraining.local.accepted import AcceptedTraining
from splittraining.local.child import Order
from splittraining.local.crew import Crew
from splittraining.local.launcher import PLAN_TARGET, Launcher
from splittraining.local.outcome import describe_end
from splittraining.local.port import LOOPBACK
from splittraining.local.signals import Wakeup
from splittraining.local.workspace import DOCUMENT_FILE, STDERR_FILE, naming_the_path, write_file
from splittraining.plan.party_documents import PartyPlace, RunPlace, build_party_documents
from splittraining.plan.topology import list_parties

_OUTPUT_FILE = "stdout.log"
_NOBODY = "nobody"  # a plan connects to no intake and no server, but every party document names one


def cut_model(accepted: AcceptedTraining, *, launcher: Launcher | None = None, debug: bool = False) -> PlanReport:
    """Cuts the model of an accepted training and returns what crosses.

    Args:
        accepted: The training.
        launcher: Starts the process; by default one that imports nothing beforehand, since nothing else follows.
        debug: Whether the error carries what the process wrote, tracebacks included, as a note.

    Raises:
        SplitTrainingError: whatever the process ended with: a cut that is not possible, or the model's own error.
    """
    with tempfile.TemporaryDirectory(prefix="splittraining-plan-") as name:
        folder = Path(name)
        document = _write_document(accepted, folder)
        order = Order(
            PLAN_TARGET,
            (str(document),),
            {"debug": debug},
            stderr_path=str(folder / STDERR_FILE),
            stdout_path=str(folder / _OUTPUT_FILE),
        )
        code = _run(order, launcher or Launcher(preload=()))
        if code != 0:
            stderr = _read(folder / STDERR_FILE)
            error = _build_error(code, stderr)
            if debug:
                error.add_note(stderr)
            raise error
        return _parse_report(_read(folder / _OUTPUT_FILE))


def _run(order: Order, launcher: Launcher) -> int:
    crew = Crew(launcher)
    with contextlib.closing(Wakeup()) as wakeup:
        try:
            crew.start("plan", order)
            ended: list[tuple[str, int]] = []
            while not ended:
                crew.wait(wakeup, timeout_s=None)
                ended = crew.reap()
            return ended[0][1]
        finally:
            crew.abandon()


def _write_document(accepted: AcceptedTraining, folder: Path) -> Path:
    source = folder / "source"
    with naming_the_path(source):
        source.mkdir()
    for name, content in accepted.source_files.items():
        write_file(source / name, content)
    place = PartyPlace(
        intake=IntakeAccess(url=_NOBODY, bundle_path=_NOBODY, token_path=_NOBODY),
        output_path=str(folder),
        source_path=str(source) if accepted.source_files else "",
    )
    documents = build_party_documents(
        accepted.training,
        accepted.contract,
        run=RunPlace(
            run_id=_NOBODY, trust_domain=_NOBODY, server=Endpoint(host=LOOPBACK, port=1), reporting=Reporting()
        ),
        places=dict.fromkeys(list_parties(accepted.training.spec), place),
    )
    path = folder / DOCUMENT_FILE
    write_file(path, documents[SERVER_PARTY].model_dump_json(by_alias=True).encode())
    return path


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _parse_report(stdout: str) -> PlanReport:
    # The model's own code may print, before or between: the report is the last line.
    lines = stdout.strip().splitlines() or [""]
    try:
        return PlanReport.model_validate_json(lines[-1])
    except ValidationError as error:
        raise errors.ModelCodeFailed(
            "the process that cut the model printed no plan report as its last line",
            remedy="look whether the model's code writes to stdout when the process ends",
        ) from error


def _build_error(process_exit_code: int, stderr: str) -> errors.SplitTrainingError:
    """Builds the error that the process ended with; what it printed last is the message, remedy included."""
    _, marker, message = stderr.rpartition("error: ")
    end = describe_end(
        "plan",
        process_exit_code,
        message=message.strip() if marker else "",
        stderr=(stderr.strip().splitlines() or [""])[-1],
        made_to_stop=False,
    )
    kinds = {kind.exit_code: kind for kind in errors.SplitTrainingError.__subclasses__()}
    return next((kind for code, kind in kinds.items() if code == end.exit_code), errors.SplitTrainingError)(end.message)
