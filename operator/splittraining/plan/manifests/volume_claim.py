"""The claim of a party's output volume: its weights, metrics and log, which outlive its pods."""

from __future__ import annotations

from splittraining.api.resource import SplitTraining
from splittraining.api.spec.operation import CheckpointVolume, ReclaimPolicy
from splittraining.plan.manifests.metadata import Manifest, build_object, own_by_participation
from splittraining.plan.manifests.settings import OperatorSettings


def build_volume_claim(training: SplitTraining, party: str, *, uid: str, settings: OperatorSettings) -> Manifest:
    """Builds the claim. With reclaimPolicy Retain nothing owns it, so that it outlives the training."""
    checkpoint = training.spec.checkpoint
    volume = checkpoint.volume if checkpoint is not None and checkpoint.volume is not None else None
    volume = volume or CheckpointVolume(storage=settings.output_storage)
    spec: Manifest = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": volume.storage}},
    }
    if volume.storage_class_name is not None:
        spec["storageClassName"] = volume.storage_class_name
    is_kept = volume.reclaim_policy is ReclaimPolicy.RETAIN
    owners = [] if is_kept else own_by_participation(training, party, uid)
    return build_object("v1", "PersistentVolumeClaim", training, party, owners=owners, spec=spec)
