"""Cutting a training's model without training: the plan that its parties would agree on.

It runs the model's own code, so it happens in a process of its own, started like a party and ended with the command.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from pydantic import ValidationError

from splittraining.api.errors import ModelCodeFailed, SplitTrainingError
from splittraining.api.exit_codes import ExitCode
from splittraining.api.identity import SERVER_PARTY
from splittraining.api.party_document import Endpoint, IntakeAccess
from splittraining.api.plan_report import PlanReport
from splittraining.local.accepted import AcceptedTraining
from splittraining.local.child import Order
from splittraining.local.crew import Crew
from splittraining.local.launcher import PLAN_TARGET, Launcher
from splittraining.local.leftovers import read_stderr_tail
from splittraining.local.outcome import describe_end
from splittraining.local.port import LOOPBACK
from splittraining.local.signals import Wakeup
from splittraining.local.workspace import STDERR_FILE, naming_the_path, write_file
from splittraining.plan.party_documents import PartyPlace, RunPlace, build_party_documents
from splittraining.plan.topology import list_parties

_OUTPUT_FILE = "plan.json"
_NOBODY = Endpoint(host=LOOPBACK, port=1)
"""A plan connects to nobody, but every party document names a server."""


class PlanFailed(SplitTrainingError):
    """The process that cuts the model ended with an error of its own.

    Args:
        exit_code: How it ended.
        message: What it said, its remedy included.
    """

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.ended_with = exit_code
