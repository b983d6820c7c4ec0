"""One party from its first connection to its last Goodbye: dialing, the handshake, then conductor or follower."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from splittraining.api.contract import Role
from splittraining.api.identity import SERVER_PARTY, PartyIdentity
from splittraining.api.party_document import Endpoint, PartyDocument
from splittraining.api.report import LinkBytes, PartyState
from splittraining.party.training.assembly import Assembly
from splittraining.party.training.conductor import Conductor
from splittraining.party.training.follower import Follower
from splittraining.party.training.peer_links import PeerLinks, PeerTerms, build_peer_links
from splittraining.party.training.prediction import PredictionConductor, PredictionFollower
from splittraining.party.training.sealed_mail import SealedMail
from splittraining.party.training.telemetry import Telemetry
from splittraining.party.wire.channel import Alarm, Channel, ChannelSettings
from splittraining.party.wire.goodbye import Goodbye, build_finished, build_goodbye
from splittraining.party.wire.grpc_client import dial
from splittraining.party.wire.grpc_server import GrpcServer
from splittraining.party.wire.handshake import PROTOCOL_VERSION, ExpectedHello, Hello, recv_hello, send_hello
from splittraining.party.wire.isolation import Connect
from splittraining.party.wire.link import Link
from splittraining.pki.live import LiveCredentials


def _now() -> datetime:
    return datetime.now(UTC)


def _keep(channel: Channel) -> Channel:
    return channel


@dataclass(frozen=True)
class Surroundings:
    """What a party takes from outside: time, randomness, a connection to try, a place to look at its channels from."""

    now: Callable[[], datetime] = _now
    monotonic_s: Callable[[], float] = time.monotonic
    entropy: Callable[[int], bytes] = os.urandom
    connect: Connect = socket.create_connection
    wrap_channel: Callable[[Channel], Channel] = _keep


class LinkCounts:
    """The byte counters of all channels of one party, for its reports."""

    def __init__(self) -> None:
        self._channels: list[Channel] = []
        self._count_moved: Callable[[], Iterable[LinkBytes]] = tuple

    def add(self, channel: Channel) -> None:
        """Counts a channel from now on."""
        self._channels.append(channel)

    def add_moved(self, count: Callable[[], Iterable[LinkBytes]]) -> None:
        """Adds what is sealed to and by each peer, which no channel can look into."""
        self._count_moved = count

    def __call__(self) -> list[LinkBytes]:
        """Returns the counts of this moment, peer by peer; two clients may have a channel in each direction."""
        counts: dict[str, LinkBytes] = {}
        for found in (*(channel.counters.snapshot() for channel in self._channels), *self._count_moved()):
            counts[found.peer] = counts[found.peer].plus(found) if found.peer in counts else found
        return list(counts.values())


class Session:
    """One party's connections, and the training over them.

    Args:
        assembly: This party.
        credentials: Its leaf, key and trust.
        telemetry: Told of every transition.
        counts: Told of every channel.
        surroundings: Time, randomness and the like.
    """

    def __init__(
        self,
        assembly: Assembly,
        *,
        credentials: LiveCredentials,
        telemetry: Telemetry,
        counts: LinkCounts,
        surroundings: Surroundings,
    ) -> None:
        self._assembly = assembly
        self._document = assembly.document
        self._credentials = credentials
        self._telemetry = telemetry
        self._counts = counts
        self._surroundings = surroundings
        self._settings = ChannelSettings(stall_timeout_s=self._document.stall_timeout_seconds)
        self._peers = {peer.name: build_peer_identity(self._document, peer.name) for peer in self._document.peers}
        self._fingerprint = tuple(sorted(assembly.fingerprint.items()))
        self._nonce = surroundings.entropy(16).hex()
        self._mail = SealedMail(
            credentials=credentials,
            peers=self._peers,
            contract_digest=self._document.contract_digest,
            generation=self._document.generation,
            clock=surroundings.now,
        )
        counts.add_moved(self._mail.moved.snapshot)

    def run(self) -> None:
        """Connects, trains and says Goodbye.

        Raises:
            SplitTrainingError: whatever ended the training; every connected peer has been told.
        """
        self._telemetry.enter(PartyState.CONNECTING)
        if self._document.role is Role.SERVER:
            self._run_server()
        else:
            self._run_client()

    def _run_client(self) -> None:
        channels: list[Channel] = []
        alarm = Alarm()
        with contextlib.ExitStack() as stack:
            peers = self._build_peer_links(channels, alarm)
            if peers is not None:
                stack.callback(peers.close)
                peers.listen()
            stack.enter_context(self._conversation(channels))
            self._follow(channels, alarm, peers)

    def _follow(self, channels: list[Channel], alarm: Alarm, peers: PeerLinks | None) -> None:
        channel = dial(
            self._credentials,
            self._document.server,
            server=self._peers[SERVER_PARTY],
            progress=self._assembly.progress,
            settings=self._settings,
            ready_timeout_s=self._document.ready_timeout_seconds,
            alarm=alarm,
        )
        channel = self._admit(channel)
        channels.append(channel)
        link = self._build_link(channel)
        send_hello(link, self._build_hello(), server=SERVER_PARTY)
        kind = Follower if self._assembly.result is None else PredictionFollower
        follower = kind(
            self._assembly,
            link=link,
            mail=self._mail,
            telemetry=self._telemetry,
            entropy=self._surroundings.entropy,
            admit=self._counts.add,
            peers=peers,
        )
        follower.run()

    def _build_peer_links(self, channels: list[Channel], alarm: Alarm) -> PeerLinks | None:
        def open_link(channel: Channel) -> Link:
            admitted = self._admit(channel)
            channels.append(admitted)
            return self._build_link(admitted)

        # Another client is told what must be equal, and nothing of this one's rows, machine or sealing key.
        told = {"fingerprint": (), "train_rows": 0, "test_rows": 0, "sealing_key": None}
        terms = PeerTerms(
            identities=self._peers,
            hello=self._build_hello().model_copy(update=told),
            settings=self._settings,
            alarm=alarm,
            open_link=open_link,
        )
        return build_peer_links(
            self._document, credentials=self._credentials, progress=self._assembly.progress, terms=terms
        )

    def _run_server(self) -> None:
        server = GrpcServer(
            self._credentials,
            get_listening(self._document),
            expected=self._peers,
            progress=self._assembly.progress,
            settings=self._settings,
        )
        server.start()
        channels: list[Channel] = []
        try:
            with self._conversation(channels):
                links, hellos = self._welcome_all(server, channels)
                kind = Conductor if self._assembly.result is None else PredictionConductor
                conductor = kind(
                    self._assembly,
                    links=links,
                    hellos=hellos,
                    mail=self._mail,
                    telemetry=self._telemetry,
                    monotonic_s=self._surroundings.monotonic_s,
                )
                conductor.run()
        finally:
            server.close()

    def _welcome_all(self, server: GrpcServer, channels: list[Channel]) -> tuple[dict[str, Link], dict[str, Hello]]:
        """Waits until every client is here and agrees on the contract."""
        links: dict[str, Link] = {}
        hellos: dict[str, Hello] = {}
        deadline_s = self._surroundings.monotonic_s() + self._document.ready_timeout_seconds
        while len(links) < len(self._peers):
            missing = sorted(self._peers.keys() - links.keys())
            # The clients that are here see by these marks that waiting for the others is not being stuck.
            self._assembly.progress.mark(0, f"waiting for {', '.join(missing)}"[:64])
            left_s = max(0.0, deadline_s - self._surroundings.monotonic_s())
            accepted = server.accept(left_s)
            channel = self._admit(accepted)
            channels.append(channel)
            link = self._build_link(channel)
            hellos[channel.peer] = recv_hello(
                link,
                self._build_expectation(channel.peer),
                server=self._document.party,
                boot_nonce=self._nonce,
                fingerprint=self._fingerprint,
                timeout_s=left_s,
            )
            links[channel.peer] = link
        return links, hellos

    @contextlib.contextmanager
    def _conversation(self, channels: list[Channel]) -> Iterator[None]:
        """Says Goodbye on every channel, however the conversation ends."""
        try:
            yield
        except BaseException as error:
            goodbye = build_goodbye(error, self._document.party)
            close_all(channels, goodbye)
            raise
        close_all(channels, build_finished(self._document.party))

    def _admit(self, channel: Channel) -> Channel:
        wrapped = self._surroundings.wrap_channel(channel)
        self._counts.add(wrapped)
        return wrapped

    def _build_link(self, channel: Channel) -> Link:
        return Link(
            channel,
            generation=self._document.generation,
            max_rows=self._assembly.contract.training.batch_size,
        )

    def _build_hello(self) -> Hello:
        return Hello(
            protocol_min=PROTOCOL_VERSION,
            protocol_max=PROTOCOL_VERSION,
            party=self._document.party,
            run_id=self._document.run_id,
            generation=self._document.generation,
            contract_digest=self._document.contract_digest,
            wire_plan_digest=self._assembly.share.wire_plan.compute_digest(),
            fingerprint=self._fingerprint,
            boot_nonce=self._nonce,
            train_rows=self._assembly.train_rows,
            test_rows=self._assembly.test_rows,
            sealing_key=self._mail.build_card(),
        )

    def _build_expectation(self, client: str) -> ExpectedHello:
        return ExpectedHello(
            party=client,
            run_id=self._document.run_id,
            generation=self._document.generation,
            contract_digest=self._document.contract_digest,
            wire_plan_digest=self._assembly.share.wire_plan.compute_digest(),
        )


def close_all(channels: Sequence[Channel], goodbye: Goodbye) -> None:
    """Closes channels side by side, so that one peer that does not answer delays no other's Goodbye."""
    with ThreadPoolExecutor(max_workers=max(1, len(channels))) as pool:
        for channel in channels:
            pool.submit(channel.close, goodbye)


def get_listening(document: PartyDocument) -> Endpoint:
    """Returns where the server party listens: in a pod not at the name by which it is dialed."""
    return Endpoint(host=document.listen_host or document.server.host, port=document.server.port)


def build_peer_identity(document: PartyDocument, name: str) -> PartyIdentity:
    """Returns the identity by which another party of the run must be recognized."""
    peer = next(peer for peer in document.peers if peer.name == name)
    return PartyIdentity(peer.trust_domain, document.run_id, peer.name)
