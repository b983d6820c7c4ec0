"""A real API server with etcd on loopback, and operator processes before it. Nothing else of a cluster runs.

The binaries come from the folder that SPLITTRAINING_CLUSTER_BINARIES names: `kube` (every Kubernetes component in one)
and `etcd`.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

BINARIES_VARIABLE = "SPLITTRAINING_CLUSTER_BINARIES"
ADMIN = "admin"
OPERATORS = ("operator-a", "operator-b")
APPLY = "application/apply-patch+yaml"
PATIENCE_S = 60.0

_AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


def find_binaries() -> Path | None:
    folder = os.environ.get(BINARIES_VARIABLE, "")
    return Path(folder) if folder and (Path(folder) / "kube").exists() else None


def take_free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def wait_until(what: str, look: Callable[[], Any], *, patience_s: float = PATIENCE_S) -> Any:
    """Looks until there is something; returns it."""
    ends_at = time.monotonic() + patience_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < ends_at, f"waited {patience_s:g} s in vain: {what}"
        time.sleep(0.1)


@dataclass
class ApiServer:
    """One API server."""

    folder: Path
    port: int
    tokens: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def call(
        self, method: str, path: str, body: object = None, *, content_type: str = "application/json", user: str = ADMIN
    ) -> Any:
        """Makes one call; returns status and answer."""
        context = ssl.create_default_context(cafile=str(self.folder / "certs" / "apiserver.crt"))
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=context)
        headers = {"Authorization": f"Bearer {self.tokens[user]}", "Content-Type": content_type}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text.decode()

    def get(self, path: str) -> Any:
        return self.call("GET", path)[1]

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        status, answer = self.call("POST", path, body)
        assert status == 201, answer
        return dict(answer)

    def write_kubeconfig(self, user: str) -> Path:
        path = self.folder / f"kubeconfig-{user}"
        authority = str(self.folder / "certs" / "apiserver.crt")
        server = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": authority}
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
                    "clusters": [{"name": "test", "cluster": server}],
                    "users": [{"name": user, "user": {"token": self.tokens[user]}}],
                }
            )
        )
        return path

    def list_calls(self) -> list[dict[str, Any]]:
        """Returns all calls that were answered, in order, from the audit log."""
        lines = (self.folder / "audit.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def list_writes(self, *, of: str = "", beside_leases: bool = True) -> list[dict[str, Any]]:
        """Returns what operators wrote, in order."""
        return [
            row
            for row in self.list_calls()
            if row["verb"] in {"create", "update", "patch", "delete"}
            and (row["user"]["username"] == of if of else row["user"]["username"] in OPERATORS)
            and not (beside_leases and row["objectRef"]["resource"] == "leases")
        ]


@contextmanager
def running_api_server(folder: Path, binaries: Path) -> Iterator[ApiServer]:
    """Starts etcd and an API server; both are gone afterwards."""
    tokens = {user: secrets.token_hex(8) for user in (ADMIN, *OPERATORS)}
    server = ApiServer(folder, take_free_port(), tokens)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "sa.key").write_bytes(pem)
    (folder / "tokens.csv").write_text(
        "".join(f"{token},{user},{user},system:masters\n" for user, token in tokens.items())
    )
    (folder / "audit.yaml").write_text(json.dumps(_AUDIT))
    client, peer = (f"http://127.0.0.1:{take_free_port()}" for _ in range(2))
    etcd = [str(binaries / "etcd"), "-folder", str(folder / "etcd"), "-client", client, "-peer", peer]
    api = [
        str(binaries / "kube"),
        "kube-apiserver",
        f"--etcd-servers={client}",
        f"--secure-port={server.port}",
        "--bind-address=127.0.0.1",
        f"--cert-dir={folder / 'certs'}",
        f"--service-account-key-file={folder / 'sa.key'}",
        f"--service-account-signing-key-file={folder / 'sa.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--disable-admission-plugins=ServiceAccount",
        "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
        f"--audit-log-path={folder / 'audit.log'}",
        f"--audit-policy-file={folder / 'audit.yaml'}",
    ]
    try:
        for name, command in (("etcd", etcd), ("api", api)):
            log = (folder / f"{name}.log").open("wb")
            server.processes.append(subprocess.Popen(command, stdout=log, stderr=log))
            log.close()
        wait_until("an API server", lambda: _is_up(server))
        yield server
    finally:
        for process in reversed(server.processes):
            process.kill()  # an API server that is asked to stop waits for its watchers, and nothing here is kept
        for process in server.processes:
            process.wait(30)


def _is_up(server: ApiServer) -> bool:
    try:
        return bool(server.call("GET", "/readyz")[0] == 200)
    except OSError:
        return False


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
