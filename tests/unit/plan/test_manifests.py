"""What every object of a party keeps to, whatever the training says."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest

from splittraining.api.party_document import Endpoint, PartyDocument
from splittraining.plan.contracts import build_contract
from splittraining.plan.manifests.config_maps import build_source_map
from splittraining.plan.manifests.job import build_job
from splittraining.plan.manifests.party_set import build_party_objects
from splittraining.plan.manifests.settings import DnsSettings, OperatorSettings
from splittraining.plan.topology import list_parties
from support.builders import (
    TrainingBuilder,
    a_multi_hop_training,
    a_u_shaped_training,
    a_vanilla_training,
    a_vertical_training,
    an_extended_training,
)
from support.manifests import A_SETTINGS
from support.observed import SOURCE, UID

DIGEST = "sha256:" + "1" * 64
TRAININGS = {
    "Vanilla": a_vanilla_training(),
    "UShaped": a_u_shaped_training(),
    "Vertical": a_vertical_training(),
    "PeerToPeer": a_vanilla_training().with_value("spec.schedule.sequential.handoff", "PeerToPeer"),
    "ExtendedVanilla": an_extended_training(),
    "MultiHop": a_multi_hop_training(),
}
Objects = list[dict[str, Any]]


def build(builder: TrainingBuilder, *, attempt: int = 1, settings: OperatorSettings = A_SETTINGS) -> dict[str, Objects]:
    """Returns all objects by party, the Job last."""
    training = builder.with_value("metadata.uid", UID).build()
    contract = build_contract(training, source_digest=DIGEST)
    found: dict[str, Objects] = {}
    for party in list_parties(training.spec):
        known = {"uid": f"uid-of-{party}", "attempt": attempt, "settings": settings}
        objects = build_party_objects(training, contract, party, **known, source_files=SOURCE, trust_bundle_pem="x")
        found[party] = [*objects, build_job(training, contract, party, **known)]
    return found


def build_all(builder: TrainingBuilder) -> Objects:
    return [item for objects in build(builder).values() for item in objects]


def get(objects: Objects, kind: str, suffix: str = "") -> dict[str, Any]:
    (found,) = (item for item in objects if item["kind"] == kind and item["metadata"]["name"].endswith(suffix or ""))
    return found


def get_pod(objects: Objects) -> dict[str, Any]:
    return get(objects, "Job")["spec"]["template"]["spec"]


def walk(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, below in value.items():
            yield name, below
            yield from walk(below)
    elif isinstance(value, list):
        for below in value:
            yield from walk(below)


@pytest.mark.parametrize("name", TRAININGS)
def test_nothing_of_the_host_and_no_right_is_ever_asked_for(name: str):
    objects = build_all(TRAININGS[name])
    assert {item["kind"] for item in objects} <= {
        "ConfigMap", "Job", "NetworkPolicy", "PersistentVolumeClaim", "Service", "ServiceAccount"
    }  # fmt: skip
    fields = {field for field, _ in walk(objects)}
    forbidden = (
        "hostPath",
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "hostPort",
        "privileged",
        "secret",
        "envFrom",
        "valueFrom",
    )
    assert not fields & set(forbidden)
    for item in objects:
        assert item["metadata"]["namespace"] == "trial"
        assert item["metadata"]["labels"]["splitlearning.dev/training-uid"] == UID


@pytest.mark.parametrize("name", TRAININGS)
def test_a_pod_is_restricted_and_has_no_token_of_the_api_server(name: str):
    for objects in build(TRAININGS[name]).values():
        pod = get_pod(objects)
        (container,) = pod["containers"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        tokens = [source for _, source in walk(pod) if isinstance(source, dict) and "audience" in source]
        assert len(tokens) == 1
        assert tokens[0]["audience"].startswith("splittraining:uid-of-")


def test_data_is_mounted_read_only_where_a_party_has_some():
    objects = build(a_vanilla_training())
    mounts = {mount["name"]: mount for mount in get_pod(objects["st-mary"])["containers"][0]["volumeMounts"]}
    assert mounts["data"]["readOnly"] is True
    assert "readOnly" not in mounts["output"]
    assert "data" not in {volume["name"] for volume in get_pod(objects["server"])["volumes"]}


def test_a_hop_without_data_has_no_volume_but_its_output():
    objects = build(a_multi_hop_training())
    volumes = {party: {volume["name"] for volume in get_pod(own)["volumes"]} for party, own in objects.items()}
    assert [party for party in volumes if "data" in volumes[party]] == ["clinic"]
    assert all("output" in own for own in volumes.values())


@pytest.mark.parametrize("party", ["server", "lab", "clinic"])
def test_a_claim_with_first_weights_is_mounted_read_only_in_its_partys_pod_alone(party: str):
    place = "spec.server" if party == "server" else f"spec.clients.{('clinic', 'lab').index(party)}"
    weights = {"path": "first.safetensors", "digest": DIGEST, "volume": a_claim("pretrained")}
    objects = build(a_multi_hop_training().with_value(f"{place}.warmStart", weights))
    for name, own in objects.items():
        volumes = {each["name"]: each for each in get_pod(own)["volumes"]}
        mounts = {each["name"]: each for each in get_pod(own)["containers"][0]["volumeMounts"]}
        document = read_document(own)
        assert ("warm-start" in volumes) == ("warm-start" in mounts) == (name == party)
        assert ("data" in volumes) == (name == "clinic")
        assert (document.warm_start_path, document.warm_start is not None) == (
            ("/warm-start", True) if name == party else ("", False)
        )
        if name == party:
            claim = {"claimName": "pretrained", "readOnly": True}
            assert volumes["warm-start"]["persistentVolumeClaim"] == claim
            assert mounts["warm-start"] == {"name": "warm-start", "mountPath": "/warm-start", "readOnly": True}


@pytest.mark.parametrize("volume", [{}, {"volume": {"persistentVolumeClaim": {"claimName": "rows"}}}])
def test_first_weights_on_the_volume_of_the_rows_need_no_second_mount(volume: dict[str, Any]):
    weights = {"path": "first.safetensors", "digest": DIGEST, **volume}
    own = build(a_multi_hop_training().with_value("spec.clients.0.warmStart", weights))["clinic"]
    claims = [each["persistentVolumeClaim"]["claimName"] for each in get_pod(own)["volumes"] if "persist" in str(each)]
    assert sorted(claims) == sorted({*claims})
    assert read_document(own).warm_start_path == read_document(own).data_path == "/data"


def a_claim(name: str) -> dict[str, Any]:
    return {"persistentVolumeClaim": {"claimName": name}}


def read_document(objects: Objects) -> PartyDocument:
    (data,) = (
        each["data"]["party.json"] for each in objects if each["kind"] == "ConfigMap" and "party.json" in each["data"]
    )
    return PartyDocument.model_validate_json(data)


def test_a_pod_is_scheduled_as_the_manifest_says():
    scheduling = {
        "resources": {"limits": {"nvidia.com/gpu": "1", "memory": "8Gi"}, "requests": {"cpu": "500m"}},
        "nodeSelector": {"gpu": "a100"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "runtimeClassName": "nvidia",
        "priorityClassName": "research",
    }
    training = a_vanilla_training().with_value("spec.clients.0.pod", scheduling)
    objects = build(training.with_value("spec.imagePullSecrets", [{"name": "registry"}]))
    pod = get_pod(objects["st-mary"])
    assert pod["containers"][0]["resources"] == scheduling["resources"]
    assert {name: pod[name] for name in list(scheduling)[1:]} == {
        name: scheduling[name] for name in list(scheduling)[1:]
    }
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert "nodeSelector" not in get_pod(objects["st-luke"])


def test_a_party_is_told_where_to_dial_and_of_which_attempt_it_is():
    objects = build(a_vanilla_training(), attempt=3)
    service = get(objects["server"], "Service")
    for party, own in objects.items():
        child = get(own, "ServiceAccount")["metadata"]["name"]
        document = PartyDocument.model_validate_json(get(own, "ConfigMap", child)["data"]["party.json"])
        assert (document.party, document.generation, document.run_id) == (party, 3, UID)
        assert document.server.host == f"{service['metadata']['name']}.trial.svc"
        assert document.server.port == service["spec"]["ports"][0]["port"]
        assert document.intake.url == "https://splittraining-intake.splittraining-system.svc:8443"
        assert document.isolation_probe == A_SETTINGS.isolation_probe


def test_only_the_server_is_dialed_and_only_by_this_trainings_clients():
    objects = build(a_vanilla_training())
    server, client = get(objects["server"], "NetworkPolicy")["spec"], get(objects["st-mary"], "NetworkPolicy")["spec"]
    assert client["ingress"] == []
    (rule,) = server["ingress"]
    dialers = [peer["podSelector"]["matchLabels"] for peer in rule["from"]]
    assert dialers == [
        {"splitlearning.dev/training-uid": UID, "splitlearning.dev/party": party} for party in ("st-mary", "st-luke")
    ]
    assert all("namespaceSelector" in peer for peer in rule["from"])
    assert not [rule for rule in server["egress"] if "party" in json.dumps(rule)]
    for policy in (server, client):
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert all(rule.get("to") and rule.get("ports") for rule in policy["egress"])


PEER_TO_PEER = a_vanilla_training().with_client("st-anne").with_value("spec.schedule.sequential.handoff", "PeerToPeer")
RING = {"st-mary": "st-luke", "st-luke": "st-anne", "st-anne": "st-mary"}


def list_selected(peers: list[dict[str, Any]]) -> list[str]:
    assert all(peer["podSelector"]["matchLabels"]["splitlearning.dev/training-uid"] == UID for peer in peers)
    return [peer["podSelector"]["matchLabels"]["splitlearning.dev/party"] for peer in peers]


@pytest.mark.parametrize(("sender", "receiver"), RING.items())
def test_from_client_to_client_only_the_one_before_dials_and_only_the_next_one_is_dialed(sender: str, receiver: str):
    objects = build(PEER_TO_PEER)
    port = [{"protocol": "TCP", "port": 7443}]
    (ingress,) = get(objects[receiver], "NetworkPolicy")["spec"]["ingress"]
    assert (list_selected(ingress["from"]), ingress["ports"]) == ([sender], port)
    *_, egress = get(objects[sender], "NetworkPolicy")["spec"]["egress"]
    assert (list_selected(egress["to"]), egress["ports"]) == (["server", receiver], port)
    assert not [rule for rule in get(objects["server"], "NetworkPolicy")["spec"]["egress"] if "party" in str(rule)]
    assert get(objects[receiver], "Service")["spec"]["selector"]["splitlearning.dev/party"] == receiver


def test_from_client_to_client_each_is_told_its_own_port_and_the_next_ones_name():
    objects = build(PEER_TO_PEER)
    for sender, receiver in RING.items():
        child = get(objects[sender], "ServiceAccount")["metadata"]["name"]
        told = PartyDocument.model_validate_json(get(objects[sender], "ConfigMap", child)["data"]["party.json"])
        service = get(objects[receiver], "Service")["metadata"]["name"]
        assert told.listen == Endpoint(host="0.0.0.0", port=7443)
        assert told.successor == Endpoint(host=f"{service}.trial.svc", port=7443)


@pytest.mark.parametrize("handoff", ["ViaServer", "None"])
def test_where_nothing_is_handed_on_directly_no_client_listens(handoff: str):
    objects = build(a_vanilla_training().with_value("spec.schedule.sequential.handoff", handoff))
    for client in ("st-mary", "st-luke"):
        assert "Service" not in {item["kind"] for item in objects[client]}
        assert get(objects[client], "NetworkPolicy")["spec"]["ingress"] == []


def test_a_lone_client_has_nobody_to_hand_on_to():
    lone = a_vanilla_training().without("spec.clients.1").with_value("spec.schedule.sequential.handoff", "PeerToPeer")
    objects = build(lone)
    assert "Service" not in {item["kind"] for item in objects["st-mary"]}
    assert get(objects["st-mary"], "NetworkPolicy")["spec"]["ingress"] == []


def test_names_are_asked_where_this_cluster_answers():
    dns = DnsSettings("dns", {"app": "coredns"}, ports=(53, 5353), ip_blocks=("169.254.20.10/32",))
    objects = build(a_vanilla_training(), settings=dataclasses.replace(A_SETTINGS, dns=dns))
    for own in objects.values():
        rule = get(own, "NetworkPolicy")["spec"]["egress"][0]
        assert rule["to"] == [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "dns"}},
                "podSelector": {"matchLabels": {"app": "coredns"}},
            },
            {"ipBlock": {"cidr": "169.254.20.10/32"}},
        ]
        assert {(port["protocol"], port["port"]) for port in rule["ports"]} == {
            ("UDP", 53), ("TCP", 53), ("UDP", 5353), ("TCP", 5353)
        }  # fmt: skip


@pytest.mark.parametrize("name", [name for name in TRAININGS if name != "PeerToPeer"])  # which opens its pairs as well
def test_a_policy_opens_nothing_but_names_the_intake_and_the_server(name: str):
    objects = build(TRAININGS[name])
    intake = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": A_SETTINGS.namespace}},
        "podSelector": {"matchLabels": dict(A_SETTINGS.intake_labels)},
    }
    for party, own in objects.items():
        _, at_intake, *at_server = get(own, "NetworkPolicy")["spec"]["egress"]
        assert at_intake == {"to": [intake], "ports": [{"protocol": "TCP", "port": A_SETTINGS.intake_port}]}
        dialed = [peer["podSelector"]["matchLabels"]["splitlearning.dev/party"] for r in at_server for peer in r["to"]]
        assert dialed == ([] if party == "server" else ["server"])  # what goes from hop to hop takes this way too
        assert bool(get(own, "NetworkPolicy")["spec"]["ingress"]) is (party == "server")


def test_a_policy_selects_the_pods_of_its_own_party_in_every_attempt():
    for attempt in (1, 2):
        for own in build(a_vanilla_training(), attempt=attempt).values():
            selected = get(own, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
            labels = get(own, "Job")["spec"]["template"]["metadata"]["labels"]
            assert selected.items() <= labels.items()
            assert labels["splitlearning.dev/attempt"] == str(attempt)
            assert "splitlearning.dev/attempt" not in selected


def test_nothing_is_applied_before_the_policy():
    for own in build(a_vanilla_training()).values():
        assert own[0]["kind"] == "NetworkPolicy"


def test_what_a_pod_mounts_is_among_its_own_objects():
    for own in build(a_vanilla_training()).values():
        made = {item["metadata"]["name"] for item in own}
        mounted = {
            volume["configMap"]["name"] for volume in get_pod(own)["volumes"] if "configMap" in volume
        }  # fmt: skip
        assert mounted <= made
        assert get_pod(own)["serviceAccountName"] in made


def test_a_party_runs_its_own_image_else_the_trainings():
    digest = "registry.example/party@sha256:" + "2" * 64
    training = a_vanilla_training().with_value("spec.clients.0.image", digest)
    images = {party: get_pod(own)["containers"][0]["image"] for party, own in build(training).items()}
    assert images["st-mary"] == digest
    assert images["st-luke"] == training.build().spec.image


def test_without_isolation_no_policy_is_written_and_nothing_is_probed():
    objects = build(a_vanilla_training().with_value("spec.network.isolation", "None"))
    assert not [item for item in objects["server"] if item["kind"] == "NetworkPolicy"]
    assert (
        "isolationProbe"
        not in get(objects["server"], "ConfigMap", get(objects["server"], "ServiceAccount")["metadata"]["name"])[
            "data"
        ]["party.json"]
    )


def test_results_outlive_the_training_unless_the_manifest_says_otherwise():
    volume = {"storage": "2Gi", "storageClassName": "fast"}
    kept = get(
        build(a_vanilla_training().with_value("spec.checkpoint", {"volume": volume}))["st-mary"],
        "PersistentVolumeClaim",
    )
    assert "ownerReferences" not in kept["metadata"]
    assert kept["spec"]["resources"] == {"requests": {"storage": "2Gi"}}
    assert kept["spec"]["storageClassName"] == "fast"
    gone = a_vanilla_training().with_value("spec.checkpoint", {"volume": {**volume, "reclaimPolicy": "Delete"}})
    assert "ownerReferences" in get(build(gone)["st-mary"], "PersistentVolumeClaim")["metadata"]


def test_everything_else_goes_with_the_participation():
    for party, objects in build(a_vanilla_training()).items():
        for item in objects:
            if item["kind"] != "PersistentVolumeClaim":
                (owner,) = item["metadata"]["ownerReferences"]
                assert (owner["kind"], owner["uid"], owner["controller"]) == (
                    "SplitParticipation", f"uid-of-{party}", True
                )  # fmt: skip


def test_a_job_is_not_retried_by_itself():
    for objects in build(a_vanilla_training()).values():
        spec = get(objects, "Job")["spec"]
        assert spec["backoffLimit"] == 0
        assert spec["podReplacementPolicy"] == "Failed"
        assert "suspend" not in spec
        assert "ttlSecondsAfterFinished" not in spec


def test_source_files_that_are_no_text_are_kept_byte_for_byte():
    training = a_vanilla_training().with_value("metadata.uid", UID).build()
    copy = build_source_map(training, "server", uid="u", files={"a.py": b"x = 1\n", "b.py": b"\xff\xfe"})
    assert copy["data"] == {"a.py": "x = 1\n"}
    assert base64.b64decode(copy["binaryData"]["b.py"]) == b"\xff\xfe"
