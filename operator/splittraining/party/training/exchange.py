"""All clients' tensors brought to one party, combined there, and the result brought back: sealed all the way.

The party that combines is a client, whose mail the server carries without being able to read it, or the server itself
where the contract says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from splittraining.api.contract import Contract
from splittraining.api.identity import SERVER_PARTY
from splittraining.api.spec.schedule import AveragingAt
from splittraining.party.training.client_line import ClientLine
from splittraining.party.training.sealed_mail import BlobKind, SealedMail
from splittraining.party.wire.link import Link

Combine = Callable[[Sequence[bytes]], bytes]
"""From what each client sent, in listed order, to what all get."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What is exchanged, and under which number: it grows from exchange to exchange."""

    part: BlobKind
    result: BlobKind
    sequence: int
    max_bytes: int


def find_averaging_party(contract: Contract) -> str | None:
    """Returns the party at which gradients or weights of all clients come together, if any."""
    at = contract.schedule.averaging_at
    if at is None:
        return None
    return SERVER_PARTY if at is AveragingAt.SERVER else contract.clients[0].name


class Exchange:
    """A client's end.

    Args:
        mail: Seals and opens.
        link: To the server, which carries.
        own: This client.
        clients: All clients in listed order.
        averaging_party: Who combines.
    """

    def __init__(self, mail: SealedMail, link: Link, *, own: str, clients: Sequence[str], averaging_party: str) -> None:
        self._mail = mail
        self._link = link
        self._own = own
        self._clients = clients
        self._averaging_party = averaging_party

    def run(self, errand: Errand, data: bytes, combine: Combine) -> bytes:
        """Gives this client's part and returns the result; combines the parts where this client is to.

        Raises:
            ProtocolViolation: if anything else arrives than is due.
        """
        if self._own != self._averaging_party:
            send(self._mail, self._link, errand, errand.part, self._averaging_party, data)
            return recv(self._mail, self._link, errand, errand.result, self._averaging_party)
        others = [name for name in self._clients if name != self._own]
        parts = {self._own: data}
        for name in others:
            parts[name] = recv(self._mail, self._link, errand, errand.part, name)
        result = combine([parts[name] for name in self._clients])
        for name in others:
            send(self._mail, self._link, errand, errand.result, name, result)
        return result


def serve(line: ClientLine, mail: SealedMail, averaging_party: str, errand: Errand, combine: Combine) -> None:
    """Does the server's part of one exchange: combines where it is the averaging party, else carries."""
    if averaging_party == SERVER_PARTY:
        run_at_server(mail, line.links, errand, combine)
    else:
        carry(line, averaging_party, part=errand.part, result=errand.result)


def run_at_server(mail: SealedMail, links: Mapping[str, Link], errand: Errand, combine: Combine) -> None:
    """Combines at the server, which the contract makes the averaging party."""
    parts = [recv(mail, link, errand, errand.part, name) for name, link in links.items()]
    result = combine(parts)
    for name, link in links.items():
        send(mail, link, errand, errand.result, name, result)


def carry(line: ClientLine, averaging_party: str, *, part: BlobKind, result: BlobKind) -> None:
    """Carries all parts to the averaging client and its result to the others; nothing of it can be read here."""
    others = [name for name in line.names if name != averaging_party]
    for name in others:
        line.relay(name, averaging_party, kind=part)
    for name in others:
        line.relay(averaging_party, name, kind=result)


def send(mail: SealedMail, link: Link, errand: Errand, kind: BlobKind, recipient: str, data: bytes) -> None:
    """Seals one part or result to its recipient."""
    mail.send(link, kind=kind, recipient=recipient, sequence=errand.sequence, data=data)


def recv(mail: SealedMail, link: Link, errand: Errand, kind: BlobKind, sender: str) -> bytes:
    """Returns the part or result that is due from one sender.

    Raises:
        ProtocolViolation: if anything else arrives.
    """
    return mail.recv_due(link, kind=kind, sender=sender, sequence=errand.sequence, max_bytes=errand.max_bytes)
