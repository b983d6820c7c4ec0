"""The clients as the conductor sees them: what each one must answer, and who of them has the current client segment.

In a Sequential training with hand-off there is one client segment, and it moves. Who trained last *holds* it, with its
optimizer's state; before another client's turn everything is handed on. For evaluation and at the end weights are
enough: they go round the ring, from whoever has them to whoever lacks them. With direct links every pass goes from a
client to its successor alone (api/ring); what is meant for one further on passes through those between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from splittraining.api.errors import ProtocolViolation
from splittraining.api.ring import list_pairs
from splittraining.party.training.sealed_mail import BlobKind
from splittraining.party.wire.link import Link, relay_blob
from splittraining.party.wire.message import Message
from splittraining.party.wire.orders import HandOff, HandOffDone, SealedNotice, TakeOver

M = TypeVar("M", bound=Message)

MAX_STATE_BYTES = 1 << 36
"""Bound of one relayed hand-off. It is never held here as a whole, so the bound only keeps a lie finite."""


class ClientLine:
    """All clients in the order of turns.

    Args:
        names: In the order of turns.
        links: To every client, by name.
        hands_off: Whether the client segment is handed on; else every client keeps its own.
        directly: Whether it goes over links of the clients' own, past the server.
    """

    def __init__(
        self, names: Sequence[str], links: Mapping[str, Link], *, hands_off: bool, directly: bool = False
    ) -> None:
        self.names = list(names)
        # Clients connect in any order; whatever is summed over them is summed in the listed one.
        self.links: Mapping[str, Link] = {name: links[name] for name in self.names}
        self._hands_off = hands_off
        self._successors = dict(list_pairs(self.names)) if directly else {}
        self._sequence = 0
        # At the start all clients are alike: the same first weights, no optimizer state.
        self._holder = self.names[0]
        self._current = list(self.names)  # who has the current weights, the latest recipient last

    @property
    def ring(self) -> list[str]:
        """The clients in the order of turns, beginning with the one that trained last."""
        start = self.names.index(self._holder)
        return self.names[start:] + self.names[:start]

    def choose_keepers(self) -> list[str]:
        """Returns who must keep weights so that none are lost: the holder of the one client segment, or everybody."""
        return [self._holder] if self._hands_off else list(self.names)

    def restart_from(self, keepers: Sequence[str]) -> None:
        """Notes that the keepers went back to the weights they kept: these are the current ones now."""
        if self._hands_off:
            (self._holder,) = keepers
            self._current = [self._holder]

    def recv(self, client: str, kind: type[M]) -> M:
        """Returns a client's next message, which must be of one kind.

        Raises:
            ProtocolViolation: if it is of another kind.
        """
        message = self.links[client].recv_control()
        if not isinstance(message, kind):
            raise ProtocolViolation(
                f"message {message.type} came from {client} out of turn",
                allowed=kind.__name__,
                remedy="use the same version of splittraining at every party",
            )
        return message

    def pass_state_to(self, recipient: str, *, step: int) -> None:
        """Sees to it that a client has weights, buffers and optimizer state before it trains."""
        if self._hands_off:
            for sender, receiver in self._plan_way(self._holder, recipient):
                self._pass(sender, receiver, step=step, weights_only=False)
        self._holder, self._current = recipient, [recipient]

    def pass_weights_to(self, recipient: str, *, step: int) -> None:
        """Sees to it that a client has the current weights before it evaluates, or at the end."""
        if self._hands_off and recipient not in self._current:
            for sender, receiver in self._plan_way(self._current[-1], recipient):
                self._pass(sender, receiver, step=step, weights_only=True)
                self._current.append(receiver)

    def relay(self, sender: str, recipient: str, *, kind: BlobKind) -> None:
        """Carries one sealed blob from client to client, piece by piece, without keeping or reading it.

        Raises:
            ProtocolViolation: if the sender announces another blob than the one that is due.
        """
        notice = self.recv(sender, SealedNotice)
        size_bytes = sum(notice.piece_sizes)
        if (notice.kind, notice.sender, notice.recipient) != (kind, sender, recipient) or size_bytes > MAX_STATE_BYTES:
            raise ProtocolViolation(
                f"{sender} announced a sealed {notice.kind} from {notice.sender} to {notice.recipient}"
                f" of {size_bytes} bytes",
                allowed=f"a sealed {kind} from {sender} to {recipient} of at most {MAX_STATE_BYTES} bytes",
                remedy="use the same version of splittraining at every party",
            )
        self.links[recipient].send_control(notice)
        relay_blob(self.links[sender], self.links[recipient], notice.sequence, size_bytes)

    def _plan_way(self, holder: str, recipient: str) -> list[tuple[str, str]]:
        """Returns the passes from who has something to who lacks it: at once through the server, else step by step."""
        if not self._successors:
            return [(holder, recipient)] if holder != recipient else []
        way = []
        while holder != recipient:
            way.append((holder, self._successors[holder]))
            holder = self._successors[holder]
        return way

    def _pass(self, sender: str, recipient: str, *, step: int, weights_only: bool) -> None:
        self._sequence += 1
        order = HandOff(recipient=recipient, sequence=self._sequence, step=step, weights_only=weights_only)
        self.links[sender].send_control(order)
        if self._successors:
            self.links[recipient].send_control(TakeOver(sender=sender, sequence=self._sequence))
        else:
            self.relay(sender, recipient, kind=BlobKind.HAND_OFF)
        self.recv(recipient, HandOffDone)
