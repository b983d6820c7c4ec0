"""A client's direct links for PeerToPeer hand-offs: its predecessor in the ring dials it, it dials its successor.

Both links are opened once the conductor has said that all parties are here, and live to the end of the training. On
each one the dialing client says Hello and the listening one Welcome, as between a client and the server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from splittraining.api.errors import ProtocolViolation, SpecInvalid
from splittraining.api.identity import PartyIdentity
from splittraining.api.party_document import PartyDocument
from splittraining.api.ring import Neighbors, find_neighbors
from splittraining.party.wire.channel import Alarm, Channel, ChannelSettings
from splittraining.party.wire.grpc_client import dial
from splittraining.party.wire.grpc_server import GrpcServer
from splittraining.party.wire.handshake import ExpectedHello, Hello, recv_hello, recv_welcome
from splittraining.party.wire.link import Link
from splittraining.party.wire.progress import Progress
from splittraining.pki.live import LiveCredentials

_MARGIN_S = 5.0
"""By which a listener waits longer than its predecessor dials: who dialed knows why it failed, and speaks first."""


@dataclass(frozen=True)
class PeerTerms:
    """What both links of a client have in common.

    Attributes:
        identities: Every other party by name.
        hello: What this client says to its successor.
        settings: Times and bounds of the channels.
        alarm: Of all channels of this party: one that is lost ends waiting on the others.
        open_link: Makes a link of a new channel, which is counted, and told Goodbye at the end.
    """

    identities: Mapping[str, PartyIdentity]
    hello: Hello
    settings: ChannelSettings
    alarm: Alarm
    open_link: Callable[[Channel], Link]


class PeerLinks:
    """The two links of one client.

    Args:
        document: This party's.
        neighbors: Its predecessor and successor.
        credentials: Its leaf, key and trust.
        progress: What this party is doing, for the heartbeats.
        terms: What both links have in common.

    Raises:
        SpecInvalid: if the document does not say where to listen and whom to dial.
    """

    def __init__(
        self,
        document: PartyDocument,
        neighbors: Neighbors,
        *,
        credentials: LiveCredentials,
        progress: Progress,
        terms: PeerTerms,
    ) -> None:
        if document.listen is None or document.successor is None:
            raise SpecInvalid(
                "the party document does not say where this client listens and where its successor is dialed",
                allowed="listen and successor, where the contract says handoff: PeerToPeer",
                remedy="use the same version of splittraining for the operator and the party",
            )
        self._neighbors = neighbors
        self._endpoint = document.successor
        self._credentials = credentials
        self._progress = progress
        self._terms = terms
        # The server says Stalled of a client that gets nowhere: before that this client names the missing link.
        self._timeout_s = min(float(document.ready_timeout_seconds), document.stall_timeout_seconds / 2)
        self._server = GrpcServer(
            credentials,
            document.listen,
            expected={neighbors.predecessor: terms.identities[neighbors.predecessor]},
            progress=progress,
            settings=terms.settings,
            alarm=terms.alarm,
        )
        self._outgoing: Link | None = None
        self._incoming: Link | None = None

    def listen(self) -> None:
        """Listens for the predecessor, before anybody could dial.

        Raises:
            StartTimeout: if the port cannot be bound.
        """
        self._server.start()

    def connect(self) -> None:
        """Opens both links.

        Raises:
            SplitTrainingError: if one of them cannot be opened, or another channel of this party is lost meanwhile.
        """
        before, after = self._neighbors.predecessor, self._neighbors.successor
        self._progress.mark(0, f"connecting to {after}")
        channel = dial(
            self._credentials,
            self._endpoint,
            self._terms.identities[after],
            progress=self._progress,
            settings=self._terms.settings,
            ready_timeout_s=self._timeout_s,
            alarm=self._terms.alarm,
        )
        self._outgoing = self._terms.open_link(channel)
        # All clients do this at once: if each waited for its Welcome before it gave one, all would wait for ever.
        self._outgoing.send_control(self._terms.hello)
        self._progress.mark(0, f"waiting for {before}")
        self._incoming = self._terms.open_link(self._server.accept(self._timeout_s + _MARGIN_S))
        hello = self._terms.hello
        expected = ExpectedHello(
            party=before,
            run_id=hello.run_id,
            generation=hello.generation,
            contract_digest=hello.contract_digest,
            wire_plan_digest=hello.wire_plan_digest,
        )
        recv_hello(self._incoming, expected, server=hello.party, boot_nonce=hello.boot_nonce, timeout_s=self._timeout_s)
        recv_welcome(self._outgoing, hello, server=after, timeout_s=self._timeout_s)

    def get_outgoing(self, recipient: str) -> Link:
        """Returns the link to the successor.

        Raises:
            ProtocolViolation: if somebody else is meant, or the links are not open yet.
        """
        return _require(self._outgoing, f"hand on to {recipient}", recipient, self._neighbors.successor)

    def get_incoming(self, sender: str) -> Link:
        """Returns the link from the predecessor.

        Raises:
            ProtocolViolation: if somebody else is meant, or the links are not open yet.
        """
        return _require(self._incoming, f"take over from {sender}", sender, self._neighbors.predecessor)

    def close(self) -> None:
        """Stops listening. Say Goodbye on the links first."""
        self._server.close()


def build_peer_links(
    document: PartyDocument, *, credentials: LiveCredentials, progress: Progress, terms: PeerTerms
) -> PeerLinks | None:
    """Builds a client's direct links; None where its contract has none for it.

    Raises:
        SpecInvalid: if the document lacks what they need.
    """
    clients = [party.name for party in document.contract.clients]
    neighbors = find_neighbors(document.contract.schedule, clients, document.party)
    if neighbors is None:
        return None
    return PeerLinks(document, neighbors, credentials=credentials, progress=progress, terms=terms)


def _require(link: Link | None, order: str, given: str, allowed: str) -> Link:
    if link is None or given != allowed:
        raise ProtocolViolation(
            f"the server ordered this client to {order}",
            allowed=f"only {allowed}, this client's neighbor in the order of turns, and after Prepare",
            remedy="use the same version of splittraining at every party",
        )
    return link
