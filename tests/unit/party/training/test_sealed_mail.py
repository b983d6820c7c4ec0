"""Sealed blobs between clients: only the recipient opens them, only the sender can have sent them, each only once."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from splittraining.api.errors import IdentityRefused, ProtocolViolation, SplitTrainingError
from splittraining.party.training.sealed_mail import BlobKind, SealedMail
from splittraining.party.wire.link import Link
from splittraining.party.wire.loopback import build_loopback_pair
from splittraining.party.wire.orders import SealedNotice
from splittraining.pki.live import LiveCredentials
from support.pki_support import Site, a_site, an_identity

CONTRACT = "sha256:" + "1" * 64
PARTIES = ("north", "south", "west")
SECRET = b"weights of the client segment" * 100


def a_mail(
    site: Site,
    party: str,
    *,
    contract: str = CONTRACT,
    generation: int = 1,
    credentials: LiveCredentials | None = None,
    clock: Callable[[], datetime] | None = None,
) -> SealedMail:
    return SealedMail(
        credentials=credentials or LiveCredentials(site.admit(party)),
        peers={name: an_identity(name) for name in PARTIES if name != party},
        contract_digest=contract,
        generation=generation,
        clock=clock or (lambda: site.now),
    )


class Post:
    """Three clients that know each other's keys, and a link that stands for the relaying server."""

    def __init__(self) -> None:
        self.site = a_site()
        self.now = self.site.now
        self.credentials = {party: LiveCredentials(self.site.admit(party)) for party in PARTIES}
        self.mails = {
            party: a_mail(self.site, party, credentials=self.credentials[party], clock=lambda: self.now)
            for party in PARTIES
        }
        cards = {party: mail.build_card() for party, mail in self.mails.items()}
        for party, mail in self.mails.items():
            mail.admit([card for name, card in cards.items() if name != party])
        sending, receiving = build_loopback_pair("north", "south")
        self.sending = Link(sending, generation=1, max_rows=1)
        self.receiving = Link(receiving, generation=1, max_rows=1)

    def send(self, sender: str = "north", recipient: str = "south", *, sequence: int = 1) -> SealedNotice:
        self.mails[sender].send(
            self.sending, kind=BlobKind.HAND_OFF, recipient=recipient, sequence=sequence, data=SECRET
        )
        notice = self.receiving.recv_control()
        assert isinstance(notice, SealedNotice)
        return notice

    def recv(self, notice: SealedNotice, recipient: str = "south", *, max_bytes: int = 1 << 20) -> bytes:
        return self.mails[recipient].recv(self.receiving, notice, kind=BlobKind.HAND_OFF, max_bytes=max_bytes)


def test_the_recipient_reads_what_the_sender_sealed() -> None:
    post = Post()
    assert post.recv(post.send()) == SECRET


def test_what_travels_does_not_show_the_content() -> None:
    post = Post()
    notice = post.send()
    assert SECRET[:16] not in post.receiving.recv_blob(notice.sequence, sum(notice.piece_sizes))


@pytest.mark.parametrize(
    ("change", "error", "part"),
    [
        pytest.param({"sender": "west"}, IdentityRefused, "presented as party 'west'", id="another sender is named"),
        pytest.param({"recipient": "west"}, ProtocolViolation, "to west", id="another recipient is named"),
        pytest.param({"kind": "ClientSecret"}, ProtocolViolation, "kind ClientSecret", id="another kind is named"),
        pytest.param(
            {"signature": "AAAA"}, IdentityRefused, "not signed by its sender", id="the signature is replaced"
        ),
        pytest.param({"signature": "not base64!"}, ProtocolViolation, "base64", id="the signature is garbage"),
    ],
)
def test_a_server_that_changes_the_notice_is_found_out(
    change: dict[str, str], error: type[SplitTrainingError], part: str
) -> None:
    post = Post()
    notice = post.send().model_copy(update=change)
    with pytest.raises(error, match=part):
        post.recv(notice)


def test_a_sender_whose_first_certificate_has_ended_seals_with_the_renewed_one() -> None:
    post = Post()
    post.now += timedelta(hours=13)
    post.credentials["north"].renew(post.site.admit("north", now=post.now))
    post.now += timedelta(hours=13)
    assert post.recv(post.send()) == SECRET


def test_a_sender_whose_certificate_has_ended_is_refused() -> None:
    post = Post()
    post.now += timedelta(hours=26)
    with pytest.raises(IdentityRefused, match=r"presented as party 'north'.*expired"):
        post.recv(post.send())


def test_a_server_that_adds_a_leaf_of_another_party_is_found_out() -> None:
    post = Post()
    stranger = b64encode(post.credentials["west"].current.leaf_pem).decode()
    with pytest.raises(IdentityRefused, match="presented as party 'north'"):
        post.recv(post.send().model_copy(update={"leaf": stranger}))


def test_a_blob_is_taken_once() -> None:
    post = Post()
    notice = post.send(sequence=3)
    post.recv(notice)
    with pytest.raises(ProtocolViolation, match="a number above 3"):
        post.recv(notice)


def test_a_blob_larger_than_the_segment_is_refused_before_it_is_taken_in() -> None:
    post = Post()
    with pytest.raises(ProtocolViolation, match="at most 10 bytes"):
        post.recv(post.send(), max_bytes=10)


def with_another_contract(site: Site) -> SealedMail:
    return a_mail(site, "south", contract="sha256:" + "2" * 64)


def with_another_generation(site: Site) -> SealedMail:
    return a_mail(site, "south", generation=2)


def with_another_authority(site: Site) -> SealedMail:
    return a_mail(replace(a_site(), now=site.now), "south")


@pytest.mark.parametrize("impostor", [with_another_contract, with_another_generation, with_another_authority])
def test_a_key_that_is_not_vouched_for_is_refused(impostor: Callable[[Site], SealedMail]) -> None:
    site = a_site()
    cards = [impostor(site).build_card(), a_mail(site, "west").build_card()]
    with pytest.raises(IdentityRefused):
        a_mail(site, "north").admit(cards)


def test_a_missing_key_is_refused() -> None:
    site = a_site()
    with pytest.raises(ProtocolViolation, match=r"exactly one for each of \['south', 'west'\]"):
        a_mail(site, "north").admit([a_mail(site, "south").build_card()])
