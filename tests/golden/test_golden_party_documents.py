"""Party documents from manifests. A folder `party-documents-of-…` holds `input.yaml`, a manifest, and `output.yaml`."""

import os
from pathlib import Path

import pytest
import yaml

from splittraining.api.party_document import Endpoint, IntakeAccess, Reporting
from splittraining.api.resource import parse_split_training
from splittraining.plan.acceptance import find_problems
from splittraining.plan.contracts import build_contract
from splittraining.plan.party_documents import PartyPlace, RunPlace, build_party_documents
from splittraining.plan.topology import list_parties

CASES = sorted(Path(__file__).parent.glob("party-documents-of-*"))
RUN = RunPlace(
    run_id="3f0d0c5e-9a8e-4f6e-8a57-0d3f9b2f6c11",
    trust_domain="splittraining.local",
    server=Endpoint(host="server.trial.svc", port=7443),
    reporting=Reporting(),
    clients={name: Endpoint(host=f"{name}.trial.svc", port=7443) for name in ("st-mary", "st-luke", "st-anne")},
)
SOURCE_DIGEST = "sha256:" + "0" * 64


def render_documents(manifest: str) -> str:
    training = parse_split_training(yaml.safe_load(manifest))
    assert find_problems(training) == []
    places = {
        party: PartyPlace(
            intake=IntakeAccess(
                url="https://intake.splittraining.svc:8443",
                bundle_path="/var/run/splittraining/bundle.pem",
                token_path="/var/run/splittraining/token",
            ),
            output_path="/output",
            data_path="/data",
            source_path="/source",
        )
        for party in list_parties(training.spec)
    }
    contract = build_contract(training, source_digest=SOURCE_DIGEST)
    documents = build_party_documents(training, contract, run=RUN, places=places)
    return yaml.safe_dump_all(
        [document.as_json_object() for document in documents.values()], sort_keys=False, width=120, allow_unicode=True
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_party_documents_are_what_was_agreed_on(case: Path):
    rendered = render_documents((case / "input.yaml").read_text())
    if os.environ.get("SPLITTRAINING_UPDATE_GOLDEN"):
        (case / "output.yaml").write_text(rendered)
    assert rendered == (case / "output.yaml").read_text()
