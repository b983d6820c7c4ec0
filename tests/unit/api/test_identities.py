"""Names of parties on the wire."""

from __future__ import annotations

import pytest

from splittraining.api.identity import PartyIdentity, parse_spiffe_id

RUN = "3f0d0c5e-9a8e-4f6e-8a57-0d3f9b2f6c11"


def test_a_party_has_one_uri_and_one_host_name_and_both_carry_the_run():
    identity = PartyIdentity("hospital.example", RUN, "st-mary")
    assert identity.spiffe_id == f"spiffe://hospital.example/run/{RUN}/party/st-mary"
    assert identity.dns_name == f"st-mary.{RUN}.splittraining"


def test_a_uri_is_read_back():
    identity = PartyIdentity("hospital.example", RUN, "st-mary")
    assert parse_spiffe_id(identity.spiffe_id) == identity


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "https://hospital.example/run/r1/party/st-mary",
        "spiffe://hospital.example/run/r1/party/",
        "spiffe://hospital.example/run/r1/party/st-mary/more",
        "spiffe://hospital.example/run/r1/party/st-mary?x=1",
        "spiffe://hospital.example/run/r1/party/St-Mary",
        "spiffe://hospital.example/run/r1/party/-mary",
        "spiffe://hospital.example/run/r1/party/" + "x" * 41,
        "spiffe://hospital.example/run/R1/party/st-mary",
        "spiffe:///run/r1/party/st-mary",
        "spiffe://hospital.example/party/st-mary/run/r1",
        "spiffe://hospital.example/run/r1/party/st-mary\n",
        " spiffe://hospital.example/run/r1/party/st-mary",
    ],
)
def test_a_uri_of_another_form_is_refused(uri: str):
    with pytest.raises(ValueError, match="of the form"):
        parse_spiffe_id(uri)


@pytest.mark.parametrize(
    ("domain", "run", "party", "part"),
    [
        ("Hospital.example", "r1", "st-mary", "trust domain"),
        ("hospital.example", "r1/party/x", "st-mary", "run id"),
        ("hospital.example", "r1", "st.mary", "party"),
        ("hospital.example", "r1", "1st", "party"),
    ],
)
def test_a_part_that_is_no_name_is_refused(domain: str, run: str, party: str, part: str):
    with pytest.raises(ValueError, match=f"^{part}"):
        PartyIdentity(domain, run, party)
