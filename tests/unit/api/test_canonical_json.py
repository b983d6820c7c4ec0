"""The bytes that digests are made of are the same everywhere."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splittraining.api.base import compute_digest, render_canonical_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda below: st.lists(below) | st.dictionaries(st.text(), below),
    max_leaves=10,
)


def test_keys_are_sorted_and_nothing_stands_between():
    assert render_canonical_json({"b": [1, "x"], "a": {"d": None, "c": True}}) == (
        b'{"a":{"c":true,"d":null},"b":[1,"x"]}'
    )


def test_text_is_utf_8():
    assert render_canonical_json("Köln") == '"Köln"'.encode()


@given(VALUES)
def test_what_is_rendered_can_be_read_back(value: object):
    assert json.loads(render_canonical_json(value)) == value


@pytest.mark.parametrize(
    "value",
    [0.5, 1.0, float("nan"), {"a": 0.5}, [[0.5]], {"a": [{"b": (1, 0.5)}]}],
    ids=["alone", "whole", "not a number", "in an object", "in a list", "deep inside"],
)
def test_floats_are_refused(value: object):
    with pytest.raises(TypeError, match="use a decimal string"):
        render_canonical_json(value)


def test_a_digest_names_its_algorithm():
    assert compute_digest({}) == "sha256:" + hashlib.sha256(b"{}").hexdigest()
