"""Why a server closed a connection without a word: because of this party's certificate, or because it just went away.

In TLS 1.3 a server judges the client's certificate when the client already takes the handshake for done. gRPC's server
then closes without an alert, and gRPC's client says "Socket closed" for that as for everything else.
"""

from __future__ import annotations

import socket
import ssl

from splittraining.api.identity import PartyIdentity
from splittraining.pki.credentials import Credentials
from splittraining.pki.tls import build_client_context

_TIMEOUT_S = 3.0


def fetch_tls_refusal(credentials: Credentials, host: str, port: int, server: PartyIdentity) -> str:
    """Returns why TLS does not get through with these credentials, or nothing where it does or nobody listens."""
    context = build_client_context(
        b"".join(credentials.bundle[server.trust_domain]), leaf_pem=credentials.leaf_pem, key_pem=credentials.key_pem
    )
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host, port), timeout=_TIMEOUT_S) as raw,
            context.wrap_socket(raw, server_hostname=server.dns_name) as connection,
        ):
            # A server that accepts begins with its HTTP/2 settings.
            return "" if connection.recv(1) else "it closed the connection when it saw this party's certificate"
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        return ""  # closed before TLS had begun: a relay without a server behind it does so
    except ssl.SSLError as error:
        return error.reason or str(error)
    except OSError:
        return ""
