"""Volumes that are folders on a node: static and local, so that a pod's group may write to them."""

from __future__ import annotations

from typing import Any

NUM_VOLUMES = 16
"""How many a cluster has from the start, for claims that do not say which they want."""
SIZE = "4Gi"
CLASS = "local"


def build_volume(name: str, folder: str, node: str) -> dict[str, Any]:
    """Builds a volume."""
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": SIZE},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": CLASS,
            # What local volumes can do; and nobody's results are deleted.
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": folder},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


def build_claimed_volume(namespace: str, claim: str, folder: str, node: str) -> list[dict[str, Any]]:
    """Builds a claim and the volume that is there for it alone, as an institution's administrator would."""
    volume = build_volume(f"{namespace}-{claim}", folder, node)
    reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim}
    volume["spec"]["claimRef"] = reference
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": CLASS,
        "volumeName": volume["metadata"]["name"],
        "resources": {"requests": {"storage": SIZE}},
    }
    metadata = {"name": claim, "namespace": namespace}
    return [volume, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}]
