"""What one institution alone agrees to, taken from the manifest and nothing else."""

from __future__ import annotations

from splittraining.api.party_plan import PartyPlan
from splittraining.api.resource import SplitTraining
from splittraining.plan.topology import get_data, get_namespace, get_warm_start


def build_party_plan(training: SplitTraining, party: str) -> PartyPlan:
    """Builds one party's plan.

    Args:
        training: An accepted training.
        party: Name of one of its parties.
    """
    return PartyPlan(
        party=party,
        namespace=get_namespace(training, party),
        data=get_data(training.spec, party),
        warm_start=get_warm_start(training.spec, party),
    )
