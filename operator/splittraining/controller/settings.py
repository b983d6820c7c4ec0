"""The operator's settings: flags, or `SPLITTRAINING_<FLAG>` in the environment; read once, frozen, handed down."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

LOG_LEVELS = ("debug", "info", "warning", "error")
_MAX_PORT = 65535
_DEFAULT_API_PORT = 443


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port."""

    host: str
    port: int


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
    )


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
    add("watch-namespaces", "", "namespaces with trainings, separated by commas; empty: all", _parse_names)
    add("trust-domain", "cluster.local", "trust domain of the identities that are signed here")
    add("party-image", "", "image of parties where neither party nor training names one")
    add("intake-port", "8443", "port of certificates and reports", _parse_port)
    add("metrics-port", "8080", "port of /metrics", _parse_port)
    add("probe-port", "8081", "port of /healthz and /readyz", _parse_port)
    add("workers", "4", "how many trainings are looked at side by side", _parse_workers)
    add("log-level", "info", "one of " + ", ".join(LOG_LEVELS), _parse_level)
    add(
        "isolation-probe", "", "HOST:PORT that must be out of the parties' reach; empty: the API server", _parse_address
    )
    return parser


def _find_api_server(environment: Mapping[str, str]) -> Address | None:
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    return Address(host, int(environment.get("KUBERNETES_SERVICE_PORT") or _DEFAULT_API_PORT)) if host else None


def _parse_names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _parse_port(text: str) -> int:
    return _parse_number(text, most=_MAX_PORT)


def _parse_workers(text: str) -> int:
    return _parse_number(text, most=64)


def _parse_number(text: str, *, most: int) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; a whole number of 1 to {most}")
    return int(text)


def _parse_level(text: str) -> str:
    if text.lower() not in LOG_LEVELS:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; one of {', '.join(LOG_LEVELS)}")
    return text.lower()


def _parse_address(text: str) -> Address | None:
    if not text:
        return None
    host, _, port = text.rpartition(":")
    if not host:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; HOST:PORT, an IPv6 address in brackets")
    return Address(host.removeprefix("[").removesuffix("]"), _parse_port(port))
