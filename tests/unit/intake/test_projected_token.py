"""Which service-account tokens prove a pod, with an issuer's key made here."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from splittraining.intake.directory import PodClaims
from splittraining.intake.errors import Unauthenticated
from splittraining.intake.jwks import KeySet
from splittraining.intake.projected_token import ProjectedToken

NOW = datetime(2031, 5, 1, 12, tzinfo=UTC)
ISSUER = "https://kubernetes.default.svc.cluster.local"
AUDIENCE = "splittraining/default/st-mary/6f1c"
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def a_payload(**changes):
    payload = {
        "iss": ISSUER,
        "aud": [AUDIENCE],
        "sub": "system:serviceaccount:default:trainer",
        "iat": int(NOW.timestamp()) - 10,
        "nbf": int(NOW.timestamp()) - 10,
        "exp": int(NOW.timestamp()) + 600,
        "jti": "1",
        "kubernetes.io": {
            "namespace": "default",
            "serviceaccount": {"name": "trainer", "uid": "uid-sa"},
            "pod": {"name": "st-mary-0", "uid": "uid-pod"},
        },
    }
    return {key: value for key, value in {**payload, **changes}.items() if value is not None}


def a_token(payload=None, *, key=RSA_KEY, algorithm="RS256", kid="rsa-1"):
    headers = {"kid": kid} if kid else {}
    return jwt.encode(payload or a_payload(), key, algorithm=algorithm, headers=headers)


class Issuer:
    """Serves public keys and counts how often."""

    def __init__(self):
        self.num_fetches = 0
        self.keys = [
            {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key())), "kid": "rsa-1", "alg": "RS256"},
            {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(EC_KEY.public_key())), "kid": "ec-1"},
            {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "oct-1"},
        ]

    async def fetch(self):
        self.num_fetches += 1
        return {"keys": self.keys}


def an_authenticator(*, issuer=None, clock=lambda: NOW):
    keys = KeySet((issuer or Issuer()).fetch, clock=clock)
    return ProjectedToken(keys, issuers=[ISSUER], fetch_audiences=lambda: [AUDIENCE, "other"], clock=clock)


def authenticate(token, *, now=NOW):
    return asyncio.run(an_authenticator(clock=lambda: now).authenticate(token))


@pytest.mark.parametrize(
    "token",
    [a_token(), a_token(key=EC_KEY, algorithm="ES256", kid="ec-1"), a_token(a_payload(aud=AUDIENCE))],
    ids=["RS256", "ES256", "audience as text"],
)
def test_a_pods_token_proves_its_pod(token):
    assert authenticate(token) == PodClaims(ISSUER, AUDIENCE, "default", "trainer", "st-mary-0", "uid-pod")


def without_pod():
    bound_to_account = {key: value for key, value in a_payload()["kubernetes.io"].items() if key != "pod"}
    return a_token(a_payload(**{"kubernetes.io": bound_to_account}))


REFUSED = {
    "another audience": (a_token(a_payload(aud=["kubernetes"])), "another audience"),
    "two audiences": (a_token(a_payload(aud=[AUDIENCE, "other"])), "2 audiences"),
    "another issuer": (a_token(a_payload(iss="https://elsewhere")), "another issuer"),
    "no pod": (without_pod(), "not bound to a pod"),
    "no cluster claims": (a_token(a_payload(**{"kubernetes.io": None})), "not bound to a pod"),
    "another subject": (a_token(a_payload(sub="system:serviceaccount:default:admin")), "not its own service account"),
    "no expiry": (a_token(a_payload(exp=None)), "lacks the claim 'exp'"),
    "no issue time": (a_token(a_payload(iat=None)), "lacks the claim 'iat'"),
    "no subject": (a_token(a_payload(sub=None)), "lacks the claim 'sub'"),
    "no audience": (a_token(a_payload(aud=None)), "lacks the claim 'aud'"),
    "expiry as text": (a_token(a_payload(exp="never")), "no time"),
    "no key id": (a_token(kid=None), "no signing key"),
    "an unknown key": (a_token(kid="rsa-2"), "does not have"),
    "another key of that id": (a_token(key=rsa.generate_private_key(65537, 2048)), "is not valid"),
    "another algorithm than the key's": (a_token(algorithm="RS512"), "is not valid"),
    "no algorithm": (a_token(key=None, algorithm="none"), "is not valid"),
    "a symmetric key": (a_token(key="secret" * 6, algorithm="HS256", kid="oct-1"), "does not have"),
    "garbage": ("a.b.c", "is not valid"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_every_other_token_is_refused(case):
    token, message = REFUSED[case]
    with pytest.raises(Unauthenticated) as refused:
        authenticate(token)
    assert message in refused.value.given
    assert token not in str(refused.value)


def test_times_have_a_minute_of_leeway():
    assert authenticate(a_token(), now=NOW + timedelta(seconds=659))
    with pytest.raises(Unauthenticated, match="expired"):
        authenticate(a_token(), now=NOW + timedelta(seconds=660))
    assert authenticate(a_token(), now=NOW - timedelta(seconds=70))
    with pytest.raises(Unauthenticated, match="not valid yet"):
        authenticate(a_token(), now=NOW - timedelta(seconds=71))


def test_unknown_keys_are_looked_for_once_a_minute_and_a_new_one_is_found():
    issuer = Issuer()

    def clock():
        return NOW + timedelta(seconds=elapsed_s)

    async def scenario():
        nonlocal elapsed_s
        authenticator = an_authenticator(issuer=issuer, clock=clock)
        await authenticator.authenticate(a_token())
        for _ in range(3):
            with pytest.raises(Unauthenticated, match="does not have"):
                await authenticator.authenticate(a_token(kid="rsa-2"))
        assert issuer.num_fetches == 1
        issuer.keys[0]["kid"] = "rsa-2"
        elapsed_s = 60
        await authenticator.authenticate(a_token(kid="rsa-2"))
        assert issuer.num_fetches == 2

    elapsed_s = 0
    asyncio.run(scenario())
