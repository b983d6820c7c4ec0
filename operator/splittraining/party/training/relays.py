"""Which clients exchange values with each other, and the sealed links between them over the server."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from splittraining.api.contract import Contract
from splittraining.api.errors import ProtocolViolation
from splittraining.api.wire_plan import WirePlan
from splittraining.party.training.sealed_mail import BlobKind, SealedMail
from splittraining.party.wire.channel import Channel
from splittraining.party.wire.link import Link
from splittraining.party.wire.relayed import RelayedChannel
from splittraining.pki import relaying
from splittraining.pki.relaying import PAIR_KEY_BYTES, FrameOpener, FrameSealer

LINK_KEY_SEQUENCE = 1
"""Number of the blob that carries a pair's key: the clients' secret, which may come from the same client, has 0."""
_MAX_KEY_BLOB_BYTES = 1024

Pair = tuple[str, str]


def find_pairs(contract: Contract, wire_plan: WirePlan) -> tuple[Pair, ...]:
    """Finds the pairs of clients between which values go, in the order of clients: the first draws the pair's key."""
    names = [party.name for party in contract.clients]
    exchanging = {(each.sender, each.receiver) for each in wire_plan.iterate_transfers(training=True)}
    return tuple(
        (first, second)
        for index, first in enumerate(names)
        for second in names[index + 1 :]
        if (first, second) in exchanging or (second, first) in exchanging
    )


def open_relayed_links(
    below: Link,
    mail: SealedMail,
    pairs: Sequence[Pair],
    *,
    own: str,
    contract: Contract,
    entropy: Callable[[int], bytes],
    admit: Callable[[Channel], object],
) -> dict[str, Link]:
    """Agrees with every client that this one exchanges values with on a key, and returns the links to them.

    Args:
        below: To the server.
        mail: For the keys.
        pairs: All pairs, as `find_pairs` lists them: the server carries their keys in this order.
        own: This client.
        contract: What all parties agreed on.
        entropy: Source of random bytes.
        admit: Told of every channel.
    """
    links: dict[str, Link] = {}
    for first, second in pairs:
        if own == first:
            key, peer = entropy(PAIR_KEY_BYTES), second
            mail.send(below, kind=BlobKind.LINK_KEY, recipient=second, sequence=LINK_KEY_SEQUENCE, data=key)
        elif own == second:
            key, peer = _recv_key(below, mail, first), first
        else:
            continue
        directions = [
            relaying.Direction(contract.compute_digest(), below.generation, sender, recipient)
            for sender, recipient in ((own, peer), (peer, own))
        ]
        channel = RelayedChannel(
            below.channel,
            peer,
            sealer=FrameSealer(key, directions[0]),
            opener=FrameOpener(key, directions[1]),
            generation=below.generation,
        )
        admit(channel)
        links[peer] = Link(channel, generation=below.generation, max_rows=contract.training.batch_size)
    return links


def _recv_key(below: Link, mail: SealedMail, sender: str) -> bytes:
    key = mail.recv_due(
        below, kind=BlobKind.LINK_KEY, sender=sender, sequence=LINK_KEY_SEQUENCE, max_bytes=_MAX_KEY_BLOB_BYTES
    )
    if len(key) != PAIR_KEY_BYTES:
        raise ProtocolViolation(f"a link key of {len(key)} bytes from {sender}", allowed=f"{PAIR_KEY_BYTES} bytes")
    return key
