"""A party's credentials as they are at the moment: they are renewed while streams, reports and sealed mail use them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from splittraining.api.errors import SplitTrainingError
from splittraining.pki.credentials import Credentials


class LiveCredentials:
    """The newest credentials of one party, and whether there will be no others.

    Whoever uses them takes `current` once per use: a key and its leaf must come from one snapshot.

    Args:
        first: What the party got when it started.
    """

    def __init__(self, first: Credentials) -> None:
        self._lock = threading.Lock()
        self._current = first
        self._error: SplitTrainingError | None = None
        self._listeners: list[Callable[[], None]] = []

    @property
    def current(self) -> Credentials:
        """The newest ones."""
        return self._current

    @property
    def error(self) -> SplitTrainingError | None:
        """Why there will be no newer ones, once that is known: the party must end."""
        return self._error

    def renew(self, credentials: Credentials) -> None:
        """Replaces them and calls whoever listens."""
        with self._lock:
            self._current = credentials
            listeners = tuple(self._listeners)
        for tell in listeners:
            tell()

    def end(self, error: SplitTrainingError) -> None:
        """Records that they will not be renewed any more and calls whoever listens; the first error counts."""
        with self._lock:
            self._error = self._error or error
            listeners = tuple(self._listeners)
        for tell in listeners:
            tell()

    def listen(self, tell: Callable[[], None]) -> None:
        """Adds a function to call after every change. What has changed before, the caller looks up."""
        with self._lock:
            self._listeners.append(tell)
