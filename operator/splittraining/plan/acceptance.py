"""Whether a training can be taken on: the rules of the API, and what this version runs."""

from __future__ import annotations

from splittraining.api.errors import NotSupported, SpecInvalid, SplitTrainingError
from splittraining.api.resource import SplitTraining
from splittraining.api.rules.registry import find_violations
from splittraining.api.support import find_unsupported
from splittraining.plan.topology import get_member, get_namespace, list_parties


def find_cluster_problems(training: SplitTraining, *, default_image: str = "") -> list[SplitTrainingError]:
    """Returns everything that keeps an operator from taking a training on; empty means accepted.

    Args:
        training: The training.
        default_image: What parties run for which the manifest names no image; empty where there is none.
    """
    spec = training.spec
    problems = [*find_violations(training), *find_unsupported(spec, in_cluster=True)]
    for party in list_parties(spec):
        namespace = get_namespace(training, party)
        if namespace != training.metadata.namespace:
            problems.append(
                NotSupported(
                    f"party {party} is to run in namespace {namespace}, the training is in"
                    f" {training.metadata.namespace}: institutions in namespaces of their own are not in this version",
                    allowed=f"no namespace, or {training.metadata.namespace}",
                    remedy="leave the party's namespace out",
                )
            )
        if not (get_member(spec, party).image or spec.image or default_image):
            problems.append(
                SpecInvalid(
                    f"party {party} has no image",
                    allowed="an image of the party, spec.image for all of them, or the operator's default",
                    remedy="set spec.image",
                )
            )
    return problems


def find_problems(training: SplitTraining) -> list[SplitTrainingError]:
    """Returns everything that keeps a training from being run; empty means accepted.

    What the API forbids comes before what only this version does not run: changing a manifest is quicker than waiting.
    """
    return [*find_violations(training), *find_unsupported(training.spec)]
