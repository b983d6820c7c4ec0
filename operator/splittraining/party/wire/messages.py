"""Every message that a link can read."""

from __future__ import annotations

from splittraining.party.wire.handshake import Hello, Welcome
from splittraining.party.wire.message import Message
from splittraining.party.wire.orders import ORDERS

MESSAGES: tuple[type[Message], ...] = (Hello, Welcome, *ORDERS)
"""The handshake's messages and the conductor's."""
