"""What an operator knows of itself and of its cluster, as far as manifests depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from splittraining.api.names import INTAKE_PORT
from splittraining.api.party_document import Endpoint

_DNS_LABELS = {"k8s-app": "kube-dns"}


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """Where pods resolve names."""

    namespace: str = "kube-system"
    labels: Mapping[str, str] = field(default_factory=lambda: dict(_DNS_LABELS))
    ports: tuple[int, ...] = (53,)
    ip_blocks: tuple[str, ...] = ()
    """Addresses of a resolver on the node itself, such as 169.254.20.10/32, which no selector finds."""


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """What is the same for all trainings of one operator."""

    namespace: str
    """The operator's own."""
    release: str = "splittraining"
    """Begins the names of the operator's Services."""
    trust_domain: str = "splittraining.local"
    party_image: str = ""
    """What parties run for which the manifest names no image."""
    intake_port: int = INTAKE_PORT
    intake_labels: Mapping[str, str] = field(
        default_factory=lambda: {"app.kubernetes.io/name": "splittraining-operator"}
    )
    """Labels of the operator's own pods."""
    dns: DnsSettings = field(default_factory=DnsSettings)
    isolation_probe: Endpoint | None = None
    """An address that no party may reach, and that answers whoever can: the API server's."""
    output_storage: str = "1Gi"
    """Size of a party's output volume where the manifest says nothing."""
    shared_memory: str = "1Gi"
    report_period_milliseconds: int = 5000

    @property
    def certificate_url(self) -> str:
        """Where parties get certificates: any replica."""
        return f"https://{self.release}-intake.{self.namespace}.svc:{self.intake_port}"

    @property
    def report_url(self) -> str:
        """Where parties report: the replica that leads."""
        return f"https://{self.release}-reports.{self.namespace}.svc:{self.intake_port}"
