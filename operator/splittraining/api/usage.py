"""Errors of commands, which argparse cannot know. Never a reason why a training failed."""

from __future__ import annotations

from typing import ClassVar

from splittraining.api.errors import SplitTrainingError
from splittraining.api.exit_codes import ExitCode


class UsageInvalid(SplitTrainingError):
    """A command line that fits nothing that is there: a flag, a folder that is taken, a package that is missing."""

    exit_code: ClassVar[ExitCode] = ExitCode.USAGE


class ClusterFailed(SplitTrainingError):
    """A cluster that a command cannot work with: it is not configured, does not answer, or refuses."""

    exit_code: ClassVar[ExitCode] = ExitCode.CLUSTER_FAILED
