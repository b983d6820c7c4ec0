"""The contract as a document."""

from __future__ import annotations

import pytest

from splittraining.api.contract import compute_source_digest
from splittraining.plan.contracts import build_contract
from support.builders import a_vanilla_training


def test_the_version_is_agreed_on_although_it_is_a_default():
    contract = build_contract(a_vanilla_training().build(), source_digest="")
    assert contract.as_agreed()["contractVersion"] == 1


def test_defaults_are_left_out_of_what_is_agreed_on():
    agreed = build_contract(a_vanilla_training().build(), source_digest="").as_agreed()
    assert "numerics" not in agreed["training"]
    assert "initialization" not in agreed["model"]


def test_a_party_is_found_by_its_name():
    contract = build_contract(a_vanilla_training().build(), source_digest="")
    assert contract.get_party("st-luke").name == "st-luke"
    assert [client.name for client in contract.clients] == ["st-mary", "st-luke"]
    with pytest.raises(KeyError):
        contract.get_party("st-john")


def test_the_digest_of_sources_depends_on_names_and_bytes_and_on_nothing_else():
    digest = compute_source_digest({"model.py": b"a", "loss.py": b"b"})
    assert digest == compute_source_digest({"loss.py": b"b", "model.py": b"a"})
    assert digest != compute_source_digest({"model.py": b"a", "loss.py": b"c"})
    assert digest != compute_source_digest({"model.py": b"a", "losses.py": b"b"})
    assert digest != compute_source_digest({"model.py": b"a"})
