"""Who issues this cluster's service-account tokens: as the operator's own token says, else as the API server does."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path

TOKEN_PATH = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
JWKS_PATH = "/openid/v1/jwks"
"""Asked of our own API server: the `jwks_uri` that it advertises may lie outside, where nothing here can go."""
CONFIGURATION_PATH = "/.well-known/openid-configuration"


def read_own_issuer(path: Path = TOKEN_PATH) -> str:
    """Returns the issuer of the operator's own token, which the kubelet vouches for; empty where there is none."""
    try:
        payload = path.read_text(encoding="ascii").split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (OSError, IndexError, ValueError, binascii.Error):
        return ""
    issuer = claims.get("iss", "") if isinstance(claims, dict) else ""
    return issuer if isinstance(issuer, str) else ""
