"""Loads the user's code and builds the whole, unsplit model with it."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from splittraining.api.errors import ModelInvalid
from splittraining.api.spec.model import ModelSpec
from splittraining.party.model.arguments import parse_arguments
from splittraining.party.model.failures import explain_user_code


def build_model(spec: ModelSpec, *, seed: int, source_path: str) -> nn.Module:
    """Builds the whole model: calls the factory right after seeding torch's generators.

    Args:
        spec: Entry point and arguments.
        seed: What the initial weights are drawn from.
        source_path: Folder of the model's source files, or empty where the model is installed.

    Raises:
        ModelInvalid: if the factory cannot be found, does not take the arguments, or returns no ``nn.Module``.
        ModelCodeFailed: if the user's code raises.
    """
    factory = load_entrypoint(spec.entrypoint, source_path)
    arguments = parse_arguments(factory, spec.arguments)
    torch.manual_seed(seed)
    with explain_user_code(f"model.entrypoint {spec.entrypoint}"):
        model = factory(**arguments)
    if not isinstance(model, nn.Module):
        raise ModelInvalid(
            f"model.entrypoint {spec.entrypoint} returned {type(model).__name__}",
            allowed="an instance of torch.nn.Module",
            remedy="return the whole, unsplit model from the factory",
        )
    return model


def load_entrypoint(entrypoint: str, source_path: str) -> Callable[..., Any]:
    """Imports ``package.module:function``, looking into the source folder first.

    Raises:
        ModelInvalid: if the module or the function does not exist, or its name is taken.
        ModelCodeFailed: if importing the user's code raises.
    """
    module_name, _, attribute = entrypoint.partition(":")
    module = _import_module(module_name, source_path, entrypoint)
    target: Any = module
    for part in attribute.split("."):
        if not hasattr(target, part):
            near = difflib.get_close_matches(part, [name for name in vars(target) if not name.startswith("_")])
            raise ModelInvalid(
                f"{entrypoint}: {module_name} has no {part!r}",
                remedy=f"did you mean {near[0]!r}?" if near else "name a function of that module after the colon",
            )
        target = getattr(target, part)
    if not callable(target):
        raise ModelInvalid(
            f"{entrypoint} is a {type(target).__name__}", allowed="a function or a class", remedy="name a factory"
        )
    return target  # type: ignore[no-any-return]


def _import_module(name: str, source_path: str, entrypoint: str) -> ModuleType:
    if source_path:
        _make_importable(name, Path(source_path).resolve(), entrypoint)
    try:
        with explain_user_code(f"importing {name}"), _without_bytecode():
            return importlib.import_module(name)
    except Exception as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name and (name + ".").startswith(cause.name + "."):
            raise ModelInvalid(
                f"{entrypoint}: there is no module {cause.name!r}"
                + (f" in {source_path} or among the installed packages" if source_path else ""),
                remedy="give the source folder that holds it, or install it where the party runs",
            ) from error
        raise


def _make_importable(name: str, folder: Path, entrypoint: str) -> None:
    """Puts the folder first on the path, for good: the model's code may import its neighbours at any time.

    A module of the same name that was loaded from somewhere else is let go, so that the folder's is found.
    """
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
    top = name.partition(".")[0]
    loaded = sys.modules.get(top)
    candidates = (folder / f"{top}.py", folder / top)
    if loaded is None or not any(path.exists() for path in candidates) or _is_from(loaded, candidates):
        return
    if top in sys.stdlib_module_names or top in ("torch", "numpy", "splittraining"):
        raise ModelInvalid(
            f"{entrypoint}: the source folder has a module {top!r}, a name that Python or this program uses itself",
            remedy=f"rename {top}.py and the entry point",
        )
    for key in [key for key in sys.modules if key == top or key.startswith(top + ".")]:
        del sys.modules[key]
    sys.path.remove(str(folder))
    sys.path.insert(0, str(folder))


def _is_from(module: ModuleType, candidates: tuple[Path, ...]) -> bool:
    places = [place for place in (getattr(module, "__file__", None), *getattr(module, "__path__", ())) if place]
    return any(Path(place).resolve().is_relative_to(path) for place in places for path in candidates)


@contextmanager
def _without_bytecode() -> Iterator[None]:
    # The source folder may be mounted read-only, and nothing of ours should appear in it.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
