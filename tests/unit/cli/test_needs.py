"""A base install can validate and report; what needs more says what."""

from __future__ import annotations

import pytest

from splittraining.api.exit_codes import ExitCode
from splittraining.api.usage import UsageInvalid
from splittraining.cli.needs import check_needs, is_package_installed


@pytest.mark.parametrize("module", ["run_command", "plan_command"])
def test_a_command_names_the_packages_it_misses(module: str) -> None:
    with pytest.raises(UsageInvalid, match=r"not installed: grpc, torch.*splittraining\[local\]") as refused:
        check_needs(module, is_installed=lambda name: name not in {"torch", "grpc"})
    assert refused.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize("module", ["status_command", "logs_command", "fetch_command"])
def test_what_talks_to_a_cluster_needs_another_extra(module: str) -> None:
    with pytest.raises(UsageInvalid, match=r"not installed: kubernetes\. .*splittraining\[cluster\]"):
        check_needs(module, is_installed=lambda name: name != "kubernetes")


@pytest.mark.parametrize("module", ["validate_command", "report_command"])
def test_validate_and_report_need_nothing_more(module: str) -> None:
    check_needs(module, is_installed=lambda _: False)


def test_packages_are_looked_for_without_being_imported() -> None:
    assert is_package_installed("torch")
    assert not is_package_installed("a_package_that_nobody_has")
