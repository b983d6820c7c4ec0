"""The operator's settings: where they come from, what wins, what is refused."""

from __future__ import annotations

import pytest

from splittraining.controller.settings import Address, parse_settings

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
