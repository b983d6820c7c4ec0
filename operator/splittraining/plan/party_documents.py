"""What each party is told before it starts: one document per party, the same in a pod and on one machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from splittraining.api.contract import Contract
from splittraining.api.party_document import Endpoint, IntakeAccess, PartyDocument, Peer, PredictionTask, Reporting
from splittraining.api.resource import SplitTraining
from splittraining.api.spec.split_training import SplitTrainingSpec
from splittraining.plan.party_plans import build_party_plan
from splittraining.plan.topology import (
    decide_device,
    find_hand_off_neighbors,
    get_data,
    get_role,
    get_warm_start,
    list_parties,
)


@dataclass(frozen=True, slots=True)
class RunPlace:
    """Where a run happens: what is the same for all its parties."""

    run_id: str
    trust_domain: str
    server: Endpoint
    reporting: Reporting
    generation: int = 1
    listen_host: str = ""
    isolation_probe: Endpoint | None = None
    isolation_required: bool = False
    clients: Mapping[str, Endpoint] = field(default_factory=dict)
    """Where clients are dialed, those that listen (topology.find_hand_off_neighbors)."""


@dataclass(frozen=True, slots=True)
class PartyPlace:
    """Where one party's files are, as its own process sees them."""

    intake: IntakeAccess
    output_path: str
    data_path: str = ""
    warm_start_path: str = ""
    source_path: str = ""
    termination_path: str = ""
    prediction: PredictionTask | None = None


def build_party_documents(
    training: SplitTraining, contract: Contract, *, run: RunPlace, places: Mapping[str, PartyPlace]
) -> dict[str, PartyDocument]:
    """Builds the document of every party, by name.

    Args:
        training: An accepted training.
        contract: Its contract.
        run: What is the same for all parties.
        places: Each party's own files, by party name.
    """
    return {
        party: build_party_document(training, contract, party, run=run, place=places[party])
        for party in list_parties(training.spec)
    }


def build_party_document(
    training: SplitTraining, contract: Contract, party: str, *, run: RunPlace, place: PartyPlace
) -> PartyDocument:
    """Builds the document of one party.

    Args:
        training: An accepted training.
        contract: Its contract.
        party: The party.
        run: What is the same for all parties.
        place: The party's own files.
    """
    spec = training.spec
    listen, successor = _find_endpoints(spec, party, run)
    return PartyDocument(
        namespace=training.metadata.namespace,
        training=training.metadata.name,
        run_id=run.run_id,
        generation=run.generation,
        party=party,
        role=get_role(party),
        trust_domain=run.trust_domain,
        peers=tuple(
            Peer(name=name, role=get_role(name), trust_domain=run.trust_domain)
            for name in list_parties(spec)
            if name != party
        ),
        contract=contract,
        contract_digest=contract.compute_digest(),
        plan_digest=build_party_plan(training, party).compute_digest(),
        rounds=spec.rounds,
        server=run.server,
        listen_host=run.listen_host,
        listen=listen,
        successor=successor,
        intake=place.intake,
        reporting=run.reporting,
        data=get_data(spec, party),
        data_path=place.data_path,
        warm_start=get_warm_start(spec, party),
        warm_start_path=place.warm_start_path,
        prediction=place.prediction,
        source_path=place.source_path,
        output_path=place.output_path,
        termination_path=place.termination_path,
        isolation_probe=run.isolation_probe,
        isolation_required=run.isolation_required,
        device=decide_device(spec, party),
        ready_timeout_seconds=spec.startup.ready_timeout_seconds,
        stall_timeout_seconds=spec.fault_tolerance.stall_timeout_seconds,
    )


def _find_endpoints(spec: SplitTrainingSpec, party: str, run: RunPlace) -> tuple[Endpoint | None, Endpoint | None]:
    """Returns where a client listens for its predecessor, and where its successor is dialed."""
    neighbors = find_hand_off_neighbors(spec, party)
    if neighbors is None or party not in run.clients:
        return None, None
    dialed = run.clients[party]
    return Endpoint(host=run.listen_host or dialed.host, port=dialed.port), run.clients[neighbors.successor]
