"""The check behind the handshake: it holds where TLS pools roots, and where a connection outlives its leaf."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from splittraining.api.errors import IdentityRefused
from splittraining.intake.authenticators import LeafAuthenticator
from splittraining.intake.directory import IdentityClaims, PodClaims, StaticDirectory
from splittraining.intake.errors import Unauthenticated
from splittraining.pki.keys import build_alternative_names
from support.pki_support import a_site, an_identity, join_bundles

NOW = datetime(2031, 5, 1, 12, tzinfo=UTC)
ALPHA = a_site(now=NOW)
BETA = a_site("beta.example", now=NOW)
POD = PodClaims("https://issuer", "audience", "default", "default", "pod-0", "uid-0")


def authenticate(leaf_pem, *, now=NOW, admitted=("st-mary",)):
    directory = StaticDirectory(an_identity(party) for party in admitted)
    bundle = join_bundles(ALPHA, BETA)
    authenticator = LeafAuthenticator(directory, fetch_bundle=lambda: bundle, clock=lambda: now)
    return asyncio.run(authenticator.authenticate(leaf_pem))


def test_an_admitted_partys_leaf_is_accepted():
    assert authenticate(ALPHA.admit().leaf_pem).identity == an_identity()


def test_another_institutions_authority_cannot_mint_a_party_here():
    with pytest.raises(Unauthenticated, match=r"not issued by a CA of trust domain 'alpha\.example'"):
        authenticate(BETA.forge(build_alternative_names(an_identity())))


def test_a_leaf_that_expired_during_its_connection_is_refused():
    with pytest.raises(Unauthenticated, match="expired at"):
        authenticate(ALPHA.admit().leaf_pem, now=NOW + timedelta(hours=25))


def test_a_party_that_is_no_longer_admitted_is_refused():
    with pytest.raises(IdentityRefused, match=r"alpha[.]example.*run-1.*st-mary was given"):
        authenticate(ALPHA.admit().leaf_pem, admitted=("st-john",))


def test_a_fixed_directory_knows_no_pods():
    directory = StaticDirectory([an_identity()])
    assert asyncio.run(directory.find_party(IdentityClaims(an_identity()))) == an_identity()
    assert asyncio.run(directory.find_party(POD)) is None
