"""Where reports go, and who issues tokens: small facts about where this replica stands."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from splittraining.controller.endpoints import build_reports_endpoints
from splittraining.controller.issuer import read_own_issuer
from splittraining.controller.kube import is_subset
from splittraining.controller.settings import Settings


@pytest.mark.parametrize(("address", "family"), [("10.0.0.7", "IPv4"), ("fd00::7", "IPv6")])
def test_reports_go_to_this_replica_alone(address: str, family: str) -> None:
    settings = Settings(namespace="operators", pod_name="controller-0", pod_ip=address, release="lab")
    slice_ = build_reports_endpoints(settings)
    assert slice_["addressType"] == family
    assert [endpoint["addresses"] for endpoint in slice_["endpoints"]] == [[address]]
    assert slice_["metadata"]["labels"]["kubernetes.io/service-name"] == "lab-reports"


def make_token(payload: object) -> str:
    body = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    return f"header.{body}.signature"


def test_the_issuer_is_read_from_the_operators_own_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(make_token({"iss": "https://cluster.example"}))
    assert read_own_issuer(path) == "https://cluster.example"


@pytest.mark.parametrize("text", ["", "no token", "a.b.c", make_token([]), make_token({"iss": 7})])
def test_what_is_no_token_names_no_issuer(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    assert read_own_issuer(path) == ""


def test_without_a_token_there_is_no_issuer(tmp_path: Path) -> None:
    assert read_own_issuer(tmp_path / "token") == ""


def test_what_is_there_may_hold_more_than_what_is_wanted() -> None:
    wanted = {"ports": [{"port": 8443}], "labels": {"a": "b"}}
    found = {"ports": [{"port": 8443, "protocol": "TCP"}], "labels": {"a": "b", "c": "d"}, "kind": "x"}
    assert is_subset(wanted, found)
    assert not is_subset(wanted, {**found, "ports": []})
    assert not is_subset(wanted, {**found, "labels": {}})
