"""The contract of a training: what every party agrees on, taken from the manifest and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from splittraining.api.contract import Contract, ContractParty, ContractWarmStart
from splittraining.api.resource import SplitTraining
from splittraining.api.spec.client import ClientSpec
from splittraining.api.spec.warm_start import WarmStartSpec
from splittraining.plan.topology import build_links, get_data, get_member, get_namespace, get_role, list_parties


def build_contract(
    training: SplitTraining, *, source_digest: str, default_images: Mapping[str, str] | None = None
) -> Contract:
    """Builds the contract.

    Args:
        training: An accepted training.
        source_digest: Digest of the model's source files, or empty where the image has them installed.
        default_images: What a party runs for which the manifest names no image, by party.
    """
    spec = training.spec
    return Contract(
        topology=spec.topology,
        # Which ConfigMap the source came from is nobody's business: the digest says what it is.
        model=spec.model.model_copy(update={"source": None}),
        source_digest=source_digest,
        training=spec.training,
        schedule=spec.schedule,
        tasks=spec.tasks,
        parties=tuple(
            _build_party(training, name, (default_images or {}).get(name, "")) for name in list_parties(spec)
        ),
        links=build_links(spec),
    )


def _build_party(training: SplitTraining, name: str, default_image: str) -> ContractParty:
    spec = training.spec
    member = get_member(spec, name)
    data = get_data(spec, name)
    return ContractParty(
        name=name,
        role=get_role(name),
        namespace=get_namespace(training, name),
        image=member.image or spec.image or default_image,
        cut_points=member.cut_points if isinstance(member, ClientSpec) else (),
        inputs=data.inputs if data else (),
        label=data.label if data else None,
        id_column=(data.id_column or "") if data else "",
        classes=data.classes if data else (),
        transform=data.transform if data else None,
        warm_start=_build_warm_start(member.warm_start),
    )


def _build_warm_start(warm_start: WarmStartSpec | None) -> ContractWarmStart | None:
    if warm_start is None:
        return None
    return ContractWarmStart(digest=warm_start.digest, parameters=warm_start.parameters)
