"""The operator's settings: flags, or `SPLITTRAINING_<FLAG>` in the environment; read once, frozen, handed down."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from splittraining.controller.flag_values import (
    Address,
    build_number_parser,
    parse_address,
    parse_ip_blocks,
    parse_labels,
    parse_list,
    parse_namespace,
    parse_port,
    parse_ports,
    parse_size,
)
from splittraining.plan.manifests.settings import DnsSettings

LOG_LEVELS = ("debug", "info", "warning", "error")
_DEFAULT_API_PORT = 443


@dataclass(frozen=True, slots=True)
class Settings:
    """Who this process is, what it watches and where its doors are."""

    namespace: str
    """The operator's own: its Lease, its CA and its reports address live there."""
    pod_name: str
    """Identifies this replica in the Lease."""
    pod_ip: str
    """Where parties send reports while this replica leads."""
    release: str = "splittraining"
    """Prefix of the operator's own objects."""
    watch_namespaces: tuple[str, ...] = ()
    """Namespaces with trainings; empty: all of the cluster."""
    trust_domain: str = "cluster.local"
    """The trust domain of every identity that is signed here."""
    party_image: str = ""
    """Used where neither the party nor the training names one."""
    intake_port: int = 8443
    metrics_port: int = 8080
    probe_port: int = 8081
    workers: int = 4
    """Trainings that are looked at side by side."""
    log_level: str = "info"
    isolation_probe: Address | None = None
    """What network policies must keep out of the parties' reach."""
    intake_labels: Mapping[str, str] = field(
        default_factory=lambda: {"app.kubernetes.io/name": "splittraining-operator"}
    )
    """Labels of the operator's own pods: parties may reach those alone."""
    dns: DnsSettings = field(default_factory=DnsSettings)
    """Where parties may resolve names."""
    output_storage: str = "1Gi"
    """Size of a party's output volume where the training says nothing."""
    shared_memory: str = "1Gi"
    """Size of a party's /dev/shm."""
    report_period_milliseconds: int = 5000
    """Longest silence between two reports of a party."""

    @property
    def lease_name(self) -> str:
        """Name of the Lease that says who leads."""
        return f"{self.release}-controller"

    @property
    def authority_name(self) -> str:
        """Name of the Secret with the CA."""
        return f"{self.release}-ca"

    @property
    def reports_name(self) -> str:
        """Name of the Service, and of its EndpointSlice, where reports go: the leader alone."""
        return f"{self.release}-reports"

    @property
    def intake_host(self) -> str:
        """DNS name under which every replica signs certificates."""
        return f"{self.release}-intake.{self.namespace}.svc"

    @property
    def reports_host(self) -> str:
        """DNS name under which the leader takes reports."""
        return f"{self.reports_name}.{self.namespace}.svc"


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Reads the settings: a flag wins over its variable, a variable over the default.

    Args:
        arguments: The command line without the command.
        environment: The process's environment.

    Raises:
        SystemExit: with code 2 and a message if something is missing or is no value of its kind.
    """
    parser = _build_parser(environment)
    given = parser.parse_args(arguments)
    missing = [flag for flag in ("namespace", "pod_name", "pod_ip") if not getattr(given, flag)]
    if missing:
        names = ", ".join("--" + flag.replace("_", "-") for flag in missing)
        parser.error(f"{names}: not given. To do: let the pod's downward API fill them in, as the chart does")
    return Settings(
        namespace=given.namespace,
        pod_name=given.pod_name,
        pod_ip=given.pod_ip,
        release=given.release,
        watch_namespaces=given.watch_namespaces,
        trust_domain=given.trust_domain,
        party_image=given.party_image,
        intake_port=given.intake_port,
        metrics_port=given.metrics_port,
        probe_port=given.probe_port,
        workers=given.workers,
        log_level=given.log_level,
        isolation_probe=given.isolation_probe or _find_api_server(environment),
        intake_labels=given.intake_labels,
        dns=DnsSettings(
            namespace=given.dns_namespace,
            labels=given.dns_labels,
            ports=given.dns_ports,
            ip_blocks=given.dns_ip_blocks,
        ),
        output_storage=given.output_storage,
        shared_memory=given.shared_memory,
        report_period_milliseconds=given.report_period_milliseconds,
    )


class AddFlag(Protocol):
    """Adds a flag to a parser."""

    def __call__(self, flag: str, default: str, text: str, parse: Callable[[str], object] = str) -> None:
        """Adds it."""
        ...


def _build_parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="splittraining-operator",
        description="Runs SplitTrainings in a cluster. Every flag is also read from SPLITTRAINING_<FLAG>.",
        allow_abbrev=False,  # what abbreviates one flag today may be ambiguous, or another one's, tomorrow
    )

    def add(flag: str, default: str, text: str, parse: Callable[[str], object] = str) -> None:
        variable = "SPLITTRAINING_" + flag.upper().replace("-", "_")
        # argparse parses a default that is text: a variable's mistakes get the same message as a flag's.
        parser.add_argument(f"--{flag}", default=environment.get(variable, default), type=parse, help=text)

    add("namespace", environment.get("POD_NAMESPACE", ""), "the operator's own namespace")
    add("pod-name", environment.get("POD_NAME", ""), "name of this pod")
    add("pod-ip", environment.get("POD_IP", ""), "address of this pod")
    add("release", "splittraining", "prefix of the operator's own objects")
    add("watch-namespaces", "", "namespaces with trainings, separated by commas; empty: all", parse_list)
    add("trust-domain", "cluster.local", "trust domain of the identities that are signed here")
    add("party-image", "", "image of parties where neither party nor training names one")
    add("intake-port", "8443", "port of certificates and reports", parse_port)
    add("metrics-port", "8080", "port of /metrics", parse_port)
    add("probe-port", "8081", "port of /healthz and /readyz", parse_port)
    add("workers", "4", "how many trainings are looked at side by side", build_number_parser(least=1, most=64))
    add("log-level", "info", "one of " + ", ".join(LOG_LEVELS), _parse_level)
    add("isolation-probe", "", "HOST:PORT that must be out of the parties' reach; empty: the API server", parse_address)
    _add_party_flags(add)
    return parser


def _add_party_flags(add: AddFlag) -> None:
    """Adds what depends on the cluster and reaches parties in their manifests."""
    own = "app.kubernetes.io/name=splittraining-operator"
    add("intake-labels", own, "labels of the operator's pods, KEY=VALUE,...: parties may reach those", parse_labels)
    add("dns-namespace", "kube-system", "namespace of the pods that resolve names", parse_namespace)
    add("dns-labels", "k8s-app=kube-dns", "labels of the pods that resolve names, KEY=VALUE,...", parse_labels)
    add("dns-ports", "53", "ports on which names are resolved, separated by commas", parse_ports)
    add("dns-ip-blocks", "", "address blocks of resolvers that are no pods, separated by commas", parse_ip_blocks)
    add("output-storage", "1Gi", "size of a party's output volume where the training says nothing", parse_size)
    add("shared-memory", "1Gi", "size of a party's /dev/shm", parse_size)
    period = build_number_parser(least=50, most=60000)
    add("report-period-milliseconds", "5000", "longest silence between two reports of a party", period)


def _find_api_server(environment: Mapping[str, str]) -> Address | None:
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    return Address(host, int(environment.get("KUBERNETES_SERVICE_PORT") or _DEFAULT_API_PORT)) if host else None


def _parse_level(text: str) -> str:
    if text.lower() not in LOG_LEVELS:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; one of {', '.join(LOG_LEVELS)}")
    return text.lower()
