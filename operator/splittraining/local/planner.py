"""Cutting a training's model without training: the plan that its parties would agree on.

It runs the model's own code, so it happens in a process of its own, started like a party and ended with the command.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydantic import ValidationError

from splittraining.api import errors
from splittraining.api.identity import SERVER_PARTY
from splittraining.api.party_document import Endpoint, IntakeAccess, Reporting
from splittraining.api.plan_report import PlanReport
from splittraining.local.accepted import AcceptedTraining
from splittraining.local.alone import run_alone
from splittraining.local.launcher import PLAN_TARGET, Launcher
from splittraining.local.port import LOOPBACK
from splittraining.local.workspace import DOCUMENT_FILE, naming_the_path, write_file
from splittraining.plan.party_documents import PartyPlace, RunPlace, build_party_documents
from splittraining.plan.topology import list_parties

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
        printed = run_alone(
            "plan",
            PLAN_TARGET,
            (str(document),),
            folder=folder,
            launcher=launcher or Launcher(preload=()),
            debug=debug,
        )
        return _parse_report(printed)


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


def _parse_report(printed: str) -> PlanReport:
    try:
        return PlanReport.model_validate_json(printed)
    except ValidationError as error:
        raise errors.ModelCodeFailed(
            "the process that cut the model printed no plan report as its last line",
            remedy="look whether the model's code writes to stdout when the process ends",
        ) from error
