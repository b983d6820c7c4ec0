"""The CustomResourceDefinition: it is what is committed, and keeps the rules of Kubernetes and of this project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from splittraining.api.base import Document
from splittraining.api.crd import build_schema, find_place, render_crd
from splittraining.api.participation_crd import build_participation_schema, render_participation_crd
from splittraining.api.rules.change import CHANGE_RULES
from splittraining.api.rules.registry import RULES
from splittraining.api.spec.types import ATOMIC, ListMap
from splittraining.api.structural_schema import build_structural_schema, fill_defaults
from splittraining.cli.render_crds import main as write_crds
from splittraining.cli.render_crds import render_file
from support.cel import evaluate_cel
from support.yaml_text import load

CRDS = Path(__file__).parents[3] / "crds"
IN_CHART = Path(__file__).parents[3] / "helm" / "splittraining" / "files" / "crds"
ALLOWED = {
    *("type", "format", "description", "enum", "pattern", "default", "properties", "required", "items"),
    *("minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "maxProperties", "additionalProperties"),
    *("anyOf", "x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
    "x-kubernetes-validations",
}


Node = tuple[str, dict[str, Any], bool]


def walk(schema: dict[str, Any], place: str = "", *, in_list: bool = False) -> Iterator[Node]:
    """Yields every schema below one, with its place and whether it is inside a list's items."""
    yield place, schema, in_list
    for name, below in schema.get("properties", {}).items():
        yield from walk(below, f"{place}.{name}", in_list=in_list)
    if "items" in schema:
        yield from walk(schema["items"], f"{place}[]", in_list=True)
    if "additionalProperties" in schema:
        yield from walk(schema["additionalProperties"], f"{place}.*", in_list=in_list)


NODES = [*walk(build_schema()), *walk(build_participation_schema())]
CRDS_RENDERED = [render_crd(), render_participation_crd()]


def list_places(nodes: Iterator[Node]) -> list[str]:
    return [place for place, _, _ in nodes]


@pytest.mark.parametrize("folder", [CRDS, IN_CHART], ids=["crds", "chart"])
@pytest.mark.parametrize("crd", CRDS_RENDERED, ids=lambda crd: crd["spec"]["names"]["kind"])
def test_the_committed_file_is_what_the_models_say(crd: dict[str, Any], folder: Path):
    name, text = render_file(crd)
    assert (folder / name).read_text() == text, "run `make crds` and commit what it writes"


def test_the_command_writes_one_file_per_kind_into_each_folder(tmp_path: Path):
    folders = [tmp_path / "crds", tmp_path / "chart" / "crds"]
    write_crds([str(folder) for folder in folders])
    for folder, committed in zip(folders, (CRDS, IN_CHART), strict=True):
        written = {path.name: load(path.read_text()) for path in folder.iterdir()}
        assert written == {
            "splitlearning.dev_splittrainings.yaml": render_crd(),
            "splitlearning.dev_splitparticipations.yaml": render_participation_crd(),
        }
        assert set(written) == {path.name for path in committed.iterdir()}


def test_numbers_that_are_text_are_quoted_for_readers_of_other_yaml_versions():
    _, text = render_file(render_crd())
    assert "default: '1e-8'" in text


def test_the_definition_serves_one_version_with_a_status_of_its_own():
    spec = render_crd()["spec"]
    (version,) = spec["versions"]
    assert (version["name"], version["served"], version["storage"]) == ("v1alpha1", True, True)
    assert version["subresources"] == {"status": {}}
    assert spec["scope"] == "Namespaced"
    assert (spec["names"]["shortNames"], spec["names"]["categories"]) == (["spt"], ["splitlearning"])


def test_the_columns_are_those_that_people_were_promised():
    columns = render_crd()["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [column["name"] for column in columns if not column.get("priority")] == [
        *("State", "Topology", "Parties", "Round", "Progress", "Active", "Age")
    ]
    assert [column["name"] for column in columns if column.get("priority")] == ["Step", "Loss", "ETA", "Reason"]


def test_each_column_shows_a_field_that_exists():
    for column in render_crd()["spec"]["versions"][0]["additionalPrinterColumns"]:
        if column["name"] != "Age":
            path = column["jsonPath"].removeprefix(".").replace('[?(@.type=="Progressing")]', "[]")
            assert find_place(build_schema(), path.replace('[?(@.name=="loss")]', "[]"))["type"] == column["type"]


def test_nothing_stands_there_that_kubernetes_refuses_or_ignores():
    assert {(place, key) for place, node, _ in NODES for key in node if key not in ALLOWED} == set()
    assert list_places(each for each in NODES if each[1].get("additionalProperties") is False) == []


def test_every_value_has_one_type_and_none_is_a_float():
    for place, node, _ in NODES:
        if node.get("x-kubernetes-int-or-string"):
            assert "type" not in node, place
        else:
            assert node["type"] in {"object", "array", "string", "integer", "boolean"}, place


def test_only_a_quantity_may_be_of_two_types():
    for place, node, _ in NODES:
        if "anyOf" in node:
            assert node["x-kubernetes-int-or-string"], place
            assert node["anyOf"] == [{"type": "integer"}, {"type": "string"}], place


# The API server bounds these itself, or they are no value of anybody's.
UNBOUNDED = {".apiVersion", ".kind"}


def test_every_string_list_and_map_is_bounded():
    for place, node, _ in NODES:
        if node.get("type") == "string" and place not in UNBOUNDED:
            assert "maxLength" in node or "enum" in node or node.get("format") == "date-time", place
        if node.get("type") == "array":
            assert "maxItems" in node, place
        if "additionalProperties" in node:
            assert "maxProperties" in node, place
        if node.get("type") == "integer":
            assert {"minimum", "maximum"} <= set(node), place


def test_every_field_is_described():
    undescribed = [
        f"{place}.{name}"
        for place, node, _ in NODES
        for name, below in node.get("properties", {}).items()
        if not below.get("description") and not f"{place}.{name}".startswith(".metadata")
    ]
    assert undescribed == []


def test_descriptions_are_one_paragraph():
    assert list_places(each for each in NODES if "\n" in each[1].get("description", "")) == []


def test_no_default_stands_inside_list_items():
    assert list_places(each for each in NODES if each[2] and "default" in each[1]) == []


def test_no_default_stands_in_the_status():
    assert list_places(each for each in NODES if each[0].startswith(".status") and "default" in each[1]) == []


def test_no_object_with_required_fields_has_a_default():
    assert list_places(each for each in NODES if "default" in each[1] and "required" in each[1]) == []


def test_every_list_says_whether_it_is_a_map_or_one_value():
    for place, node, _ in NODES:
        if node.get("type") == "array":
            kind = node["x-kubernetes-list-type"]
            assert kind in {"map", "atomic"}, place
            assert set(node.get("x-kubernetes-list-map-keys", ())) <= set(node["items"].get("required", ())), place
            assert (kind == "map") == ("x-kubernetes-list-map-keys" in node), place


def test_every_rule_of_the_api_stands_at_its_place_with_its_message():
    schema = build_schema()
    for rule in (*RULES, *CHANGE_RULES):
        validations = find_place(schema, rule.path)["x-kubernetes-validations"]
        assert {"rule": rule.cel, "message": rule.message} | (
            {"fieldPath": rule.field} if rule.field else {}
        ) in validations
    written = sum(len(node.get("x-kubernetes-validations", ())) for _, node, _ in walk(schema))
    assert written == len(RULES) + len(CHANGE_RULES)


def test_every_rule_points_at_a_field_that_exists():
    schema = build_schema()
    for rule in (*RULES, *CHANGE_RULES):
        find_place(find_place(schema, rule.path), rule.field.removeprefix("."))


def test_a_rule_holds_on_its_own_objects_default_before_that_is_filled_in():
    # The API server refuses the whole definition otherwise.
    for place, node, _ in NODES:
        for validation in node.get("x-kubernetes-validations", ()) if "default" in node else ():
            assert evaluate_cel(validation["rule"], self=node["default"]), place


def test_the_defaults_of_the_schema_are_those_of_the_models():
    filled = fill_defaults({"training": {"optimizer": {}}, "model": {}}, find_place(build_schema(), "spec"))
    assert filled["training"]["numerics"] == {"mode": "Exact", "intraOpThreads": 1, "microBatches": 1}
    assert filled["training"]["optimizer"]["epsilon"] == "1e-8"
    assert filled["server"]["pod"] == {
        "resources": {"limits": {}, "requests": {}},
        "nodeSelector": {},
        "tolerations": [],
    }
    assert "image" not in filled


class Range(Document):
    start: int = 0
    end: int = 9


class WithFloat(Document):
    value: float


class WithUnion(Document):
    value: int | str


class WithPlainList(Document):
    values: Annotated[tuple[int, ...], Field(max_length=3)]


class WithFixedList(Document):
    values: Annotated[tuple[int, int], Field(json_schema_extra=ATOMIC)]


class WithPatternedKeys(Document):
    values: dict[Annotated[str, Field(pattern="^a")], str]


class WithOtherDefault(Document):
    value: Range = Range(start=1)


class Point(Document):
    place: int
    label: str = ""


class WithRequiredBelowDefault(Document):
    value: Point = Point(place=1)


class WithDefaultOutsideEnum(Document):
    value: Literal["a", "b"] = "c"  # type: ignore[assignment]


class WithAnything(Document):
    value: Any


class WithAnyMap(Document):
    values: dict[str, Any]


class WithOptionalKey(Document):
    values: Annotated[tuple[Range, ...], ListMap("start")]


class WithMultiple(Document):
    value: Annotated[int, Field(multiple_of=2)]


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (WithFloat, "WithFloat.value: is a float"),
        (WithUnion, "WithUnion.value: is a union"),
        (WithPlainList, "WithPlainList.values: is a list without a kind"),
        (WithFixedList, "WithFixedList.values: a structural schema has no rule for prefixItems"),
        (WithPatternedKeys, "WithPatternedKeys.values: a structural schema has no rule for patternProperties"),
        (WithOtherDefault, "WithOtherDefault.value: its default is more than the defaults of its fields"),
        (WithRequiredBelowDefault, "WithRequiredBelowDefault.value: its default is more than the defaults"),
        (WithDefaultOutsideEnum, "WithDefaultOutsideEnum.value: its default 'c' is not among"),
        (WithAnything, "WithAnything.value: has no type"),
        (WithAnyMap, "WithAnyMap.values: is an object of unknown fields"),
        (WithOptionalKey, "WithOptionalKey.values: its key start may be absent"),
        (WithMultiple, "WithMultiple.value: a structural schema has no rule for multipleOf"),
    ],
)
def test_what_a_structural_schema_cannot_hold_is_refused_by_name(model: type[Document], told: str):
    with pytest.raises(ValueError, match=r"^" + told.replace(".", r"\.")):
        build_structural_schema(model, defaults=True)
