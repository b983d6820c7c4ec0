"""SplitParticipation: one party's part, for the people of its namespace."""

from __future__ import annotations

from splittraining.api.contract import Contract
from splittraining.api.participation import (
    PARTICIPATION_KIND,
    DesiredState,
    ParticipationSpec,
    TrainingReference,
)
from splittraining.api.resource import API_VERSION, SplitTraining
from splittraining.plan.manifests.metadata import Manifest, build_object, own_by_training
from splittraining.plan.party_plans import build_party_plan
from splittraining.plan.topology import decide_device, get_role


def build_participation(training: SplitTraining, contract: Contract, party: str, *, desired: DesiredState) -> Manifest:
    """Builds a party's participation, but for the approval, which belongs to others.

    Args:
        training: An accepted training.
        contract: Its contract.
        party: The party.
        desired: What the party is to do.
    """
    metadata = training.metadata
    spec = ParticipationSpec(
        training_ref=TrainingReference(namespace=metadata.namespace, name=metadata.name, uid=metadata.uid),
        run_id=metadata.uid,
        party=party,
        role=get_role(party),
        contract_digest=contract.compute_digest(),
        plan_digest=build_party_plan(training, party).compute_digest(),
        image=contract.get_party(party).image,
        device=decide_device(training.spec, party),
        desired_state=desired,
    )
    return build_object(
        API_VERSION,
        PARTICIPATION_KIND,
        training,
        party,
        owners=own_by_training(training),
        spec=spec.model_dump(mode="json", by_alias=True, exclude_none=True),
    )
