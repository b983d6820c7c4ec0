"""The user's code is loaded, called and told about by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from splittraining.api.errors import ModelCodeFailed, ModelInvalid
from splittraining.api.spec.model import InputSpec, ModelSpec
from splittraining.api.wire_plan import DType
from splittraining.party.model.arguments import parse_arguments
from splittraining.party.model.build import build_model, load_entrypoint

SOURCE = """
from torch import nn
from {name}_layers import make

def build(width: int = 4, deep: bool = False) -> nn.Module:
    return nn.Sequential(make(6, width), *([make(width, width)] if deep else []))

def fail() -> nn.Module:
    return nn.Linear(*{{}}["missing"])

def wrong() -> nn.Module:
    return "a model"

number = 3
"""


@pytest.fixture(autouse=True)
def _path_restored() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("zoo"):
            del sys.modules[name]


def write_source(folder: Path, name: str = "zoo", source: str = SOURCE) -> str:
    (folder / f"{name}.py").write_text(source.format(name=name))
    (folder / f"{name}_layers.py").write_text("from torch import nn\nmake = nn.Linear\n")
    return str(folder)


def spec(entrypoint: str, **arguments: str) -> ModelSpec:
    inputs = (InputSpec(name="x", dtype=DType.FLOAT32, shape=(6,)),)
    return ModelSpec(entrypoint=entrypoint, arguments=arguments, inputs=inputs)


def test_arguments_are_parsed_and_weights_come_from_the_seed(tmp_path: Path) -> None:
    path = write_source(tmp_path)

    model = build_model(spec("zoo:build", width="5", deep="true"), seed=3, source_path=path)
    again = build_model(spec("zoo:build", width="5", deep="true"), seed=3, source_path=path)
    other = build_model(spec("zoo:build", width="5", deep="true"), seed=4, source_path=path)

    assert [tuple(p.shape) for p in model.parameters()] == [(5, 6), (5,), (5, 5), (5,)]
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), again.parameters(), strict=True))
    assert not torch.equal(next(model.parameters()), next(other.parameters()))


def test_nothing_is_written_into_the_source_folder(tmp_path: Path) -> None:
    path = write_source(tmp_path)

    build_model(spec("zoo:build"), seed=3, source_path=path)

    assert sorted(file.name for file in tmp_path.iterdir()) == ["zoo.py", "zoo_layers.py"]


def test_two_sources_with_one_name_are_not_confused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = write_source(tmp_path / "a")
    second = write_source(tmp_path / "b", source="from torch import nn\n\ndef build():\n    return nn.Linear(1, 1)\n")

    assert isinstance(build_model(spec("zoo:build"), seed=1, source_path=first), nn.Sequential)
    assert isinstance(build_model(spec("zoo:build"), seed=1, source_path=second), nn.Linear)
    assert isinstance(build_model(spec("zoo:build"), seed=1, source_path=first), nn.Sequential)


def test_code_that_raises_is_told_with_file_line_and_source(tmp_path: Path) -> None:
    path = write_source(tmp_path)

    with pytest.raises(ModelCodeFailed) as caught:
        build_model(spec("zoo:fail"), seed=1, source_path=path)

    assert f"KeyError: 'missing' at {tmp_path / 'zoo.py'}, line 9: `return nn.Linear(" in str(caught.value)


def test_source_that_cannot_be_parsed_is_told_with_file_and_line(tmp_path: Path) -> None:
    path = write_source(tmp_path, source="import torch\n\ndef build(:\n")

    with pytest.raises(ModelCodeFailed, match=r"SyntaxError: .* at .*zoo\.py, line 3: `def build\(:`"):
        build_model(spec("zoo:build"), seed=1, source_path=path)


def test_a_factory_that_returns_no_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match=r"returned str.*an instance of torch\.nn\.Module"):
        build_model(spec("zoo:wrong"), seed=1, source_path=write_source(tmp_path))


@pytest.mark.parametrize(
    ("entrypoint", "message"),
    [
        ("zoo:biuld", "has no 'biuld'.*did you mean 'build'"),
        ("zoo:number", "is a int"),
        ("zooo:build", "there is no module 'zooo'"),
        ("zoo.deeper:build", r"there is no module 'zoo\.deeper'"),
    ],
)
def test_an_entry_point_that_does_not_exist_is_refused(tmp_path: Path, entrypoint: str, message: str) -> None:
    with pytest.raises(ModelInvalid, match=message):
        load_entrypoint(entrypoint, write_source(tmp_path))


def test_a_missing_import_inside_the_source_is_the_codes_own_failure(tmp_path: Path) -> None:
    path = write_source(tmp_path, source="import notinstalled\n")

    with pytest.raises(ModelCodeFailed, match=r"ModuleNotFoundError.*line 1: `import notinstalled`"):
        load_entrypoint("zoo:build", path)


def test_a_source_named_like_a_module_of_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match=r"rename json\.py"):
        load_entrypoint("json:build", write_source(tmp_path, name="json"))


def factory(
    width: int,
    rate: float = 0.1,
    flag: bool = False,  # noqa: FBT001, FBT002
    sizes: tuple[int, ...] = (),
    pair: tuple[int, str] = (0, ""),
    names: list[str] | None = None,
    limit: int | None = None,
    plain=7,
) -> None:
    """Takes every kind of argument."""


def test_every_kind_of_annotation_is_parsed() -> None:
    given = {
        "width": "3", "rate": "1e-3", "flag": "True", "sizes": "(1, 2,3)", "pair": "4,x", "names": "[a, b]",
        "limit": "None", "plain": "8",
    }  # fmt: skip

    assert parse_arguments(factory, given) == {
        "width": 3, "rate": 1e-3, "flag": True, "sizes": (1, 2, 3), "pair": (4, "x"), "names": ["a", "b"],
        "limit": None, "plain": 8,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"width": "three"}, "argument 'width' is 'three'.*a whole number"),
        ({"width": "3", "flag": "yes"}, "argument 'flag' is 'yes'.*true or false"),
        ({"width": "3", "pair": "1"}, "2 values separated by commas"),
        ({"width": "3", "wdith": "3"}, "no parameter 'wdith'.*did you mean 'width'"),
        ({}, "needs width"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(ModelInvalid, match=message):
        parse_arguments(factory, given)
