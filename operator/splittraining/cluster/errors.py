"""What the API server refuses, by name. Which name an answer gets is decided by a pure function.

ApiError
├── Unreachable           no answer: connection, TLS, time
├── NotFound              404
├── Conflict              409: another resourceVersion, another uid
├── AlreadyExists         409 of a creation
├── Gone                  410: too old a resourceVersion
├── Forbidden             403: a right is missing
│   ├── AdmissionRefused  403 of a webhook, a policy, a LimitRange or pod security
│   ├── QuotaExceeded     403 of a ResourceQuota
│   └── NamespaceTerminating
├── Invalid               400, 422: an object that the API server does not take
├── TypedPatchFailed      500, for good: an apply with a field that is unknown or of another type
├── TooManyRequests       429
└── ServerFailed          any other 5xx, and 403 where the API server has not heard of a kind's definition yet
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

_ADMISSION_WORDS = ("denied the request", "violates PodSecurity", "usage per ")
"""Of webhooks and policies, of pod security, and of LimitRanges ("minimum cpu usage per Container is ...")."""
_UNKNOWN_KIND = "cannot find RESTMapping"
"""Of the admission of owners: it reads which kinds there are every 30 s, and knows none that came since."""
_TYPED_PATCH = "failed to create typed patch object"
_MOST_CHARACTERS = 1000


class ApiError(Exception):
    """A call that did not do what it should.

    Args:
        asked: Method and path.
        said: The API server's own words.
        retry_after_s: When the server wants to be asked again, where it says so.
    """

    def __init__(self, asked: str, said: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(f"{asked}: {said}")
        self.asked = asked
        self.said = said
        self.retry_after_s = retry_after_s


class Unreachable(ApiError):
    """No answer in time, or none at all."""


class NotFound(ApiError):
    """There is no such object, or no such kind."""


class Conflict(ApiError):
    """The object is not as the caller saw it."""


class AlreadyExists(ApiError):
    """An object of that name is there."""


class Gone(ApiError):
    """The resourceVersion or continue token is too old."""


class Forbidden(ApiError):
    """A right is missing, or an admission refuses."""


class AdmissionRefused(Forbidden):
    """The right is there, but something that looks at the object itself refuses it."""


class QuotaExceeded(Forbidden):
    """A ResourceQuota leaves no room."""


class NamespaceTerminating(Forbidden):
    """The namespace is being deleted."""


class Invalid(ApiError):
    """The API server does not take the object."""


class TypedPatchFailed(ApiError):
    """An apply names a field that does not exist or has another type. It is a fault of the caller and stays one.

    The API server answers 500, as if trying again could help.
    """


class TooManyRequests(ApiError):
    """The API server asks for patience."""


class ServerFailed(ApiError):
    """The API server, or something behind it, failed."""


_BY_STATUS: Mapping[int, type[ApiError]] = {
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.GONE: Gone,
    HTTPStatus.TOO_MANY_REQUESTS: TooManyRequests,
    HTTPStatus.BAD_REQUEST: Invalid,
    HTTPStatus.UNPROCESSABLE_ENTITY: Invalid,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: Invalid,
}


def build_error(asked: str, status: int, body: Mapping[str, Any], *, retry_after_s: float | None = None) -> ApiError:
    """Builds the error that an answer means.

    Args:
        asked: Method and path, for the message.
        status: HTTP status, 400 or more.
        body: The answer, a Kubernetes Status where the API server itself gave it.
        retry_after_s: Of the Retry-After header.
    """
    message = str(body.get("message") or body)[:_MOST_CHARACTERS]
    return _decide_kind(status, str(body.get("reason", "")), message, _list_causes(body))(
        asked, f"{status} {message}", retry_after_s=retry_after_s
    )


def _decide_kind(status: int, reason: str, message: str, causes: set[str]) -> type[ApiError]:
    if status == HTTPStatus.CONFLICT:
        return AlreadyExists if reason == "AlreadyExists" else Conflict
    if status == HTTPStatus.FORBIDDEN:
        return _decide_kind_of_refusal(message, causes)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return TypedPatchFailed if _TYPED_PATCH in message else ServerFailed
    return _BY_STATUS.get(status, Invalid)


def _decide_kind_of_refusal(message: str, causes: set[str]) -> type[ApiError]:
    if "NamespaceTerminating" in causes or "because it is being terminated" in message:
        return NamespaceTerminating
    if _UNKNOWN_KIND in message:
        return ServerFailed
    if "exceeded quota" in message:
        return QuotaExceeded
    return AdmissionRefused if any(words in message for words in _ADMISSION_WORDS) else Forbidden


def _list_causes(body: Mapping[str, Any]) -> set[str]:
    details = body.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return {str(cause.get("reason")) for cause in causes or () if isinstance(cause, dict)}
