"""Writing a wire plan's digest into a manifest's text, leaving every other character as its author wrote it."""

from __future__ import annotations

from typing import Final

import yaml

from splittraining.api.errors import SpecInvalid
from splittraining.local.manifest import KIND

FIELD: Final = "wirePlanDigest"


def pin_wire_plan_digest(text: str, digest: str) -> str:
    """Returns a manifest's text with ``spec.model.wirePlanDigest`` set.

    The place is found by YAML's own parser and the text is edited there: comments, quoting and order stay.

    Args:
        text: The manifest's text, valid YAML.
        digest: The digest to pin.

    Raises:
        SpecInvalid: if the manifest has no ``spec.model`` to write it into.
    """
    model = _find_model(text)
    for key, value in model.value:
        if key.value == FIELD:
            start = value.start_mark.index
            space = "" if text[start - 1].isspace() else " "  # an empty value begins right behind its colon
            return _insert(text, start, f'{space}"{digest}"', until=value.end_mark.index)
    first_key = model.value[0][0]
    start = first_key.start_mark
    # A flow mapping ({a: 1}) separates its keys by commas, a block mapping by lines that start in one column.
    separator = ", " if model.flow_style else "\n" + " " * start.column
    return _insert(text, start.index, f'{FIELD}: "{digest}"{separator}', until=start.index)


def _insert(text: str, start: int, inserted: str, *, until: int) -> str:
    return text[:start] + inserted + text[until:]


def _find_model(text: str) -> yaml.MappingNode:
    for document in yaml.compose_all(text, Loader=yaml.SafeLoader):
        if _get_scalar(document, "kind") == KIND:
            model = _get(_get(document, "spec"), "model")
            if isinstance(model, yaml.MappingNode) and model.value:
                return model
    raise SpecInvalid(
        "the manifest has no spec.model to write wirePlanDigest into",
        allowed=f"one {KIND} with spec.model",
        remedy="write the digest by hand",
    )


def _get(node: yaml.Node | None, name: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for key, value in node.value if key.value == name), None)


def _get_scalar(node: yaml.Node | None, name: str) -> str | None:
    value = _get(node, name)
    return value.value if isinstance(value, yaml.ScalarNode) else None
