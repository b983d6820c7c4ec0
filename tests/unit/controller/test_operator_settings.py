"""The operator's settings: where they come from, what wins, what is refused."""

from __future__ import annotations

from dataclasses import fields

import pytest

from splittraining.controller.flag_values import Address
from splittraining.controller.parts import build_operator_settings
from splittraining.controller.settings import Settings, parse_settings
from splittraining.plan.manifests.settings import DnsSettings, OperatorSettings

POD_FIELDS = {"namespace": "operators", "pod_name": "controller-0", "pod_ip": "10.0.0.7"}
POD = {"POD_NAMESPACE": "operators", "POD_NAME": "controller-0", "POD_IP": "10.0.0.7"}


def test_a_pod_needs_no_flags() -> None:
    settings = parse_settings([], POD | {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "6443"})
    assert (settings.namespace, settings.pod_name, settings.pod_ip) == ("operators", "controller-0", "10.0.0.7")
    assert settings.watch_namespaces == ()
    assert settings.isolation_probe == Address("10.96.0.1", 6443)


def test_a_flag_wins_over_its_variable_and_a_variable_over_the_default() -> None:
    environment = POD | {"SPLITTRAINING_WORKERS": "7", "SPLITTRAINING_INTAKE_PORT": "9443"}
    settings = parse_settings(["--workers", "9"], environment)
    assert (settings.workers, settings.intake_port, settings.metrics_port) == (9, 9443, 8080)


def test_a_flag_cannot_be_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings(["--worker", "9"], POD)
    assert "unrecognized arguments: --worker" in capsys.readouterr().err


def test_names_carry_the_release() -> None:
    settings = parse_settings(["--release", "lab"], POD)
    assert (settings.lease_name, settings.authority_name, settings.reports_name) == (
        "lab-controller",
        "lab-ca",
        "lab-reports",
    )
    assert settings.intake_host == "lab-intake.operators.svc"


def test_watched_namespaces_are_named_once_each() -> None:
    settings = parse_settings(["--watch-namespaces", "trial, st-mary,,trial"], POD)
    assert settings.watch_namespaces == ("trial", "st-mary")


@pytest.mark.parametrize(
    ("text", "address"), [("10.1.2.3:443", Address("10.1.2.3", 443)), ("[fd00::1]:443", Address("fd00::1", 443))]
)
def test_the_isolation_probe_can_be_named(text: str, address: Address) -> None:
    assert parse_settings(["--isolation-probe", text], POD).isolation_probe == address


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--workers", "0", "'0' is not allowed; a whole number of 1 to 64"),
        ("--intake-port", "https", "'https' is not allowed; a whole number of 1 to 65535"),
        ("--log-level", "loud", "'loud' is not allowed; one of debug, info, warning, error"),
        ("--isolation-probe", "443", "'443' is not allowed; HOST:PORT"),
        ("--dns-namespace", "Kube_System", "'Kube_System' is not allowed; the name of a namespace"),
        ("--dns-labels", "kube-dns", "'kube-dns' is not allowed; KEY=VALUE"),
        ("--dns-labels", "", "'' is not allowed; KEY=VALUE, one label or more"),
        ("--intake-labels", "app=the operator", "'app=the operator' is not allowed; KEY=VALUE"),
        ("--dns-ports", "", "'' is not allowed; one port or more"),
        ("--dns-ports", "53,domain", "'domain' is not allowed; a whole number of 1 to 65535"),
        ("--dns-ip-blocks", "169.254.20.10/33", "'169.254.20.10/33' is not allowed; a block of addresses"),
        ("--dns-ip-blocks", "169.254.20.10/16", "has host bits set"),
        ("--output-storage", "plenty", "'plenty' is not allowed; a size above 0, such as 1Gi"),
        ("--shared-memory", "0Gi", "'0Gi' is not allowed; a size above 0, such as 1Gi"),
        ("--report-period-milliseconds", "10", "'10' is not allowed; a whole number of 50 to 60000"),
    ],
)
def test_what_is_no_value_is_refused_with_what_would_be_one(
    flag: str, value: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parse_settings([flag, value], POD)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_wrong_variable_is_refused_as_a_flag_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings([], POD | {"SPLITTRAINING_WORKERS": "many"})
    assert "--workers: 'many' is not allowed" in capsys.readouterr().err


def test_what_only_the_pod_knows_must_be_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings([], {"POD_NAME": "controller-0"})
    assert "--namespace, --pod-ip: not given" in capsys.readouterr().err


def test_what_is_not_said_is_what_decisions_take_by_themselves() -> None:
    built = build_operator_settings(parse_settings([], POD))
    own = {"namespace": "operators", "trust_domain": "cluster.local"}
    assert built == OperatorSettings(**own)
    assert Settings(**POD_FIELDS) == parse_settings([], POD)


def test_everything_that_manifests_depend_on_has_a_flag() -> None:
    arguments = [
        *("--release", "lab", "--trust-domain", "lab.example", "--party-image", "party:1", "--intake-port", "9443"),
        *("--isolation-probe", "10.1.2.3:443", "--intake-labels", "app=operator,tier=a.b"),
        *("--dns-namespace", "openshift-dns", "--dns-labels", "dns.operator.openshift.io/daemonset-dns=default"),
        *("--dns-ports", "53,5353", "--dns-ip-blocks", "169.254.20.10/32, fd00::a/128"),
        *("--output-storage", "20Gi", "--shared-memory", "512Mi", "--report-period-milliseconds", "1000"),
    ]
    built = build_operator_settings(parse_settings(arguments, POD))
    assert built.intake_labels == {"app": "operator", "tier": "a.b"}
    assert built.dns == DnsSettings(
        "openshift-dns",
        {"dns.operator.openshift.io/daemonset-dns": "default"},
        (53, 5353),
        ("169.254.20.10/32", "fd00::a/128"),
    )
    assert (built.output_storage, built.shared_memory, built.report_period_milliseconds) == ("20Gi", "512Mi", 1000)
    default = OperatorSettings(namespace="elsewhere")
    assert [each.name for each in fields(built) if getattr(built, each.name) == getattr(default, each.name)] == []
