"""The party document of a pod: the same document as anywhere, with a pod's paths and addresses."""

from __future__ import annotations

from splittraining.api.contract import Contract
from splittraining.api.identity import SERVER_PARTY
from splittraining.api.names import (
    DATA_FOLDER,
    OUTPUT_FOLDER,
    PARTY_PORT,
    SOURCE_FOLDER,
    TERMINATION_PATH,
    TOKEN_FILE,
    TOKEN_FOLDER,
    TRUST_FILE,
    TRUST_FOLDER,
    WARM_START_FOLDER,
)
from splittraining.api.party_document import Endpoint, IntakeAccess, PartyDocument, Reporting
from splittraining.api.resource import SplitTraining
from splittraining.api.spec.operation import Enforcement, Isolation
from splittraining.plan.manifests.metadata import get_child_name
from splittraining.plan.manifests.settings import OperatorSettings
from splittraining.plan.party_documents import PartyPlace, RunPlace, build_party_document
from splittraining.plan.topology import (
    find_data_claim,
    find_hand_off_neighbors,
    find_warm_start_claim,
    get_namespace,
    list_parties,
)

EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - a pod does not know which address its peers will dial; policies say who may
"""gRPC takes it for all addresses of either family, so that it serves in an IPv6 cluster too."""


def build_document(
    training: SplitTraining, contract: Contract, party: str, *, attempt: int, settings: OperatorSettings
) -> PartyDocument:
    """Builds what a party is told in its pod.

    Args:
        training: An accepted training.
        contract: Its contract.
        party: The party.
        attempt: The run's generation: frames of another attempt are refused.
        settings: What the operator knows.
    """
    network = training.spec.network
    is_closed = network.isolation is Isolation.DENY_ALL
    run = RunPlace(
        run_id=training.metadata.uid,
        trust_domain=settings.trust_domain,
        server=_build_endpoint(training, SERVER_PARTY),
        reporting=Reporting(period_milliseconds=settings.report_period_milliseconds),
        generation=attempt,
        listen_host=EVERY_ADDRESS,
        isolation_probe=settings.isolation_probe if is_closed else None,
        isolation_required=is_closed and network.enforcement is Enforcement.REQUIRED,
        clients={
            name: _build_endpoint(training, name)
            for name in list_parties(training.spec)
            if find_hand_off_neighbors(training.spec, name) is not None
        },
    )
    return build_party_document(training, contract, party, run=run, place=_build_place(training, party, settings))


def _build_endpoint(training: SplitTraining, party: str) -> Endpoint:
    """Builds the address of a party that listens: its Service's name."""
    return Endpoint(host=f"{get_child_name(training, party)}.{get_namespace(training, party)}.svc", port=PARTY_PORT)


def _build_place(training: SplitTraining, party: str, settings: OperatorSettings) -> PartyPlace:
    data_claim, warm_claim = find_data_claim(training.spec, party), find_warm_start_claim(training.spec, party)
    warm_start_path = DATA_FOLDER if warm_claim == data_claim else WARM_START_FOLDER  # one claim is mounted once
    return PartyPlace(
        intake=IntakeAccess(
            url=settings.certificate_url,
            report_url=settings.report_url,
            bundle_path=f"{TRUST_FOLDER}/{TRUST_FILE}",
            token_path=f"{TOKEN_FOLDER}/{TOKEN_FILE}",
        ),
        output_path=OUTPUT_FOLDER,
        data_path=DATA_FOLDER if data_claim else "",
        warm_start_path=warm_start_path if warm_claim else "",
        source_path=SOURCE_FOLDER if training.spec.model.source is not None else "",
        termination_path=TERMINATION_PATH,
    )
