"""Every rule of the API, in CEL as the API server runs it and in Python as the commands run it: they must agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from splittraining.api.crd import build_schema
from splittraining.api.errors import SpecInvalid
from splittraining.api.resource import API_VERSION, KIND, Metadata, SplitTraining
from splittraining.api.rules.change import CHANGE_RULES
from splittraining.api.rules.registry import RULES, find_forbidden_changes, find_violations
from splittraining.api.rules.rule import ChangeRule, Rule
from splittraining.api.spec.split_training import SplitTrainingSpec
from splittraining.api.status import SplitTrainingStatus
from support.builders import a_u_shaped_training, a_vanilla_training, a_vertical_training
from support.cel import evaluate_rule, see_as_api_server
from support.rule_rows import CHANGE_ROWS, ROWS, ChangeRow, Row
from support.update_rows import UPDATE_ROWS

ALL_ROWS = (*ROWS, *UPDATE_ROWS)
FREE_FIELDS = {"suspend", "activeDeadlineSeconds", "ttlSecondsAfterFinished"}


def get_rule(row: Row) -> Rule:
    (rule,) = (rule for rule in RULES if rule.path == row.path and rule.message.startswith(row.message))
    return rule


def get_change_rule(row: ChangeRow) -> ChangeRule:
    (rule,) = (rule for rule in CHANGE_RULES if (rule.path, rule.field) == (row.path, row.field))
    return rule


def parse_for_rules(manifest: Mapping[str, Any]) -> SplitTraining:
    """Parses a manifest whose name only the rules refuse, as they do at the API server."""
    return SplitTraining.model_construct(
        api_version=API_VERSION,
        kind=KIND,
        metadata=Metadata.model_construct(**manifest["metadata"]),
        spec=SplitTrainingSpec.model_validate(manifest["spec"]),
        status=SplitTrainingStatus.model_validate(manifest["status"]) if "status" in manifest else None,
    )


def find_refused_by_cel(row: Row) -> list[Rule]:
    seen = see_as_api_server(row.training.as_manifest())
    return [rule for rule in RULES if not evaluate_rule(rule.cel, rule.path, seen)]


def find_refused_changes_by_cel(row: ChangeRow) -> list[ChangeRule]:
    old, new = (see_as_api_server(each.as_manifest()) for each in (row.old, row.new))
    return [rule for rule in CHANGE_RULES if not evaluate_rule(rule.cel, rule.path, new, old)]


def find_told(rules: Sequence[Rule | ChangeRule], errors: Sequence[SpecInvalid]) -> set[str]:
    """Returns the messages of the rules that errors tell; an error that tells none is a fault of this test."""
    told = {rule.message for rule in rules for error in errors if rule.message in error.given}
    assert bool(told) is bool(errors)
    return told


@pytest.mark.parametrize("row", ALL_ROWS, ids=lambda row: f"{row.message}: {row.name}")
def test_a_rule_refuses_and_accepts_what_its_table_says_in_cel_and_in_python(row: Row):
    by_cel = find_refused_by_cel(row)
    by_python = find_violations(parse_for_rules(row.training.as_manifest()))

    assert (get_rule(row) in by_cel) is not row.accepted
    if row.accepted:
        assert not by_cel
    # Not only the row's own rule: on every row, both sides of every rule say the same.
    assert {rule.message for rule in by_cel} == find_told(RULES, by_python)


@pytest.mark.parametrize("row", CHANGE_ROWS, ids=lambda row: f"{row.path}{row.field}: {row.name}")
def test_a_rule_on_changes_refuses_and_accepts_what_its_table_says_in_cel_and_in_python(row: ChangeRow):
    by_cel = find_refused_changes_by_cel(row)
    old, new = (parse_for_rules(each.as_manifest()) for each in (row.old, row.new))
    by_python = find_forbidden_changes(new, old)

    assert (get_change_rule(row) in by_cel) is not row.accepted
    assert {rule.message for rule in by_cel} == find_told(CHANGE_RULES, by_python)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.path}: {rule.message}")
def test_each_rule_has_a_row_that_it_refuses_and_one_that_it_accepts(rule: Rule):
    assert {row.accepted for row in ALL_ROWS if get_rule(row) is rule} == {True, False}


@pytest.mark.parametrize("rule", CHANGE_RULES, ids=lambda rule: f"{rule.path}{rule.field}")
def test_each_rule_on_changes_has_a_row_that_it_refuses_and_one_that_it_accepts(rule: ChangeRule):
    assert {row.accepted for row in CHANGE_ROWS if get_change_rule(row) is rule} == {True, False}


@pytest.mark.parametrize("build", [a_vanilla_training, a_u_shaped_training, a_vertical_training])
def test_no_rule_refuses_the_three_shapes_of_the_handbook(build):
    seen = see_as_api_server(build().as_manifest())
    assert all(evaluate_rule(rule.cel, rule.path, seen) for rule in RULES)
    assert find_violations(build().build()) == []


def test_every_field_of_the_spec_is_fixed_but_for_the_few_that_may_change():
    fixed = {rule.field.removeprefix(".") for rule in CHANGE_RULES if rule.path == "spec"}
    assert fixed | FREE_FIELDS == set(build_schema()["properties"]["spec"]["properties"])
    assert not fixed & FREE_FIELDS


def test_a_refusal_names_the_place():
    training = a_vanilla_training().without("spec.clients.1.data.format").build()
    (violation,) = find_violations(training)
    assert str(violation).startswith("spec.clients[1].data: give either data.format or data.loader")


def test_a_refused_change_names_the_place():
    old = a_vanilla_training()
    (violation,) = find_forbidden_changes(old.with_value("spec.rounds", 1).build(), old.build())
    assert str(violation) == "spec.rounds: rounds may only grow; create a new training for fewer."
