"""The authenticator of pods: a projected service-account token, verified offline.

Offline does not see that a pod was deleted: the directory that gets these claims checks that the pod lives.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import jwt

from splittraining.intake.directory import Claims, PodClaims
from splittraining.intake.errors import Unauthenticated
from splittraining.intake.jwks import KeySet

ALGORITHMS = ("RS256", "ES256", "ES384", "ES512")
LEEWAY = timedelta(seconds=60)

_REQUIRED = ("exp", "iat", "sub", "aud", "iss")


class ProjectedToken:
    """Verifies projected tokens whose one audience names one participation.

    Args:
        keys: Public keys of the cluster's issuer.
        issuers: Accepted ``iss``; several during a migration of the issuer.
        fetch_audiences: Returns the audiences of all participations that may get certificates now.
        clock: Returns the moment, with time zone.
    """

    def __init__(
        self,
        keys: KeySet,
        *,
        issuers: Collection[str],
        fetch_audiences: Callable[[], Collection[str]],
        clock: Callable[[], datetime],
    ) -> None:
        self._keys = keys
        self._issuers = issuers
        self._fetch_audiences = fetch_audiences
        self._clock = clock

    async def authenticate(self, token: str) -> Claims:
        """Returns the pod that the token is bound to."""
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
            if not isinstance(key_id, str):
                raise _refuse("names no signing key")
            payload = self._decode(token, await self._keys.find_key(key_id))
        except jwt.MissingRequiredClaimError as error:
            raise _refuse(f"lacks the claim {error.claim!r}") from error
        except jwt.InvalidAudienceError as error:
            raise _refuse("is for another audience") from error
        except jwt.InvalidIssuerError as error:
            raise _refuse("is of another issuer") from error
        except jwt.InvalidTokenError as error:
            # PyJWT's own words name the kind of fault and no part of the token.
            raise _refuse(f"is not valid: {error}") from error
        self._check_times(payload)
        return _parse_claims(payload)

    def _decode(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        # Times are checked by _check_times, against the clock that was handed in.
        payload = jwt.decode(
            token,
            key,
            algorithms=ALGORITHMS,
            audience=tuple(self._fetch_audiences()),
            issuer=self._issuers,
            options={"require": list(_REQUIRED), "verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )
        if isinstance(payload["aud"], list) and len(payload["aud"]) != 1:
            # It opens other doors as well, so others may hold it too.
            raise _refuse(f"has {len(payload['aud'])} audiences")
        return payload

    def _check_times(self, payload: Mapping[str, Any]) -> None:
        now, leeway = self._clock().timestamp(), LEEWAY.total_seconds()
        times = {claim: payload.get(claim, payload["iat"]) for claim in ("exp", "iat", "nbf")}
        for claim, value in times.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise _refuse(f"has a claim {claim!r} that is no time")
        if now >= times["exp"] + leeway:
            raise _refuse("has expired")
        if now < max(times["iat"], times["nbf"]) - leeway:
            raise _refuse("is not valid yet")


def _parse_claims(payload: Mapping[str, Any]) -> PodClaims:
    try:
        cluster = payload["kubernetes.io"]
        audience = payload["aud"] if isinstance(payload["aud"], str) else payload["aud"][0]
        claims = PodClaims(
            issuer=payload["iss"],
            audience=audience,
            namespace=cluster["namespace"],
            service_account=cluster["serviceaccount"]["name"],
            pod_name=cluster["pod"]["name"],
            pod_uid=cluster["pod"]["uid"],
        )
    except (KeyError, TypeError) as error:
        # Anybody with edit rights in a namespace can mint tokens that are bound to no pod.
        raise _refuse("is not bound to a pod") from error
    if payload["sub"] != f"system:serviceaccount:{claims.namespace}:{claims.service_account}":
        raise _refuse("has a subject that is not its own service account")
    return claims


def _refuse(given: str) -> Unauthenticated:
    return Unauthenticated(
        f"the service-account token {given}",
        allowed="a projected token of this cluster, bound to a pod, with exactly the audience of its participation",
        remedy="let the operator make the pod; compare clocks if the time is at fault",
    )
