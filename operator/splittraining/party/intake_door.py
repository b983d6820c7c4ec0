"""One kept-alive HTTPS connection to the intake, and what its answers mean."""

from __future__ import annotations

import http.client
import json
import ssl
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from splittraining.api.errors import IdentityRefused, PeerFailed, ProtocolViolation
from splittraining.api.party_document import IntakeAccess

MAX_ANSWER_BYTES = 1024 * 1024


class DoorUnreachable(Exception):
    """The door gave no answer this time; another try may get one."""


class Door:
    """Posts JSON to the intake, over a connection that is kept as long as it works.

    Args:
        url: Where the door is; its certificate must be for the host that stands here.
        tls: Whom to trust, and as whom to come.
        timeout_s: For each step of a request: connecting, sending, reading.

    Raises:
        IdentityRefused: if the door's URL is not https.
    """

    def __init__(self, url: str, tls: ssl.SSLContext, *, timeout_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise IdentityRefused(
                f"the intake's URL is {url!r}",
                allowed="https://HOST[:PORT]",
                remedy="correct intake.url or intake.reportUrl of the party document: both doors speak TLS only",
            )
        self._url = url
        self._base_path = parts.path.rstrip("/")
        self._connection = http.client.HTTPSConnection(parts.hostname, parts.port, context=tls, timeout=timeout_s)

    def post(self, path: str, body: bytes, *, token: str | None = None) -> dict[str, Any]:
        """Posts JSON and returns the object that came back.

        Raises:
            DoorUnreachable: if there was no answer, or one that asks to come again.
            IdentityRefused: if the door is not who it should be, or refuses who asks.
            ProtocolViolation: if the door does not understand the request, or is not understood.
            PeerFailed: if the door has a fault of its own.
        """
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        reused = self._connection.sock is not None
        try:
            status, answer = self._exchange(path, body, headers)
        except DoorUnreachable:
            if not reused:
                raise
            # The door closes a connection that was idle for long; that is seen only when it is used again.
            status, answer = self._exchange(path, body, headers)
        return self._parse_answer(status, answer)

    def close(self) -> None:
        """Closes the connection; the next post opens another."""
        self._connection.close()

    def _exchange(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        try:
            self._connection.request("POST", self._base_path + path, body, headers)
            response = self._connection.getresponse()
            answer = response.read(MAX_ANSWER_BYTES + 1)
            if response.will_close or len(answer) > MAX_ANSWER_BYTES:
                self.close()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
                raise self._refuse_tls(error) from error
            raise DoorUnreachable(f"{type(error).__name__}: {error}") from error
        return response.status, answer

    def _parse_answer(self, status: int, answer: bytes) -> dict[str, Any]:
        try:
            value = json.loads(answer[:MAX_ANSWER_BYTES])
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ProtocolViolation(
                f"{self._url} answered with status {status} and no JSON object",
                allowed="the answers of a splittraining intake",
                remedy="look at who answers at that address of the party document",
            )
        message = str(value.get("message", "no message"))
        if status == HTTPStatus.OK:
            return value
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise IdentityRefused(f"the intake refused this party: {message}")
        if status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
            raise DoorUnreachable(f"status {status}: {message}")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise PeerFailed(f"the intake failed: {message}", remedy="look at the intake's log, then start again")
        raise ProtocolViolation(f"the intake did not accept the request (status {status}): {message}")

    def _refuse_tls(self, error: ssl.SSLError) -> IdentityRefused:
        reason = getattr(error, "verify_message", "") or error.reason or str(error)
        return IdentityRefused(
            f"the TLS handshake with the intake at {self._url} failed: {reason}",
            allowed="TLS 1.3 with a certificate for that name from the roots at intake.bundlePath",
            remedy="look at who answers at that address, and whether the roots are those of this very run",
        )


def read_roots(access: IntakeAccess) -> bytes:
    """Reads the roots that the door's certificate must chain to.

    Raises:
        IdentityRefused: if there is no such file.
    """
    return read_credential(access.bundle_path, "trust bundle for the intake", "intake.bundlePath")


def read_credential(path: str, what: str, field: str) -> bytes:
    """Reads a small file that the party document names.

    Raises:
        IdentityRefused: naming the file and the field, never its content.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise IdentityRefused(
            f"the {what} at {path} cannot be read: {error.strerror}",
            allowed="a file that this party can read",
            remedy=f"look at {field} of the party document; a local run writes the file anew at every start",
        ) from error
    if not content.strip():
        raise IdentityRefused(f"the {what} at {path} is empty", remedy=f"look at {field} of the party document")
    return content
