"""How the door says no: one status and one JSON body per kind of error, without tracebacks and without secrets."""

from __future__ import annotations

from http import HTTPStatus

from splittraining.api.errors import IdentityRefused, NotSupported, ProtocolViolation, SplitTrainingError


class Unauthenticated(IdentityRefused):
    """No credential, or one that proves nothing. A credential that proves the wrong thing is plain IdentityRefused."""


class Unavailable(SplitTrainingError):
    """What the door needs to know cannot be had now: the caller may be right, and should come again."""


def get_status(error: SplitTrainingError) -> HTTPStatus:
    """Returns the HTTP status that an error is sent with."""
    if isinstance(error, Unauthenticated):
        return HTTPStatus.UNAUTHORIZED
    if isinstance(error, IdentityRefused):
        return HTTPStatus.FORBIDDEN
    if isinstance(error, Unavailable):
        return HTTPStatus.SERVICE_UNAVAILABLE
    if isinstance(error, ProtocolViolation | NotSupported):
        return HTTPStatus.BAD_REQUEST
    return HTTPStatus.INTERNAL_SERVER_ERROR


def render_error(reason: str, message: str) -> dict[str, str]:
    """Renders the body of every answer that is not a success."""
    return {"reason": reason, "message": message}
