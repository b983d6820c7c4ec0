"""The site's CA: made once, never overwritten, its replacement never silent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from splittraining.api.errors import IdentityRefused
from splittraining.controller.authority import CERTIFICATE_KEY, PRIVATE_KEY, Authority
from splittraining.pki.ca import SiteCA
from support.clocks import START

DOMAIN = "hospitals.example"


class Drawer:
    """A vault in memory; `rival` is what somebody else puts in just before our own first try."""

    def __init__(self, data: Mapping[str, bytes] | None = None, *, rival: Mapping[str, bytes] | None = None) -> None:
        self.data = data
        self.rival = rival
        self.num_created = 0

    async def read(self) -> Mapping[str, bytes] | None:
        return self.data

    async def create(self, data: Mapping[str, bytes]) -> bool:
        if self.rival is not None:
            self.data = self.rival
        if self.data is not None:
            return False
        self.data = dict(data)
        self.num_created += 1
        return True


def make_kept() -> dict[str, bytes]:
    ca = SiteCA.create(DOMAIN, now=START)
    return {CERTIFICATE_KEY: ca.certificate_pem, PRIVATE_KEY: ca.key_pem}


def make_authority(drawer: Drawer) -> tuple[Authority, list[str]]:
    replacements: list[str] = []
    authority = Authority(
        drawer, trust_domain=DOMAIN, clock=lambda: START, on_replaced=lambda: replacements.append("replaced")
    )
    return authority, replacements


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


def test_the_leader_makes_a_ca_where_there_is_none_and_reads_it_afterwards() -> None:
    drawer = Drawer()
    authority, replacements = make_authority(drawer)
    run(authority.ensure())
    run(authority.ensure())
    assert drawer.num_created == 1
    assert authority.ca is not None
    assert drawer.data is not None
    assert authority.ca.certificate_pem == drawer.data[CERTIFICATE_KEY]
    assert authority.bundle_pem.encode() == authority.ca.certificate_pem
    assert replacements == []


def test_a_standby_reads_and_never_makes_one() -> None:
    drawer = Drawer()
    authority, _ = make_authority(drawer)
    assert run(authority.refresh()) is False
    assert (authority.ca, authority.bundle, drawer.data) == (None, None, None)


def test_whoever_was_first_has_the_ca_that_counts() -> None:
    kept = make_kept()
    authority, _ = make_authority(Drawer(rival=kept))
    run(authority.ensure())
    assert authority.ca is not None
    assert authority.ca.certificate_pem == kept[CERTIFICATE_KEY]


def test_what_is_kept_signs_as_before_after_a_restart() -> None:
    drawer = Drawer()
    first, _ = make_authority(drawer)
    run(first.ensure())
    second, _ = make_authority(drawer)
    run(second.ensure())
    assert first.ca is not None
    assert second.ca is not None
    assert second.ca.key_pem == first.ca.key_pem


def test_a_ca_that_was_replaced_by_hand_is_noticed_once(caplog: pytest.LogCaptureFixture) -> None:
    drawer = Drawer(make_kept())
    authority, replacements = make_authority(drawer)
    run(authority.refresh())
    drawer.data = make_kept()
    run(authority.refresh())
    run(authority.refresh())
    assert replacements == ["replaced"]
    assert "was replaced" in caplog.text
    assert "PRIVATE KEY" not in caplog.text


def test_a_ca_that_vanished_stays_in_use_at_a_standby_and_is_made_anew_by_the_leader() -> None:
    drawer = Drawer(make_kept())
    authority, replacements = make_authority(drawer)
    run(authority.refresh())
    before = authority.bundle_pem
    drawer.data = None
    assert run(authority.refresh()) is False
    assert authority.bundle_pem == before
    run(authority.ensure())
    assert authority.bundle_pem != before
    assert replacements == ["replaced"]


OTHER = SiteCA.create(DOMAIN, now=START)


@pytest.mark.parametrize(
    "change",
    [
        {PRIVATE_KEY: b""},
        {CERTIFICATE_KEY: b"not PEM"},
        {PRIVATE_KEY: OTHER.key_pem},
    ],
    ids=["without a key", "with a broken certificate", "with the key of another one"],
)
def test_what_is_no_ca_is_refused_and_never_overwritten(change: dict[str, bytes]) -> None:
    kept = make_kept() | change
    drawer = Drawer(kept)
    authority, _ = make_authority(drawer)
    with pytest.raises(IdentityRefused, match="the CA that is kept"):
        run(authority.ensure())
    assert drawer.data == kept
