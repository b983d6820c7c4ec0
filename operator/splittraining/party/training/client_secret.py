"""The secret that the clients of one generation share and the server never sees, and the keys derived from it.

The first client draws it and seals it to each of the others. From it come the seed of the client segments' initial
weights (initialization ClientsOnly) and the key of the row-id digests (Joint schedules). A server that holds labels
itself is a data holder too and gets the second key only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

SECRET_BYTES = 32
SECRET_SEQUENCE = 0
"""Number of the sealed blob that carries the secret, or what is derived from it; hand-offs count from 1."""
MAX_SECRET_BLOB_BYTES = 1024
"""Of that blob."""


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """The shared secret; its text form shows nothing."""

    secret: bytes

    def __repr__(self) -> str:
        return "ClientSecret(...)"

    @property
    def initialization_seed(self) -> int:
        """Seed of the client segments' initial weights.

        Notes: torch's CPU generator takes in 32 bits of a seed, so a server that knew a client's inputs could search
        all of them; docs/what-the-server-can-learn.md says so.
        """
        return int.from_bytes(self._derive(b"initial wts")[:8], "little") >> 1

    @property
    def row_ids_key(self) -> bytes:
        """Key of the batches' row-id digests."""
        return self._derive(b"row ids")

    def _derive(self, purpose: bytes) -> bytes:
        return hashlib.blake2b(key=self.secret, person=purpose, digest_size=32).digest()


def draw_client_secret(entropy: Callable[[int], bytes]) -> ClientSecret:
    """Returns a fresh secret from a source of random bytes."""
    return ClientSecret(entropy(SECRET_BYTES))
