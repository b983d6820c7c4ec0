"""Imports without the garbage collector, which is there again afterwards."""

from __future__ import annotations

import gc

import pytest

from splittraining.party.lasting import without_collections


def import_what_is_not_there() -> None:
    with without_collections():
        assert not gc.isenabled()
        raise ModuleNotFoundError


def test_nothing_is_collected_inside_and_again_afterwards_even_where_an_import_fails() -> None:
    with pytest.raises(ModuleNotFoundError):
        import_what_is_not_there()
    assert gc.isenabled()
