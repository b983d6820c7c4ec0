"""What one try to reach a forbidden address says about network policies."""

from __future__ import annotations

import contextlib
import errno
import socket

import pytest

from splittraining.api.party_document import Endpoint
from splittraining.api.report import Isolation
from splittraining.party.wire.isolation import PROBE_TIMEOUT_S, probe_isolation

FORBIDDEN = Endpoint(host="10.96.0.1", port=443)


def connecting(error: OSError | None):
    """Stands for `socket.create_connection`, and remembers what it was asked."""
    asked = []

    def connect(address, timeout):
        asked.append((address, timeout))
        if error is not None:
            raise error
        return contextlib.nullcontext()

    connect.asked = asked
    return connect


@pytest.mark.parametrize(
    ("error", "found"),
    [
        pytest.param(None, Isolation.OPEN, id="an answer"),
        pytest.param(ConnectionRefusedError(errno.ECONNREFUSED, "refused"), Isolation.OPEN, id="a refusal"),
        pytest.param(ConnectionResetError(errno.ECONNRESET, "reset"), Isolation.OPEN, id="a reset"),
        pytest.param(TimeoutError("timed out"), Isolation.ISOLATED, id="silence"),
        pytest.param(OSError(errno.EHOSTUNREACH, "no route to host"), Isolation.ISOLATED, id="prohibited"),
        pytest.param(PermissionError(errno.EPERM, "not permitted"), Isolation.ISOLATED, id="not let out"),
        pytest.param(socket.gaierror(socket.EAI_AGAIN, "no such name"), Isolation.UNKNOWN, id="no such name"),
    ],
)
def test_what_comes_back_tells_whether_the_network_is_open(error: OSError | None, found: Isolation) -> None:
    connect = connecting(error)
    assert probe_isolation(FORBIDDEN, connect=connect) is found
    assert connect.asked == [(("10.96.0.1", 443), PROBE_TIMEOUT_S)]


def test_a_real_listener_and_a_port_without_one_are_both_within_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = Endpoint(host="127.0.0.1", port=listener.getsockname()[1])
        assert probe_isolation(endpoint) is Isolation.OPEN
    assert probe_isolation(endpoint) is Isolation.OPEN
