"""Reading a manifest: what is wrong is told with its place, what was given and what is allowed."""

from __future__ import annotations

import pytest

from splittraining.api.errors import SpecInvalid
from splittraining.api.exit_codes import ExitCode
from splittraining.api.resource import parse_split_training
from support.builders import TrainingBuilder, a_training, a_vanilla_training

VANILLA = a_vanilla_training()
LIMITS = "spec.clients.0.pod.resources.limits"


def test_a_manifest_without_a_status_is_read():
    training = VANILLA.build()
    assert (training.metadata.name, training.metadata.namespace) == ("chest-xray", "trial")
    assert training.spec.training.optimizer.learning_rate == "0.05"
    assert training.status is None


def test_a_manifest_without_a_namespace_goes_to_the_default_one():
    assert VANILLA.without("metadata.namespace").build().metadata.namespace == "default"


def test_metadata_as_the_api_server_returns_it_is_read():
    returned = {
        "name": "chest-xray",
        "namespace": "trial",
        "labels": {"team": "imaging"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        "uid": "3f0d0c5e-9a8e-4f6e-8a57-0d3f9b2f6c11",
        "resourceVersion": "4711",
        "generation": 3,
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "deletionTimestamp": "2026-01-02T03:04:05Z",
        "deletionGracePeriodSeconds": 0,
        "finalizers": ["foregroundDeletion"],
        "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "lead", "uid": "1"}],
        "managedFields": [{"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:spec": {}}}],
    }
    training = VANILLA.with_value("metadata", returned).build()
    assert (training.metadata.generation, training.metadata.labels) == (3, {"team": "imaging"})
    assert training.spec == VANILLA.build().spec


def test_metadata_as_older_tools_write_it_is_read():
    assert VANILLA.with_value("metadata.creationTimestamp", None).build().spec == VANILLA.build().spec


def test_what_was_read_can_be_written_and_read_again():
    training = VANILLA.build()
    assert parse_split_training(training.model_dump(mode="json", by_alias=True, exclude_none=True)) == training


def test_a_whole_number_of_gpus_may_stand_unquoted():
    limits = VANILLA.with_value(LIMITS, {"nvidia.com/gpu": 1}).build().spec.clients[0].pod.resources.limits
    assert limits == {"nvidia.com/gpu": "1"}


@pytest.mark.parametrize(
    ("training", "told"),
    [
        pytest.param(
            VANILLA.with_value("spec.clents", []),
            "spec.clents: no such field; did you mean clients?",
            id="a typo at the top",
        ),
        pytest.param(
            VANILLA.with_value("spec.training.optimizer.learnigRate", "0.1"),
            "spec.training.optimizer.learnigRate: no such field; did you mean learningRate?",
            id="a typo further down",
        ),
        pytest.param(
            VANILLA.with_value("metadata.nmespace", "trial"),
            "metadata.nmespace: no such field; did you mean namespace?",
            id="a typo in the metadata",
        ),
        pytest.param(
            VANILLA.with_value("spec.clients.1.data.trian", {}),
            "spec.clients[1].data.trian: no such field; did you mean train?",
            id="a typo in a list item",
        ),
        pytest.param(
            VANILLA.without("spec.model.cutPoints").with_value("spec.model.cut_points", [{"layer": "layer1"}]),
            "spec.model.cut_points: no such field; did you mean cutPoints?",
            id="a name that only Python has",
        ),
        pytest.param(
            VANILLA.with_value("spec.schedule.zebra", 1),
            "spec.schedule.zebra: no such field; allowed: mode, parallel, sequential, splitFed",
            id="a name that is near nothing",
        ),
        pytest.param(VANILLA.without("spec.rounds"), "spec.rounds: missing", id="a missing field"),
        pytest.param(
            VANILLA.with_value("spec.topology", "vanilla"),
            "spec.topology: 'vanilla' is not allowed; allowed: 'Vanilla', 'UShaped', 'Vertical', 'ExtendedVanilla',"
            " 'MultiHop' or 'MultiTask'",
            id="a value that is none of the allowed ones",
        ),
        pytest.param(
            VANILLA.with_value("kind", "SplitTrainings"),
            "kind: 'SplitTrainings' is not allowed; allowed: 'SplitTraining'",
            id="another kind",
        ),
        pytest.param(
            VANILLA.with_value("spec.training.optimizer.learningRate", 0.05),
            'spec.training.optimizer.learningRate: 0.05 is not text; quote it: "0.05"',
            id="a float",
        ),
        pytest.param(
            VANILLA.with_value("spec.model.arguments", {"bias": True}),
            'spec.model.arguments.bias: true is not text; quote it: "true"',
            id="an argument that YAML reads as a truth value",
        ),
        pytest.param(
            VANILLA.with_value(LIMITS, {"cpu": 1.5}),
            'spec.clients[0].pod.resources.limits.cpu: 1.5 is not text; quote it: "1.5"',
            id="a quantity that is a float",
        ),
        pytest.param(
            VANILLA.with_value(LIMITS, {"cpu": "many"}),
            "spec.clients[0].pod.resources.limits.cpu: 'many' is not allowed; allowed: text that matches"
            r" ^[0-9]+(\.[0-9]+)?([numkMGTPE]|[KMGTPE]i)?$",
            id="a quantity that is none",
        ),
        pytest.param(
            VANILLA.with_value("spec.clients.0.data.train.path", "/etc/passwd"),
            "spec.clients[0].data.train.path: '/etc/passwd' is not allowed; allowed: text that matches ^[^/].*$",
            id="an absolute path",
        ),
        pytest.param(
            VANILLA.with_value("spec.rounds", 0),
            "spec.rounds: 0 is not allowed; allowed: 1 or more",
            id="a number that is too low",
        ),
        pytest.param(
            VANILLA.with_value("spec.training.batchSize", 2_000_000),
            "spec.training.batchSize: 2000000 is not allowed; allowed: 1048576 or less",
            id="a number that is too high",
        ),
        pytest.param(
            VANILLA.with_value("spec.rounds", "20"),
            "spec.rounds: '20' is not allowed; allowed: a whole number",
            id="a quoted number",
        ),
        pytest.param(
            VANILLA.with_value("spec.rounds", 2.5),
            "spec.rounds: 2.5 is not allowed; allowed: a whole number",
            id="half a round",
        ),
        pytest.param(
            VANILLA.with_value("spec.suspend", "yes"),
            "spec.suspend: 'yes' is not allowed; allowed: true or false",
            id="a word for a truth value",
        ),
        pytest.param(
            VANILLA.with_value("spec.training", None),
            "spec.training: is empty (null); allowed: a mapping of fields",
            id="a key without a value",
        ),
        pytest.param(
            VANILLA.with_value("spec.clients", "st-mary"),
            "spec.clients: 'st-mary' is not allowed; allowed: a list",
            id="text for a list",
        ),
        pytest.param(
            VANILLA.with_value("spec.clients", []),
            "spec.clients: [] is not allowed; allowed: 1 or more items",
            id="no clients",
        ),
        pytest.param(
            a_training().with_client("st-mary").with_client("st-mary"),
            "spec.clients: name st-mary is given more than once; each must be unique",
            id="two clients of one name",
        ),
        pytest.param(
            VANILLA.named("x" * 41),
            f"metadata.name: '{'x' * 41}' is not allowed; allowed: at most 40 characters",
            id="a long name",
        ),
        pytest.param(
            VANILLA.with_value("spec.model.inputs.0.shape", [0]),
            "spec.model.inputs[0].shape[0]: 0 is not allowed; allowed: 1 or more",
            id="a wrong item, without complaint about the list around it",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(training: TrainingBuilder, told: str):
    with pytest.raises(SpecInvalid) as refusal:
        training.build()
    assert refusal.value.given == told
    assert refusal.value.exit_code is ExitCode.SPEC_INVALID
    assert "splittraining validate" in refusal.value.remedy


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(SpecInvalid) as refusal:
        VANILLA.without("spec.rounds").with_value("spec.topolgy", "Vanilla").with_value("spec.suspend", 1).build()
    assert refusal.value.given.splitlines() == [
        "3 problems:",
        "  spec.rounds: missing",
        "  spec.suspend: 1 is not allowed; allowed: true or false",
        "  spec.topolgy: no such field; did you mean topology?",
    ]


def test_a_long_value_is_shortened_to_a_line():
    with pytest.raises(SpecInvalid) as refusal:
        VANILLA.with_value("spec.model.entrypoint", "x" * 500).build()
    assert len(refusal.value.given) < 200


def test_a_document_that_is_no_mapping_is_refused():
    with pytest.raises(SpecInvalid, match=r"^the document: \[\] is not allowed; allowed: a mapping of fields"):
        parse_split_training([])  # type: ignore[arg-type]
