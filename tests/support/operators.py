"""Operator processes before a real API server."""

from __future__ import annotations

import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.light import ApiServer

OPERATORS = ("operator-a", "operator-b")


def take_free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def list_writes(server: ApiServer, *, of: Iterable[str] = OPERATORS) -> list[dict[str, Any]]:
    """Returns what users wrote, in order, from the audit log; Leases aside."""
    users = set(of)
    return [
        row
        for row in server.read_audit()
        if row["verb"] in {"create", "update", "patch", "delete"}
        and row["user"]["username"] in users
        and row["objectRef"]["resource"] != "leases"
    ]


@dataclass
class OperatorProcess:
    """One operator process."""

    process: subprocess.Popen[bytes]
    log: Path
    probe_port: int
    metrics_port: int
    intake_port: int

    def fetch(self, port: int, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return self.fetch(self.probe_port, "/readyz")[0] == 200

    def is_leading(self) -> bool:
        return "splittraining_leading 1.0" in self.fetch(self.metrics_port, "/metrics")[1]

    def stop(self) -> int:
        """Asks it to stop; returns its exit code."""
        self.process.terminate()
        return self.process.wait(30)

    def kill(self) -> None:
        """Ends it and whatever it forked, at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def freeze(self) -> None:
        os.killpg(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.killpg(self.process.pid, signal.SIGCONT)


def start_operator(
    server: ApiServer, user: str, *, namespace: str, watch: str, script: str = "run_operator", **variables: str
) -> OperatorProcess:
    """Starts an operator process with short Lease times."""
    ports = [take_free_port() for _ in range(3)]
    log = server.folder / f"{user}-{secrets.token_hex(3)}.log"
    own = {"KUBECONFIG": str(server.write_kubeconfig(user)), "SPLITTRAINING_INTAKE_PORT": str(ports[0])}
    environment = os.environ | own | variables
    flags = {
        "namespace": namespace,
        "pod-name": user,
        "pod-ip": "10.0.0.9",
        "watch-namespaces": watch,
        "metrics-port": str(ports[1]),
        "probe-port": str(ports[2]),
    }
    arguments = [text for flag, value in flags.items() for text in (f"--{flag}", value)]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name(f"{script}.py")), *arguments],
            stdout=file,
            stderr=file,
            env=environment,
            start_new_session=True,
        )
    return OperatorProcess(process, log, ports[2], ports[1], ports[0])
