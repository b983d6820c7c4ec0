"""What each party is told before it starts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from splittraining.api.party_document import Endpoint, IntakeAccess, PartyDocument, Reporting
from splittraining.api.resource import SplitTraining
from splittraining.plan.contracts import build_contract
from splittraining.plan.party_documents import PartyPlace, RunPlace, build_party_documents
from splittraining.plan.topology import list_parties
from support.builders import a_vanilla_training, a_vertical_training

RUN = RunPlace(
    run_id="run-1",
    trust_domain="local.example",
    server=Endpoint(host="127.0.0.1", port=7443),
    reporting=Reporting(period_milliseconds=500),
)


def build_documents(training: SplitTraining, run: RunPlace = RUN) -> dict[str, PartyDocument]:
    places = {
        party: PartyPlace(
            intake=IntakeAccess(url="https://127.0.0.1:8443", bundle_path="/trust.pem", token_path=f"/{party}/token"),
            output_path=f"/{party}/out",
            data_path=f"/{party}/data",
        )
        for party in list_parties(training.spec)
    }
    contract = build_contract(training, source_digest="")
    return build_party_documents(training, contract, run=run, places=places)


def test_every_party_gets_a_document_with_one_contract():
    documents = build_documents(a_vanilla_training().build())
    assert list(documents) == ["server", "st-mary", "st-luke"]
    assert len({document.contract_digest for document in documents.values()}) == 1
    assert all(each.contract_digest == each.contract.compute_digest() for each in documents.values())


def test_a_party_knows_all_others_and_not_itself():
    documents = build_documents(a_vanilla_training().build())
    assert [peer.name for peer in documents["st-mary"].peers] == ["server", "st-luke"]
    assert [peer.name for peer in documents["server"].peers] == ["st-mary", "st-luke"]


def test_a_party_is_told_of_nobody_elses_claims_and_paths():
    training = (
        a_vertical_training()
        .with_value("spec.clients.0.data.volume.persistentVolumeClaim.claimName", "secret-claim")
        .with_value("spec.clients.0.data.train.path", "secret-path.npz")
        .build()
    )
    documents = build_documents(training)
    told = {party: json.dumps(document.as_json_object()) for party, document in documents.items()}
    assert {party for party, text in told.items() if "secret" in text} == {"imaging"}
    assert {party for party, text in told.items() if "/imaging/" in text} == {"imaging"}


def test_where_first_weights_lie_is_told_to_their_party_alone():
    weights = {"path": "secret.safetensors", "digest": "sha256:" + "3" * 64}
    training = a_vertical_training().with_value(
        "spec.server.warmStart", {**weights, "volume": {"persistentVolumeClaim": {"claimName": "secret-claim"}}}
    )
    told = {party: json.dumps(each.as_json_object()) for party, each in build_documents(training.build()).items()}
    assert {party for party, text in told.items() if "secret" in text} == {"server"}
    assert all("sha256:" + "3" * 64 in text for text in told.values()), "the digest is everybody's"


def test_the_server_of_a_vanilla_training_is_told_of_no_data():
    documents = build_documents(a_vanilla_training().build())
    assert documents["server"].data is None
    assert documents["st-mary"].data is not None


def test_limits_of_time_come_from_the_manifest():
    training = (
        a_vanilla_training()
        .with_value("spec.startup.readyTimeoutSeconds", 7)
        .with_value("spec.faultTolerance.stallTimeoutSeconds", 8)
        .build()
    )
    document = build_documents(training)["st-luke"]
    assert (document.ready_timeout_seconds, document.stall_timeout_seconds, document.rounds) == (7, 8, 20)


def test_a_party_without_a_place_cannot_be_told_anything():
    training = a_vanilla_training().build()
    with pytest.raises(KeyError, match="server"):
        build_party_documents(training, build_contract(training, source_digest=""), run=RUN, places={})


def test_planning_twice_yields_the_same_documents():
    training = a_vertical_training().build()
    assert build_documents(training) == build_documents(training)


def test_a_document_can_be_written_and_read_back():
    for document in build_documents(a_vertical_training().build()).values():
        assert PartyDocument.model_validate(document.as_json_object()) == document


def test_what_only_a_pod_needs_is_left_out_where_it_is_not_given():
    training = a_vanilla_training().build()
    told = build_documents(training)["server"].as_json_object()
    assert not told.keys() & {"listenHost", "terminationPath", "isolationProbe", "isolationRequired"}
    assert "reportUrl" not in told["intake"]
    probe = Endpoint(host="10.96.0.1", port=443)
    pod = build_documents(training, replace(RUN, listen_host="::", isolation_probe=probe, isolation_required=True))
    assert (pod["server"].listen_host, pod["st-mary"].isolation_probe) == ("::", probe)
    assert pod["st-mary"].isolation_required
