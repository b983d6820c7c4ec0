"""The error of a wrong command line, which argparse cannot know: flags that fit no manifest, folders that are taken."""

from __future__ import annotations

from typing import ClassVar

from splittraining.api.errors import SplitTrainingError
from splittraining.api.exit_codes import ExitCode


class UsageInvalid(SplitTrainingError):
    """A flag or an argument that does not fit what is there."""

    exit_code: ClassVar[ExitCode] = ExitCode.USAGE
