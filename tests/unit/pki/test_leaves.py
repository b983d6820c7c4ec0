"""Which certificates are accepted as a party's leaf, and which requests get one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from splittraining.api.errors import IdentityRefused
from splittraining.api.identity import PartyIdentity
from splittraining.pki.bundle import TrustBundle, parse_trust_bundle
from splittraining.pki.ca import SiteCA
from splittraining.pki.credentials import build_credentials
from splittraining.pki.keys import build_alternative_names, build_csr, generate_key, render_key_pem
from splittraining.pki.verify import parse_claimed_identity, verify_leaf
from support.pki_support import DOMAIN, a_site, an_identity, craft_csr, join_bundles

NOW = datetime(2031, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def site():
    return a_site(now=NOW)


def test_a_leaf_has_exactly_two_names_both_usages_and_is_no_authority(site):
    leaf = x509.load_pem_x509_certificate(site.admit().leaf_pem)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == [
        "spiffe://alpha.example/run/run-1/party/st-mary",
        "st-mary.run-1.splittraining",
    ]
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert leaf.not_valid_before_utc == NOW - timedelta(minutes=5)
    assert leaf.not_valid_after_utc == NOW + timedelta(hours=24)


def test_a_leaf_is_accepted_as_its_own_party(site):
    credentials = site.admit()
    leaf = verify_leaf(credentials.leaf_pem, bundle=site.bundle, expected=an_identity(), now=NOW)
    assert leaf.identity == an_identity()
    assert leaf.not_after == credentials.not_after == NOW + timedelta(hours=24)
    assert leaf.public_key == credentials.key.public_key()
    assert parse_claimed_identity(credentials.leaf_pem) == an_identity()


@pytest.mark.parametrize(
    "expected",
    [an_identity("st-john"), an_identity("server"), an_identity(run_id="run-2")],
    ids=["another party", "the server", "another run"],
)
def test_a_leaf_of_the_right_authority_is_refused_as_anybody_else(site, expected):
    with pytest.raises(IdentityRefused) as refused:
        verify_leaf(site.admit().leaf_pem, bundle=site.bundle, expected=expected, now=NOW)
    assert repr(expected.party) in refused.value.given
    assert "spiffe://alpha.example/run/run-1/party/st-mary" in refused.value.given
    assert expected.spiffe_id in refused.value.allowed


def test_a_leaf_of_another_authority_for_the_same_trust_domain_is_refused(site):
    impostor = a_site(now=NOW).admit()
    with pytest.raises(IdentityRefused, match=r"not issued by a CA of trust domain 'alpha\.example'"):
        verify_leaf(impostor.leaf_pem, bundle=site.bundle, expected=an_identity(), now=NOW)


def test_an_authority_of_one_domain_cannot_speak_for_another_domain_in_the_same_bundle(site):
    beta = a_site("beta.example", now=NOW)
    forged = beta.forge(build_alternative_names(an_identity()))
    bundle = join_bundles(site, beta)
    with pytest.raises(IdentityRefused, match=r"not issued by a CA of trust domain 'alpha\.example'"):
        verify_leaf(forged, bundle=bundle, expected=an_identity(), now=NOW)
    beta_party = beta.admit()
    assert verify_leaf(beta_party.leaf_pem, bundle=bundle, expected=beta_party.identity, now=NOW)


def test_a_leaf_of_an_unknown_trust_domain_is_refused_with_the_known_ones(site):
    with pytest.raises(IdentityRefused, match=r"known: alpha\.example"):
        verify_leaf(
            site.admit().leaf_pem, bundle=site.bundle, expected=an_identity(trust_domain="beta.example"), now=NOW
        )


def test_an_expired_leaf_is_refused(site):
    with pytest.raises(IdentityRefused, match=r"expired at 2031-05-02T12:00:00\+00:00, and it is 2031-05-02T12:00:01"):
        verify_leaf(
            site.admit().leaf_pem,
            bundle=site.bundle,
            expected=an_identity(),
            now=NOW + timedelta(hours=24, seconds=1),
        )


def test_a_leaf_that_is_not_valid_yet_is_refused(site):
    late = site.admit(now=NOW + timedelta(hours=1))
    with pytest.raises(IdentityRefused, match="is not valid before"):
        verify_leaf(late.leaf_pem, bundle=site.bundle, expected=an_identity(), now=NOW)


def test_a_clock_a_few_minutes_behind_is_accepted(site):
    assert verify_leaf(
        site.admit().leaf_pem, bundle=site.bundle, expected=an_identity(), now=NOW - timedelta(minutes=4)
    )


@pytest.mark.parametrize(
    "extra",
    [
        x509.UniformResourceIdentifier("spiffe://alpha.example/run/run-1/party/server"),
        x509.DNSName("server.run-1.splittraining"),
        x509.RFC822Name("a@alpha.example"),
    ],
    ids=["a second URI", "a second DNS name", "a mail address"],
)
def test_a_leaf_with_one_name_more_is_refused(site, extra):
    forged = site.forge(x509.SubjectAlternativeName([*build_alternative_names(an_identity()), extra]))
    with pytest.raises(IdentityRefused, match="is for UniformResourceIdentifier"):
        verify_leaf(forged, bundle=site.bundle, expected=an_identity(), now=NOW)


def test_a_leaf_with_two_uris_claims_nobody(site):
    names = [x509.UniformResourceIdentifier(an_identity(party).spiffe_id) for party in ("st-mary", "server")]
    with pytest.raises(IdentityRefused, match="2 URI names"):
        parse_claimed_identity(site.forge(x509.SubjectAlternativeName(names)))


def test_a_doors_certificate_is_nobodys_leaf(site):
    names = build_alternative_names(an_identity())
    server_only = site.forge(names, usages=[x509.ExtendedKeyUsageOID.SERVER_AUTH])
    with pytest.raises(IdentityRefused, match="not as a party's leaf"):
        verify_leaf(server_only, bundle=site.bundle, expected=an_identity(), now=NOW)
    with pytest.raises(ValueError, match="a door is never called"):
        site.ca.issue_server_leaf(generate_key().public_key(), ["server.run-1.splittraining"], now=NOW)


def test_a_leaf_cannot_issue_leaves(site):
    party = site.admit()
    as_authority = SiteCA(DOMAIN, party.key, x509.load_pem_x509_certificate(party.leaf_pem))
    identity = an_identity("server")
    forged = as_authority.issue_leaf(build_csr(generate_key(), identity), identity, now=NOW)
    with pytest.raises(IdentityRefused):
        verify_leaf(forged, bundle=site.bundle, expected=identity, now=NOW)


@pytest.mark.parametrize("garbage", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(site, garbage):
    with pytest.raises(IdentityRefused):
        verify_leaf(garbage, bundle=site.bundle, expected=an_identity(), now=NOW)
    with pytest.raises(IdentityRefused):
        parse_claimed_identity(garbage)


WANTED = list(build_alternative_names(an_identity()))

UNWANTED_REQUESTS = {
    "another party's names": (lambda: build_csr(generate_key(), an_identity("server")), "asks for the names"),
    "another run's names": (lambda: build_csr(generate_key(), an_identity(run_id="run-2")), "asks for the names"),
    "one DNS name more": (lambda: craft_csr(an_identity(), names=[*WANTED, x509.DNSName("x.example")]), "x.example"),
    "one URI more": (
        lambda: craft_csr(an_identity(), names=[*WANTED, x509.UniformResourceIdentifier("spiffe://b/c")]),
        "spiffe://b/c",
    ),
    "no DNS name": (lambda: craft_csr(an_identity(), names=WANTED[:1]), "asks for the names"),
    "no names": (lambda: craft_csr(an_identity(), names=[]), "asks for no names"),
    "the CA flag": (
        lambda: craft_csr(an_identity(), extensions=[x509.BasicConstraints(ca=True, path_length=None)]),
        "asks for the extension basicConstraints",
    ),
    "a usage": (
        lambda: craft_csr(an_identity(), extensions=[x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CODE_SIGNING])]),
        "asks for the extension extendedKeyUsage",
    ),
    "a subject": (lambda: craft_csr(an_identity(), subject="root"), "has the subject 'CN=root'"),
    "a challenge password": (lambda: craft_csr(an_identity(), challenge=b"x"), "has the attribute"),
    "an RSA key": (lambda: craft_csr(an_identity(), key=rsa.generate_private_key(65537, 2048)), "not ECDSA P-256"),
    "a P-384 key": (lambda: craft_csr(an_identity(), key=ec.generate_private_key(ec.SECP384R1())), "not ECDSA P-256"),
    "no PEM": (lambda: b"hello", "cannot be read"),
    "too many bytes": (lambda: b"A" * 20000, "has 20000 bytes"),
}


@pytest.mark.parametrize("case", UNWANTED_REQUESTS)
def test_a_request_for_anything_else_is_refused(site, case):
    build, message = UNWANTED_REQUESTS[case]
    with pytest.raises(IdentityRefused) as refused:
        site.ca.issue_leaf(build(), an_identity(), now=NOW)
    assert message in refused.value.given
    assert "party 'st-mary' of run 'run-1'" in refused.value.given
    assert refused.value.allowed
    assert refused.value.remedy


def test_a_request_that_its_own_key_did_not_sign_is_refused(site):
    request = x509.load_pem_x509_csr(build_csr(generate_key(), an_identity()))
    other = x509.load_pem_x509_csr(build_csr(generate_key(), an_identity()))
    der = request.public_bytes(serialization.Encoding.DER)
    own_key, other_key = (
        csr.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        for csr in (request, other)
    )
    assert der.count(own_key) == 1
    stolen = x509.load_der_x509_csr(der.replace(own_key, other_key))
    with pytest.raises(IdentityRefused, match="not signed by its own key"):
        site.ca.issue_leaf(stolen.public_bytes(serialization.Encoding.PEM), an_identity(), now=NOW)


def test_an_authority_signs_for_its_own_trust_domain_only(site):
    foreign = an_identity(trust_domain="beta.example")
    with pytest.raises(IdentityRefused, match=r"'beta\.example' was asked for at the CA of 'alpha\.example'"):
        site.ca.issue_leaf(build_csr(generate_key(), foreign), foreign, now=NOW)


@pytest.mark.parametrize("duration", [timedelta(0), timedelta(days=8)])
def test_a_leaf_is_short_lived(site, duration):
    with pytest.raises(ValueError, match="cannot be valid for"):
        site.ca.issue_leaf(build_csr(generate_key(), an_identity()), an_identity(), duration=duration, now=NOW)


def test_a_leaf_never_outlives_its_authority(site):
    end = NOW + timedelta(days=365)
    credentials = site.admit(now=end - timedelta(hours=1))
    assert credentials.not_after == end


def test_the_longest_names_fit_into_a_leaf():
    identity = PartyIdentity("a" * 200 + ".example", "r" * 63, "p" * 40)
    long_site = a_site(identity.trust_domain, now=NOW)
    key = generate_key()
    leaf_pem = long_site.ca.issue_leaf(build_csr(key, identity), identity, now=NOW)
    assert verify_leaf(leaf_pem, bundle=long_site.bundle, expected=identity, now=NOW).identity == identity


def test_credentials_for_another_key_are_refused(site):
    leaf_pem = site.admit().leaf_pem
    with pytest.raises(IdentityRefused, match="for another key"):
        build_credentials(generate_key(), leaf_pem, bundle=site.bundle, identity=an_identity(), now=NOW)


def test_nothing_that_holds_a_key_shows_it(site):
    credentials = site.admit()
    shown = f"{credentials!r} {credentials} {site.ca!r}"
    assert "PRIVATE" not in shown
    assert render_key_pem(credentials.key).decode().splitlines()[1] not in shown
    assert "st-mary" in shown


def test_a_bundle_survives_its_json_form(site):
    bundle = join_bundles(site, a_site("beta.example", now=NOW))
    again = parse_trust_bundle(bundle.as_json_object())
    assert again == bundle
    assert again.render_pem().count(b"BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize(
    "value",
    [None, [], {"a": "x"}, {"a": []}, {"a": ["x"]}, {"a": [1]}, {1: ["x"]}],
)
def test_a_malformed_bundle_is_refused(value):
    with pytest.raises(IdentityRefused):
        parse_trust_bundle(value)


def test_a_bundle_cannot_be_changed(site):
    roots = {DOMAIN: [site.ca.certificate_pem]}
    bundle = TrustBundle(roots)
    roots["beta.example"] = [site.ca.certificate_pem]
    roots[DOMAIN].append(site.ca.certificate_pem)
    assert list(bundle) == [DOMAIN]
    assert len(bundle[DOMAIN]) == 1
