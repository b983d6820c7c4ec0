"""The two requests of the door, as an aiohttp application. Handlers stay thin: who asks, may they, do it."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, TypeVar

from aiohttp import hdrs, web
from pydantic import Field, ValidationError

from splittraining.api.base import Document
from splittraining.api.errors import IdentityRefused, ProtocolViolation, SplitTrainingError
from splittraining.api.identity import PartyIdentity
from splittraining.api.report import Report
from splittraining.intake.authenticators import LeafAuthenticator, TokenAuthenticator
from splittraining.intake.directory import Directory
from splittraining.intake.errors import Unauthenticated, get_status, render_error
from splittraining.intake.reports import NewestReports
from splittraining.intake.signer import Signer
from splittraining.pki.bundle import TrustBundle
from splittraining.pki.evaluate import MAX_REQUEST_BYTES

CERTIFICATE_PATH = "/v1/certificate"
REPORT_PATH = "/v1/report"
MAX_BODY_BYTES = 64 * 1024
REQUEST_TIMEOUT_S = 30.0
"""For a whole request after its headers, body included: nobody holds the door by sending slowly."""

DocumentT = TypeVar("DocumentT", bound=Document)

_LOG = logging.getLogger(__name__)


class CertificateRequest(Document):
    """Body of a certificate request."""

    csr: Annotated[str, Field(min_length=1, max_length=MAX_REQUEST_BYTES)]
    """PKCS #10 in PEM."""


class IntakeHandlers:
    """The door's requests over the protocols behind it.

    Args:
        directory: Who may have which leaf.
        tokens: Authenticates first certificates.
        leaves: Authenticates renewals and reports.
        signer: Signs.
        fetch_bundle: Returns the roots that parties are given.
        reports: Takes reports.
    """

    def __init__(
        self,
        *,
        directory: Directory,
        tokens: TokenAuthenticator,
        leaves: LeafAuthenticator,
        signer: Signer,
        fetch_bundle: Callable[[], TrustBundle],
        reports: NewestReports,
    ) -> None:
        self._directory = directory
        self._tokens = tokens
        self._leaves = leaves
        self._signer = signer
        self._fetch_bundle = fetch_bundle
        self._reports = reports

    async def handle_certificate(self, request: web.Request) -> web.Response:
        """Signs a party's request: the first by token, a renewal by the leaf it replaces, for the same identity."""
        token = _parse_bearer(request)
        identity = await self._identify_by_token(token) if token is not None else await self._identify_by_leaf(request)
        csr = _parse_body(CertificateRequest, await request.read()).csr
        leaf_pem = await self._signer.sign(csr.encode(), identity)
        _LOG.info("signed a certificate of %s", identity.spiffe_id)
        bundle = self._fetch_bundle().as_json_object()
        return web.json_response({"leaf": leaf_pem.decode("ascii"), "bundle": bundle})

    async def handle_report(self, request: web.Request) -> web.Response:
        """Takes a party's report about itself."""
        identity = await self._identify_by_leaf(request)
        report = _parse_body(Report, await request.read())
        if report.party != identity.party:
            raise IdentityRefused(
                f"a report of party {report.party!r} came with the leaf of party {identity.party!r}",
                allowed="reports of a party about itself",
                remedy="let each party report with its own leaf",
            )
        return web.json_response({"stored": self._reports.take(identity, report)})

    async def _identify_by_token(self, token: str) -> PartyIdentity:
        identity = await self._directory.find_party(await self._tokens.authenticate(token))
        if identity is None:
            raise IdentityRefused(
                "the token is genuine and stands for no party that is admitted here now",
                allowed="parties of trainings that run here",
                remedy="look whether the training still names this party, and whether its pod is the current one",
            )
        return identity

    async def _identify_by_leaf(self, request: web.Request) -> PartyIdentity:
        leaf_pem = _get_peer_leaf(request)
        if leaf_pem is None:
            raise Unauthenticated(
                "neither a token nor a client certificate was given",
                allowed="a bearer token for the first certificate, a leaf for everything after",
                remedy="send one",
            )
        return (await self._leaves.authenticate(leaf_pem)).identity


def build_app(handlers: IntakeHandlers) -> web.Application:
    """Builds the application: two requests, a bounded body, and errors as JSON."""
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_answer_errors])
    app.router.add_post(CERTIFICATE_PATH, handlers.handle_certificate)
    app.router.add_post(REPORT_PATH, handlers.handle_report)
    return app


@web.middleware
async def _answer_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            return await handler(request)
    except SplitTrainingError as error:
        _LOG.warning("refused %s: %s: %s", request.path, error.reason, error)
        return _render_response(get_status(error), error.reason, str(error))
    except web.HTTPException as error:
        return _render_response(HTTPStatus(error.status), error.reason.replace(" ", ""), _describe(error))
    except TimeoutError:
        message = f"The request took longer than {REQUEST_TIMEOUT_S:.0f} s."
        return _render_response(HTTPStatus.REQUEST_TIMEOUT, "RequestTimeout", message)
    except Exception:  # noqa: BLE001 - what went wrong is for this side's log alone: the caller may be anybody
        _LOG.exception("failed to answer %s", request.path)
        return _render_response(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal", "A fault of the intake: see its log.")


def _render_response(status: HTTPStatus, reason: str, message: str) -> web.Response:
    response = web.json_response(render_error(reason, message), status=status)
    if status >= HTTPStatus.BAD_REQUEST:
        response.force_close()  # an unread body may follow, and a refused caller has no business to stay
    return response


def _describe(error: web.HTTPException) -> str:
    if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return f"The body is too large. Allowed: at most {MAX_BODY_BYTES} bytes."
    return f"Allowed: POST {CERTIFICATE_PATH} and POST {REPORT_PATH}."


def _parse_bearer(request: web.Request) -> str | None:
    header = request.headers.get(hdrs.AUTHORIZATION)
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated(
            "the Authorization header is not a bearer token", allowed="Authorization: Bearer TOKEN", remedy="send that"
        )
    return token.strip()


def _parse_body(kind: type[DocumentT], body: bytes) -> DocumentT:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = repr(".".join(str(part) for part in first["loc"])[:100]) if first["loc"] else "the body"
        raise ProtocolViolation(
            f"{kind.__name__}: {place}: {first['msg']}",
            allowed=f"a {kind.__name__} as JSON",
            remedy="use the same version of splittraining at the party and at the intake",
        ) from error


def _get_peer_leaf(request: web.Request) -> bytes | None:
    if request.transport is None:
        return None
    tls = request.transport.get_extra_info("ssl_object")
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    return ssl.DER_cert_to_PEM_cert(der).encode() if der else None
