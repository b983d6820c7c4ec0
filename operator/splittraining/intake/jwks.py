"""The public keys of a cluster's token issuer, fetched when a key is unknown and at most once a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import jwt

from splittraining.intake.errors import Unauthenticated

FETCH_PERIOD = timedelta(minutes=1)

FetchJwks = Callable[[], Awaitable[Mapping[str, Any]]]


class KeySet:
    """Keys by their id.

    Args:
        fetch: Returns the key set as its issuer serves it: ``{"keys": [...]}``.
        clock: Returns the moment, with time zone.
    """

    def __init__(self, fetch: FetchJwks, *, clock: Callable[[], datetime]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at: datetime | None = None
        self._lock = asyncio.Lock()  # one fetch, however many requests meet a new key at once

    async def find_key(self, key_id: str) -> jwt.PyJWK:
        """Returns the key with an id, fetching the set anew where the id is unknown.

        Raises:
            Unauthenticated: if the issuer has no such key.
        """
        async with self._lock:
            if key_id not in self._keys and self._may_fetch():
                self._keys = _parse_keys(await self._fetch())
                self._fetched_at = self._clock()  # not before: a failed try must not turn genuine tokens away
        try:
            return self._keys[key_id]
        except KeyError as error:
            raise Unauthenticated(
                "the token is signed with a key that this cluster's issuer does not have",
                allowed="tokens of the cluster that this intake serves",
                remedy="look at which cluster the party runs in; a new signing key is known here after a minute",
            ) from error

    def _may_fetch(self) -> bool:
        # The key id is the caller's own word: without this, anybody could make the door call the API server.
        return self._fetched_at is None or self._clock() - self._fetched_at >= FETCH_PERIOD


def _parse_keys(document: Mapping[str, Any]) -> dict[str, jwt.PyJWK]:
    keys = {}
    for entry in document["keys"]:
        if entry.get("kid") and entry.get("kty") in {"RSA", "EC"}:
            keys[entry["kid"]] = jwt.PyJWK.from_dict(entry)
    return keys
