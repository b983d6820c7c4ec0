"""The Job of a party in one attempt, and the pod in it.

The pod is what the `restricted` Pod Security standard asks for, and more: no token of the API server, a root file
system that cannot be written, no address of other Services in its environment. The manifest says how it is scheduled.

Source: Kubernetes documentation, "Pod Security Standards", "Jobs" (pod failure policy).
"""

from __future__ import annotations

from splittraining.api.contract import Contract
from splittraining.api.exit_codes import ExitCode
from splittraining.api.names import (
    DATA_FOLDER,
    DOCUMENT_FILE,
    DOCUMENT_FOLDER,
    OUTPUT_FOLDER,
    SOURCE_FOLDER,
    TERMINATION_PATH,
    TOKEN_FILE,
    TOKEN_FOLDER,
    TRUST_FOLDER,
    WARM_START_FOLDER,
    build_audience,
    build_job_name,
)
from splittraining.api.resource import SplitTraining
from splittraining.plan.environment import build_environment
from splittraining.plan.manifests.config_maps import get_source_name, get_trust_name
from splittraining.plan.manifests.metadata import (
    Manifest,
    build_labels,
    build_object,
    get_child_name,
    own_by_participation,
)
from splittraining.plan.manifests.settings import OperatorSettings
from splittraining.plan.topology import find_data_claim, find_warm_start_claim, get_member

CONTAINER = "party"
NOBODY = 65532
"""User and group of the party: no name, no rights, above what a system gives to its own."""

TOKEN_SECONDS = 3600
GRACE_SECONDS = 30
FOR_GOOD = [*range(ExitCode.SPEC_INVALID, ExitCode.NOT_SUPPORTED + 1), int(ExitCode.NETWORK_OPEN)]
"""Exit codes that trying again cannot mend: the Job's own message then names the code."""


def build_job(
    training: SplitTraining, contract: Contract, party: str, *, uid: str, attempt: int, settings: OperatorSettings
) -> Manifest:
    """Builds a party's Job.

    Args:
        training: An accepted training.
        contract: Its contract.
        party: The party.
        uid: Of its participation.
        attempt: Number of the attempt, counted from 1.
        settings: What the operator knows.
    """
    labels = build_labels(training, party, attempt=attempt)
    job = build_object(
        "batch/v1",
        "Job",
        training,
        party,
        owners=own_by_participation(training, party, uid),
        name=build_job_name(get_child_name(training, party), attempt),
        spec={
            "completions": 1,
            "parallelism": 1,
            # A lone new pod could not rejoin: all parties are started over together, and the operator counts.
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": FOR_GOOD},
                    }
                ]
            },
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
                },
                "spec": _build_pod(training, contract, party, uid=uid, settings=settings),
            },
        },
    )
    job["metadata"]["labels"] = labels
    return job


def _build_pod(
    training: SplitTraining, contract: Contract, party: str, *, uid: str, settings: OperatorSettings
) -> Manifest:
    scheduling = get_member(training.spec, party).pod
    volumes, mounts = _build_volumes(training, party, uid=uid, settings=settings)
    pod: Manifest = {
        "restartPolicy": "Never",
        "serviceAccountName": get_child_name(training, party),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "fsGroup": NOBODY,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_build_container(training, contract, party, mounts)],
        "volumes": volumes,
    }
    if training.spec.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret.name} for secret in training.spec.image_pull_secrets]
    if scheduling.node_selector:
        pod["nodeSelector"] = dict(scheduling.node_selector)
    if scheduling.tolerations:
        pod["tolerations"] = [
            toleration.model_dump(mode="json", by_alias=True, exclude_none=True)
            for toleration in scheduling.tolerations
        ]
    if scheduling.runtime_class_name is not None:
        pod["runtimeClassName"] = scheduling.runtime_class_name
    if scheduling.priority_class_name is not None:
        pod["priorityClassName"] = scheduling.priority_class_name
    return pod


def _build_container(training: SplitTraining, contract: Contract, party: str, mounts: list[Manifest]) -> Manifest:
    environment = build_environment(intra_op_threads=training.spec.training.numerics.intra_op_threads)
    resources = get_member(training.spec, party).pod.resources
    return {
        "name": CONTAINER,
        "image": contract.get_party(party).image,
        "args": ["run", f"{DOCUMENT_FOLDER}/{DOCUMENT_FILE}"],
        "env": [{"name": name, "value": value} for name, value in {**environment, "HOME": "/tmp"}.items()],  # noqa: S108
        "resources": {
            section: dict(values)
            for section, values in (("limits", resources.limits), ("requests", resources.requests))
            if values
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
        },
        "terminationMessagePath": TERMINATION_PATH,
        "terminationMessagePolicy": "File",
        "volumeMounts": mounts,
    }


def _build_volumes(
    training: SplitTraining, party: str, *, uid: str, settings: OperatorSettings
) -> tuple[list[Manifest], list[Manifest]]:
    child = get_child_name(training, party)
    token = {"path": TOKEN_FILE, "audience": build_audience(uid), "expirationSeconds": TOKEN_SECONDS}
    found: list[tuple[str, str, Manifest, bool]] = [
        ("document", DOCUMENT_FOLDER, {"configMap": {"name": child}}, True),
        ("trust", TRUST_FOLDER, {"configMap": {"name": get_trust_name(training, party)}}, True),
        ("token", TOKEN_FOLDER, {"projected": {"sources": [{"serviceAccountToken": token}]}}, True),
        ("output", OUTPUT_FOLDER, {"persistentVolumeClaim": {"claimName": child}}, False),
        ("temporary", "/tmp", {"emptyDir": {}}, False),  # noqa: S108 - the pod's own
        # PyTorch's data loaders pass batches through shared memory, of which a container has 64 MiB by default.
        ("shared-memory", "/dev/shm", {"emptyDir": {"medium": "Memory", "sizeLimit": settings.shared_memory}}, False),  # noqa: S108
    ]
    if training.spec.model.source is not None:
        source = {"configMap": {"name": get_source_name(training, party)}}
        found.append(("source", SOURCE_FOLDER, source, True))
    # A pod whose volumes name one claim twice may wait for it for ever.
    claims = {find_warm_start_claim(training.spec, party): ("warm-start", WARM_START_FOLDER)}
    claims[find_data_claim(training.spec, party)] = ("data", DATA_FOLDER)
    for claim, (name, path) in claims.items():
        if claim:
            found.append((name, path, {"persistentVolumeClaim": {"claimName": claim, "readOnly": True}}, True))
    volumes = [{"name": name, **source} for name, _, source, _ in found]
    mounts = [
        {"name": name, "mountPath": path, **({"readOnly": True} if is_fixed else {})}
        for name, path, _, is_fixed in found
    ]
    return volumes, mounts
