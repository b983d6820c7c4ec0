"""Whether a training can be taken on: the rules of the API, and what this version runs."""

from __future__ import annotations

from splittraining.api.errors import SplitTrainingError
from splittraining.api.resource import SplitTraining
from splittraining.api.rules.registry import find_violations
from splittraining.api.support import find_unsupported


def find_problems(training: SplitTraining) -> list[SplitTrainingError]:
    """Returns everything that keeps a training from being run; empty means accepted.

    What the API forbids comes before what only this version does not run: changing a manifest is quicker than waiting.
    """
    return [*find_violations(training), *find_unsupported(training.spec)]
