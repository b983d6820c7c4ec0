"""A port for the server party, known to all before anybody listens on it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

LOOPBACK = "127.0.0.1"


@contextlib.contextmanager
def reserve_port() -> Iterator[int]:
    """Yields a free TCP port of the loopback address and keeps it from others until the end.

    The socket stays bound and never listens. The party's own server binds the same port beside it, since gRPC sets
    SO_REUSEPORT; the kernel hands connections to listening sockets only. Other users of the machine cannot bind it:
    sharing a port this way is for processes of one user.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((LOOPBACK, 0))
        yield holder.getsockname()[1]
