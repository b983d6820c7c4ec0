"""The pod that reads a party's volume: made in the user's name, for one fetch, and gone afterwards.

Bytes come through ``exec`` and never through the pod's log: a log is kept on the node, cut when it grows, and collected
by whoever collects logs, and weights are not for them.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from splittraining.api.names import APP_LABEL, MANAGED_BY_LABEL, OUTPUT_FOLDER, PARTY_LABEL, TRAINING_UID_LABEL
from splittraining.api.resource import API_VERSION, KIND
from splittraining.api.usage import ClusterFailed
from splittraining.cli import volume_reader
from splittraining.cli.reach import Api
from splittraining.cli.tame import tame_line
from splittraining.cluster.client import ApiObject
from splittraining.cluster.errors import ApiError, NotFound
from splittraining.cluster.resources import POD
from splittraining.plan.manifests.job import NOBODY

CONTAINER = "reader"
SCRIPT_VARIABLE = "SPLITTRAINING_READER"
LIFE_S = 3600
"""After this long the pod ends by itself, should nobody be left to delete it."""

PATIENCE_S = 120.0
PERIOD_S = 1.0
_CLEANUP_S = 10.0
_HOPELESS = frozenset(
    {"ErrImageNeverPull", "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError",
     "CreateContainerError", "RunContainerError"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume to read, and what a pod needs to stand beside it."""

    namespace: str
    claim: str
    image: str
    training_uid: str
    party: str
    owner: str = ""
    """Name of the training, where it is still there: the pod then goes with it at the latest."""
    pull_secrets: tuple[str, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()


def build_reader_pod(volume: Volume, *, token: str) -> ApiObject:
    """Builds the pod. It does nothing by itself, has no rights and no token, and cannot write to the volume.

    Args:
        volume: What it is to read.
        token: Tells pods of several fetches apart.
    """
    metadata: dict[str, Any] = {
        "name": f"{volume.claim}-fetch-{token}",
        "namespace": volume.namespace,
        # Not the operator's label, and neither the training's nor the party's: this is no pod of theirs.
        "labels": {MANAGED_BY_LABEL: "kubectl-splittraining", APP_LABEL: "splittraining-reader"},
    }
    if volume.owner:
        metadata["ownerReferences"] = [
            {"apiVersion": API_VERSION, "kind": KIND, "name": volume.owner, "uid": volume.training_uid}
        ]
    selector = {"matchLabels": {TRAINING_UID_LABEL: volume.training_uid, PARTY_LABEL: volume.party}}
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": LIFE_S,
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "fsGroup": NOBODY,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # A claim that one node at a time may use is had where the party's pod is, if it still runs.
        "affinity": {
            "podAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 100,
                        "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector},
                    }
                ]
            }
        },
        "containers": [_build_container(volume)],
        # Not readOnly here but at the mount: some drivers would attach the volume in another mode, which fails while
        # the party has it.
        "volumes": [{"name": "output", "persistentVolumeClaim": {"claimName": volume.claim}}],
    }
    if volume.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in volume.pull_secrets]
    if volume.node_selector:
        spec["nodeSelector"] = dict(volume.node_selector)
    if volume.tolerations:
        spec["tolerations"] = [dict(toleration) for toleration in volume.tolerations]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _build_container(volume: Volume) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": volume.image,
        "command": ["python3", "-c", f"import time; time.sleep({LIFE_S})"],
        # In a variable and not on the command line of exec, which is part of an address and as short as proxies like.
        "env": [{"name": SCRIPT_VARIABLE, "value": Path(volume_reader.__file__).read_text(encoding="utf-8")}],
        # What a namespace with a quota asks for; reading needs no more.
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
        },
        "volumeMounts": [{"name": "output", "mountPath": OUTPUT_FOLDER, "readOnly": True}],
    }


def build_command(paths: tuple[str, ...]) -> list[str]:
    """Builds the command that writes the files of those paths."""
    return ["python3", "-c", f"import os; exec(os.environ['{SCRIPT_VARIABLE}'])", OUTPUT_FOLDER, *paths]


@asynccontextmanager
async def reader_pod(
    api: Api,
    volume: Volume,
    *,
    notices: TextIO = sys.stderr,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    monotonic_s: Callable[[], float] = time.monotonic,
    make_token: Callable[[], str] = lambda: secrets.token_hex(3),
) -> AsyncIterator[str]:
    """Makes the pod, waits until it runs, yields its name, and deletes it whatever happens.

    Raises:
        ClusterFailed: if it does not come to run.
        ApiError: if it may not be made.
    """
    manifest = build_reader_pod(volume, token=make_token())
    name = manifest["metadata"]["name"]
    try:
        # Inside, since a call that is given up may have made the pod all the same.
        await api.call("POST", POD.get_path(volume.namespace), body=manifest)
        await _wait_until_running(api, volume, name, sleep, monotonic_s)
        yield name
    finally:
        await _delete(api, volume.namespace, name, notices)


async def _wait_until_running(
    api: Api,
    volume: Volume,
    name: str,
    sleep: Callable[[float], Awaitable[None]],
    monotonic_s: Callable[[], float],
) -> None:
    ends_s = monotonic_s() + PATIENCE_S
    while True:
        status = (await api.get(POD, volume.namespace, name)).get("status") or {}
        state = next((entry.get("state") or {} for entry in status.get("containerStatuses") or ()), {})
        if "running" in state:
            return
        trouble = _describe_trouble(status, state)
        is_over = status.get("phase") in ("Failed", "Succeeded") or "terminated" in state
        if is_over or state.get("waiting", {}).get("reason") in _HOPELESS:
            raise ClusterFailed(
                f"the pod that reads the volume cannot run with image {volume.image}: {trouble}",
                allowed="an image with python3 that the cluster can pull",
                remedy="name one with --image",
            )
        if monotonic_s() > ends_s:
            raise ClusterFailed(
                f"the pod that reads claim {volume.claim} does not run after {PATIENCE_S:g} s: {trouble}",
                remedy="if the party's own pod still holds the volume on another node, call again when it has ended",
            )
        await sleep(PERIOD_S)


def _describe_trouble(status: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    for part in (state.get("waiting"), state.get("terminated"), status):
        words = [str(part[key]) for key in ("reason", "message") if part.get(key)] if part else []
        if words:
            return tame_line(": ".join(words))
    for condition in status.get("conditions") or ():
        if condition.get("status") == "False" and condition.get("message"):
            return tame_line(str(condition["message"]))
    return "no reason is given yet"


async def _delete(api: Api, namespace: str, name: str, notices: TextIO) -> None:
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 1}
    try:
        async with asyncio.timeout(_CLEANUP_S):
            await api.call("DELETE", POD.get_path(namespace, name), body=options)
    except NotFound:
        return
    except (ApiError, TimeoutError) as error:
        notices.write(
            f"note: pod {name} could not be deleted ({error}); it ends by itself within {LIFE_S // 60} min, "
            f"or: kubectl delete pod {name} -n {namespace}\n"
        )
