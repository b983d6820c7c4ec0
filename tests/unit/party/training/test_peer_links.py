"""Links between clients over real TLS: exactly the neighbors, of this run, contract and generation, or no link."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from splittraining.api.errors import (
    ContractMismatch,
    IdentityRefused,
    PeerLost,
    ProtocolViolation,
    SpecInvalid,
    SplitTrainingError,
    StartTimeout,
)
from splittraining.api.party_document import Endpoint, PartyDocument
from splittraining.api.ring import Neighbors, list_pairs
from splittraining.party.training.peer_links import PeerLinks, PeerTerms
from splittraining.party.wire.channel import Alarm, Channel, ChannelSettings
from splittraining.party.wire.goodbye import build_finished, build_goodbye
from splittraining.party.wire.grpc_client import dial
from splittraining.party.wire.handshake import PROTOCOL_VERSION, Hello
from splittraining.party.wire.link import Link
from splittraining.party.wire.orders import Finish
from splittraining.party.wire.progress import Progress
from splittraining.pki.credentials import Credentials
from splittraining.pki.live import LiveCredentials
from support.pki_support import Site, a_site, an_identity
from support.wire_support import a_held_endpoint, a_link, in_thread

CLIENTS = ("north", "south", "west")
DIGEST = "sha256:" + "1" * 64


@dataclass
class Client:
    """One client of the ring under test."""

    name: str
    links: PeerLinks
    alarm: Alarm
    channels: list[Channel]

    def connect(self) -> None:
        """Opens its links, and says Goodbye to its peers where that fails, as a session does."""
        try:
            self.links.connect()
        except SplitTrainingError as error:
            for channel in self.channels:
                threading.Thread(target=channel.close, args=(build_goodbye(error, self.name),), daemon=True).start()
            raise


@dataclass
class Ring:
    """Where clients listen, and what each of them is."""

    site: Site = field(default_factory=a_site)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)

    def build(self, name: str, *, credentials: Credentials | None = None, timeout_s: int = 20) -> Client:
        """Builds a client that listens."""
        receivers = dict(list_pairs(CLIENTS))
        senders = {receiver: sender for sender, receiver in receivers.items()}
        neighbors = Neighbors(senders[name], receivers[name])
        channels: list[Channel] = []

        def open_link(channel: Channel) -> Link:
            channels.append(channel)
            return a_link(channel)

        alarm = Alarm()
        links = PeerLinks(
            a_document(self.endpoints.get(name), self.endpoints.get(neighbors.successor), timeout_s=timeout_s),
            neighbors,
            credentials=LiveCredentials(credentials or self.site.admit(name)),
            progress=Progress(),
            terms=PeerTerms(
                identities={each: an_identity(each) for each in CLIENTS if each != name},
                hello=a_hello(name),
                settings=ChannelSettings(drain_timeout_s=1.0),
                alarm=alarm,
                open_link=open_link,
            ),
        )
        self.stack.callback(links.close)
        links.listen()
        return Client(name, links, alarm, channels)


def a_hello(name: str) -> Hello:
    """Builds what a client of the run says of itself."""
    return Hello(
        protocol_min=PROTOCOL_VERSION,
        protocol_max=PROTOCOL_VERSION,
        party=name,
        run_id="run-1",
        generation=1,
        contract_digest=DIGEST,
        wire_plan_digest=DIGEST,
        boot_nonce="0" * 32,
    )


def a_document(listen: Endpoint | None, successor: Endpoint | None, *, timeout_s: int) -> PartyDocument:
    """Builds as much of a party document as the links read."""
    return PartyDocument.model_construct(
        listen=listen, successor=successor, ready_timeout_seconds=timeout_s, stall_timeout_seconds=600
    )


@pytest.fixture
def ring() -> Iterator[Ring]:
    found = Ring()
    with found.stack:
        for name in CLIENTS:
            found.endpoints[name] = found.stack.enter_context(a_held_endpoint())
        yield found


def connect_all(*clients: Client) -> dict[str, Future[None]]:
    return {client.name: in_thread(client.connect) for client in clients}


def test_all_clients_connect_at_once_and_each_talks_to_its_successor(ring: Ring) -> None:
    clients = {name: ring.build(name) for name in CLIENTS}
    for done in connect_all(*clients.values()).values():
        done.result(30)
    for number, (sender, receiver) in enumerate(list_pairs(CLIENTS)):
        clients[sender].links.get_outgoing(receiver).send_control(Finish(step=number))
        assert clients[receiver].links.get_incoming(sender).recv_control(10) == Finish(step=number)
    for client in clients.values():
        for channel in client.channels:
            in_thread(lambda channel=channel, name=client.name: channel.close(build_finished(name)))


def test_an_order_past_the_neighbors_is_refused(ring: Ring) -> None:
    north = ring.build("north")
    with pytest.raises(ProtocolViolation, match=r"hand on to west.*Allowed: only south"):
        north.links.get_outgoing("west")
    with pytest.raises(ProtocolViolation, match=r"take over from south.*Allowed: only west"):
        north.links.get_incoming("south")
    with pytest.raises(ProtocolViolation, match="after Prepare"):
        north.links.get_outgoing("south")


@pytest.mark.parametrize(
    ("party", "run_id"),
    [("west", "run-1"), ("server", "run-1"), ("mallory", "run-1"), ("north", "run-0")],
    ids=["another client", "the server", "a stranger", "the predecessor in another run"],
)
def test_nobody_but_the_predecessor_in_this_run_gets_a_stream(ring: Ring, party: str, run_id: str) -> None:
    ring.build("south")
    with pytest.raises(IdentityRefused, match=rf"run/{run_id}/party/{party}.*Allowed:.*run/run-1/party/north"):
        dial(
            LiveCredentials(ring.site.admit(party, run_id=run_id)),
            ring.endpoints["south"],
            an_identity("south"),
            progress=Progress(),
            ready_timeout_s=10,
        )


def test_somebody_else_at_the_successors_address_is_refused(ring: Ring) -> None:
    ring.build("south", credentials=ring.site.admit("west"))
    with pytest.raises(IdentityRefused, match="TLS handshake with south failed"):
        ring.build("north").links.connect()


@pytest.mark.parametrize(
    ("said", "refused", "message"),
    [
        ({"generation": 2}, ProtocolViolation, "north said generation 2.*Allowed: generation 1"),
        ({"run_id": "run-0"}, ProtocolViolation, "north said run run-0.*Allowed: run run-1"),
        ({"contract_digest": "sha256:" + "2" * 64}, ContractMismatch, "north holds contract sha256:22"),
    ],
    ids=["another generation", "another run", "another contract"],
)
def test_a_hello_that_does_not_fit_is_refused_by_name(
    ring: Ring, said: dict[str, object], refused: type[SplitTrainingError], message: str
) -> None:
    ends = connect_all(ring.build("south"), ring.build("west"))
    # Not a whole client: one would look at its own predecessor's Hello, and may be the first to refuse.
    north = dial(
        LiveCredentials(ring.site.admit("north")),
        ring.endpoints["south"],
        an_identity("south"),
        progress=Progress(),
        ready_timeout_s=20,
    )
    ring.stack.callback(north.abort)
    a_link(north).send_control(a_hello("north").model_copy(update=said))
    with pytest.raises(refused, match=message):
        ends["south"].result(30)
    with pytest.raises(SplitTrainingError):  # ends, too, and does not wait for its own time to be over
        ends["west"].result(15)


def test_a_link_that_cannot_be_opened_is_named_in_time(ring: Ring) -> None:
    lonely = ring.build("north", timeout_s=1)
    with pytest.raises(StartTimeout, match=r"south did not answer at 127\.0\.0\.1"):
        lonely.links.connect()


def test_what_ends_the_party_ends_its_dialing(ring: Ring) -> None:
    lonely = ring.build("north", timeout_s=600)
    done = in_thread(lonely.links.connect)
    lonely.alarm.ring(PeerLost("the connection to server ended without a Goodbye"))
    with pytest.raises(PeerLost, match="the connection to server"):
        done.result(30)


def test_a_document_without_the_addresses_is_refused(ring: Ring) -> None:
    del ring.endpoints["south"]
    with pytest.raises(SpecInvalid, match="where this client listens"):
        ring.build("north")


def test_a_lost_peer_ends_waiting_on_all_channels_of_the_party(ring: Ring) -> None:
    clients = {name: ring.build(name) for name in CLIENTS}
    for done in connect_all(*clients.values()).values():
        done.result(30)
    waiting: Callable[[], object] = clients["south"].links.get_incoming("north").recv_control
    ended = in_thread(waiting)
    for channel in clients["west"].channels:
        channel.abort()
    with pytest.raises(PeerLost, match="west ended without a Goodbye"):
        ended.result(30)
