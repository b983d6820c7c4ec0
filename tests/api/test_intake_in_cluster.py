"""The intake of a running operator: real tokens of a real API server, real pods' owners, certificates, reports."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from splittraining.api.identity import PartyIdentity
from splittraining.api.names import build_audience, build_child_name, build_job_name
from splittraining.api.report import PartyState, Report
from splittraining.pki.keys import build_csr, generate_key, render_key_pem
from splittraining.pki.tls import build_client_context

DOMAIN = "cluster.local"
PARTY = "st-mary"
Wait = Callable[..., Any]


@dataclass
class Visitor:
    """A party's side, as a pod would be."""

    place: Any
    uid: str
    port: int = 0

    @property
    def child(self) -> str:
        return build_child_name("chest-xray", PARTY, uid=self.uid)

    @property
    def identity(self) -> PartyIdentity:
        return PartyIdentity(DOMAIN, self.uid, PARTY)

    def get(self, path: str) -> Any:
        return self.place.server.get(path.format(self.place.namespace))

    def make_pod(self, *, owner_uid: str = "") -> dict[str, Any]:
        """Makes the pod that the Jobs controller would make, and lets it run."""
        job = self.get("/apis/batch/v1/namespaces/{}/jobs/" + build_job_name(self.child, 1))
        template = job["spec"]["template"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "controller": True}
        metadata = {
            "generateName": f"{job['metadata']['name']}-",
            "labels": template["metadata"]["labels"],
            "ownerReferences": [{**owner, "uid": owner_uid or job["metadata"]["uid"]}],
        }
        spec = {**template["spec"], "nodeName": "node-1"}
        path = f"/api/v1/namespaces/{self.place.namespace}/pods"
        pod = self.place.server.create(path, {"metadata": metadata, "spec": spec})
        status = {"status": {"phase": "Running"}}
        merge = "application/merge-patch+json"
        code, _ = self.place.server.call(
            "PATCH", f"{path}/{pod['metadata']['name']}/status", status, content_type=merge
        )
        assert code == 200
        return pod

    def make_token(self, pod: dict[str, Any], *, audience: str = "") -> str:
        participation = self.get("/apis/splitlearning.dev/v1alpha1/namespaces/{}/splitparticipations/" + self.child)
        metadata = pod["metadata"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
        spec = {
            "audiences": [audience or build_audience(participation["metadata"]["uid"])],
            "expirationSeconds": 600,
            "boundObjectRef": bound,
        }
        path = f"/api/v1/namespaces/{self.place.namespace}/serviceaccounts/{self.child}/token"
        return str(self.place.server.create(path, {"spec": spec})["status"]["token"])

    def get_roots(self) -> bytes:
        config_map = self.get("/api/v1/namespaces/{}/configmaps/" + f"{self.child}-trust")
        return str(config_map["data"]["bundle.pem"]).encode()

    def post(
        self, path: str, body: str, *, token: str = "", door: str = "intake", leaf: tuple[bytes, bytes] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Comes to the door under the name that its certificate must have."""
        given = {"leaf_pem": leaf[0], "key_pem": leaf[1]} if leaf else {}
        context = build_client_context(self.get_roots(), **given)
        name = f"splittraining-{door}.{self.place.operators}.svc"
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.sock = context.wrap_socket(
            socket.create_connection(("127.0.0.1", self.port), timeout=20), server_hostname=name
        )
        try:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def ask_for_leaf(self, token: str) -> tuple[int, dict[str, Any], bytes]:
        key = generate_key()
        csr = build_csr(key, self.identity).decode()
        status, answer = self.post("/v1/certificate", json.dumps({"csr": csr}), token=token)
        return status, answer, render_key_pem(key)


@pytest.fixture
def visitor(place: Any, wait: Wait) -> Visitor:
    operator = place.start()
    wait("a ready operator", operator.is_ready)
    visitor = Visitor(place, place.apply_training()["metadata"]["uid"], operator.intake_port)
    place.wait_for_children()
    return visitor


def test_a_party_gets_its_leaf_and_what_it_reports_stands_in_the_status(visitor: Visitor, wait: Wait) -> None:
    status, answer, key_pem = visitor.ask_for_leaf(visitor.make_token(visitor.make_pod()))
    assert status == 200, answer
    leaf = answer["leaf"].encode(), key_pem
    assert answer["bundle"] == {DOMAIN: [visitor.get_roots().decode()]}
    report = Report(party=PARTY, generation=1, sequence=1, state=PartyState.READY, device="cpu")
    body = report.model_dump_json(by_alias=True)
    assert visitor.post("/v1/report", body, door="reports", leaf=leaf) == (200, {"stored": True})

    def find_device() -> str:
        parties = visitor.place.get_training()["status"]["parties"]
        return str(next(party for party in parties if party["name"] == PARTY).get("device", ""))

    wait("the report in the status", lambda: find_device() == "cpu")
    renewed, _ = visitor.post(
        "/v1/certificate", json.dumps({"csr": build_csr(generate_key(), visitor.identity).decode()}), leaf=leaf
    )
    assert renewed == 200


def test_a_standby_signs_and_takes_no_reports(visitor: Visitor, wait: Wait) -> None:
    standby = visitor.place.start("operator-b")
    wait("a standby", standby.is_ready)
    visitor.port = standby.intake_port
    token = visitor.make_token(visitor.make_pod())
    status, answer, key_pem = visitor.ask_for_leaf(token)
    assert status == 200, answer
    report = Report(party=PARTY, generation=1, sequence=1, state=PartyState.READY).model_dump_json(by_alias=True)
    refused, words = visitor.post("/v1/report", report, leaf=(answer["leaf"].encode(), key_pem))
    assert refused == 503
    assert "only the leader takes reports" in words["message"]


def test_the_token_of_a_pod_that_is_gone_opens_nothing(visitor: Visitor) -> None:
    pod = visitor.make_pod()
    token = visitor.make_token(pod)
    path = f"/api/v1/namespaces/{visitor.place.namespace}/pods/{pod['metadata']['name']}?gracePeriodSeconds=0"
    assert visitor.place.server.call("DELETE", path)[0] == 200
    status, answer, _ = visitor.ask_for_leaf(token)
    assert (status, answer["reason"]) == (403, "IdentityRefused")


def test_a_pod_that_only_looks_like_the_partys_gets_nothing(visitor: Visitor) -> None:
    pod = visitor.make_pod(owner_uid="00000000-0000-0000-0000-000000000000")
    status, answer, _ = visitor.ask_for_leaf(visitor.make_token(pod))
    assert (status, answer["reason"]) == (403, "IdentityRefused")


def test_a_token_for_another_audience_opens_nothing(visitor: Visitor) -> None:
    token = visitor.make_token(visitor.make_pod(), audience="https://kubernetes.default.svc")
    statuses = [visitor.ask_for_leaf(token)[0] for _ in range(2)]
    assert statuses[0] == 401, "after another look at the cluster"
    assert statuses[1] == 503, "such a look is not repeated at once"


def test_a_door_of_another_name_is_not_this_one(visitor: Visitor) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        visitor.post("/v1/certificate", "{}", door="elsewhere")
