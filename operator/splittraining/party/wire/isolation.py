"""Whether network policies hold this party: one try to reach an address that they must forbid."""

from __future__ import annotations

import contextlib
import logging
import socket
from typing import Protocol

from splittraining.api.party_document import Endpoint
from splittraining.api.report import Isolation

PROBE_TIMEOUT_S = 2.0
"""Policies drop packets without a word: a connection that is not there by then is one that they forbid."""

_LOG = logging.getLogger(__name__)


class Connect(Protocol):
    """Opens a TCP connection, as `socket.create_connection` does."""

    def __call__(self, address: tuple[str, int], timeout: float) -> contextlib.AbstractContextManager[object]:
        """Returns the connection.

        Raises:
            OSError: if there is none.
        """


def probe_isolation(endpoint: Endpoint, *, connect: Connect = socket.create_connection) -> Isolation:
    """Tries an address that must be forbidden, once.

    Args:
        endpoint: The address.
        connect: Opens the connection.

    Returns:
        Open where the packet arrived, and so also where the connection was refused; Isolated where it got no answer or
        the network itself said no; Unknown where nothing was learnt, as for a name that does not resolve.
    """
    try:
        with connect((endpoint.host, endpoint.port), PROBE_TIMEOUT_S):
            found, how = Isolation.OPEN, "it accepted"
    except (ConnectionRefusedError, ConnectionResetError) as error:
        found, how = Isolation.OPEN, str(error)
    except socket.gaierror as error:
        found, how = Isolation.UNKNOWN, str(error)
    except OSError as error:
        # Besides the timeout: unreachable or prohibited, which is how policies that answer at all say no.
        found, how = Isolation.ISOLATED, str(error)
    level = logging.INFO if found is Isolation.ISOLATED else logging.WARNING
    _LOG.log(level, "network isolation: %s (tried %s:%d: %s)", found, endpoint.host, endpoint.port, how)
    return found
