"""Which clients exchange values, and how two of them come to a key that the server never sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from splittraining.api.contract import Contract
from splittraining.api.errors import IdentityRefused, ProtocolViolation
from splittraining.api.wire_plan import DType
from splittraining.party.training.client_line import ClientLine
from splittraining.party.training.relays import find_pairs, open_relayed_links
from splittraining.party.training.sealed_mail import BlobKind, SealedMail
from splittraining.party.wire.channel import Channel
from splittraining.party.wire.frame import FrameType, Header, render_frame
from splittraining.party.wire.link import Link
from splittraining.party.wire.loopback import build_loopback_pair
from splittraining.party.wire.orders import SealedNotice
from splittraining.pki.live import LiveCredentials
from support.hops import CHAIN, CLIENTS, CONTRACT, SKIPPING
from support.pki_support import a_site, an_identity
from support.wire_support import in_thread

PAIRS = (("clinic", "lab"), ("lab", "center"))
KEYS = {"clinic": b"\x01", "lab": b"\x02", "center": b"\x03"}


def test_neighbors_of_a_chain_are_pairs_and_the_server_is_in_none() -> None:
    assert find_pairs(CONTRACT, CHAIN) == PAIRS
    assert find_pairs(CONTRACT, SKIPPING) == (("clinic", "lab"), ("clinic", "center"), ("lab", "center"))


@dataclass
class Run:
    """Three clients that have admitted each other's cards, each with a stream to the server."""

    mails: dict[str, SealedMail]
    below: dict[str, Link]
    at_server: dict[str, Link]
    admitted: list[Channel]

    def agree(self, own: str, contract: Contract = CONTRACT) -> dict[str, Link]:
        return open_relayed_links(
            self.below[own],
            self.mails[own],
            PAIRS,
            own=own,
            contract=contract,
            entropy=lambda size: KEYS[own] * size,
            admit=self.admitted.append,
        )


@pytest.fixture
def run() -> Iterator[Run]:
    site = a_site()
    names = (*CLIENTS, "server")
    mails = {
        name: SealedMail(
            credentials=LiveCredentials(site.admit(name)),
            peers={other: an_identity(other) for other in names if other != name},
            contract_digest=CONTRACT.compute_digest(),
            generation=1,
            clock=lambda: site.now,
        )
        for name in names
    }
    for name, mail in mails.items():
        mail.admit([other.build_card() for party, other in mails.items() if party != name])
    below, at_server = {}, {}
    for name in CLIENTS:
        ends = build_loopback_pair(name, "server")
        below[name], at_server[name] = (Link(end, generation=1, max_rows=4) for end in ends)
    yield Run(mails, below, at_server, [])
    for link in below.values():
        link.channel.abort()


def test_every_pair_of_neighbors_gets_a_link_and_both_ends_the_same_key(run: Run) -> None:
    agreeing = {name: in_thread(lambda name=name: run.agree(name)) for name in CLIENTS}
    line = ClientLine(CLIENTS, run.at_server, hands_off=False)
    for pair in PAIRS:
        line.relay(*pair, kind=BlobKind.LINK_KEY)
    links = {name: future.result(10) for name, future in agreeing.items()}
    assert {name: sorted(found) for name, found in links.items()} == {
        "clinic": ["lab"],
        "lab": ["center", "clinic"],
        "center": ["lab"],
    }
    assert sorted(channel.peer for channel in run.admitted) == ["center", "clinic", "lab", "lab"]
    links["clinic"]["lab"].channel.send(a_frame())
    relayed = run.at_server["clinic"].channel.recv(5)
    run.at_server["lab"].channel.send(relayed)
    assert links["lab"]["clinic"].channel.recv(5) == a_frame()
    # Another pair's key, or another direction's, opens none of it.
    run.at_server["center"].channel.send(relayed)
    with pytest.raises(IdentityRefused):
        links["center"]["lab"].channel.recv(5)


def test_a_key_of_another_client_than_the_neighbor_is_refused(run: Run) -> None:
    run.mails["center"].send(
        run.below["center"], kind=BlobKind.LINK_KEY, recipient="lab", sequence=1, data=KEYS["center"] * 32
    )
    pass_on(run, "center", "lab")
    with pytest.raises(ProtocolViolation, match="the sealed LinkKey of clinic, number 1"):
        run.agree("lab")


def test_a_key_that_the_server_makes_up_is_refused(run: Run) -> None:
    run.mails["server"].send(
        run.at_server["lab"], kind=BlobKind.LINK_KEY, recipient="lab", sequence=1, data=KEYS["lab"] * 32
    )
    with pytest.raises(ProtocolViolation, match="the sealed LinkKey of clinic, number 1"):
        run.agree("lab")


def test_a_key_that_the_server_says_is_the_neighbors_is_refused(run: Run) -> None:
    run.mails["server"].send(
        run.below["center"], kind=BlobKind.LINK_KEY, recipient="lab", sequence=1, data=KEYS["lab"] * 32
    )
    pass_on(run, "center", "lab", sender="clinic")
    with pytest.raises(IdentityRefused):
        run.agree("lab")


def test_a_short_key_is_refused(run: Run) -> None:
    run.mails["clinic"].send(run.below["clinic"], kind=BlobKind.LINK_KEY, recipient="lab", sequence=1, data=b"short")
    pass_on(run, "clinic", "lab")
    with pytest.raises(ProtocolViolation, match="a link key of 5 bytes from clinic"):
        run.agree("lab")


def pass_on(run: Run, source: str, target: str, **changes: str) -> None:
    """Carries a notice and its blob from one client's stream to another's, the notice perhaps changed."""
    notice = run.at_server[source].recv_control(5)
    assert isinstance(notice, SealedNotice)
    run.at_server[target].send_control(notice.model_copy(update=changes))
    size_bytes = sum(notice.piece_sizes)
    run.at_server[target].send_blob(notice.sequence, run.at_server[source].recv_blob(notice.sequence, size_bytes))


def a_frame() -> bytes:
    return render_frame(Header(FrameType.TENSOR, dtype=DType.FLOAT32, size_bytes=4, generation=1), b"abcd")
