"""The light form: an API server with its store and the controllers that clean up, on loopback, in seconds.

No node, no scheduler, no kubelet: pods stay as they were written. Needs no root.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cluster.binaries import find_builder
from cluster.certificates import render_kubeconfig, write_service_account_key
from cluster.client import JSON, Client, wait_until

ADMIN = "admin"
# What makes deletion mean something. The others would only write about pods that nobody runs.
_CONTROLLERS = ("garbage-collector-controller", "namespace-controller")
_AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "users": ["system:apiserver", "system:kube-controller-manager"]},
        {"level": "Metadata"},
    ],
}
_CONTROLLER_MANAGER = "system:kube-controller-manager"
_MASTERS = "system:masters"


@dataclass
class ApiServer:
    """One API server.

    Attributes:
        folder: Everything of it.
        port: Its port on loopback.
        tokens: By user, what they show.
        commands: What starts each component, by its name.
        processes: What holds each component, by its name.
        pids: The component's own process, by its name.
    """

    folder: Path
    port: int
    tokens: dict[str, str]
    commands: dict[str, list[str]] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Makes the client of an administrator."""
        self.client = Client(self.port, self.folder / "certs" / "apiserver.crt", token=self.tokens[ADMIN])
        self.get, self.create = self.client.get, self.client.create

    def call(
        self, method: str, path: str, body: object = None, *, content_type: str = JSON, user: str = ADMIN
    ) -> tuple[int, Any]:
        """Makes one call as a user; returns status and answer."""
        client = replace(self.client, token=self.tokens[user])
        return client.call(method, path, body, content_type=content_type)

    def write_kubeconfig(self, user: str) -> Path:
        """Writes how a user reaches it."""
        return self.write_kubeconfig_of(user, self.tokens[user])

    def write_kubeconfig_of(self, user: str, token: str) -> Path:
        """Writes how somebody with a token of their own reaches it."""
        path = self.folder / f"kubeconfig-{user}"
        authority = str(self.folder / "certs" / "apiserver.crt")
        server = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": authority}
        path.write_text(render_kubeconfig(user, server, {"token": token}))
        return path

    def restart(self) -> None:
        """Kills it, with every connection of its clients, and starts it again; what it stored is there."""
        holder = self.processes["api-server"]
        holder.kill()
        holder.communicate(timeout=30)
        self.start("api-server")
        wait_until("an API server again", lambda: _check_alive(self) and self.client.is_up())

    def start(self, name: str) -> None:
        """Starts a component."""
        with (self.folder / f"{name}.log").open("ab") as log:
            # Its input is a pipe that ends with this process: so does what it starts, even if this one is killed.
            process = subprocess.Popen(
                self.commands[name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0
            )
        self.processes[name] = process
        assert process.stdout is not None
        self.pids[name] = int(process.stdout.readline())

    def freeze(self) -> None:
        """Lets it answer nothing, with every connection open: as behind a network that swallows all."""
        os.kill(self.pids["api-server"], signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        os.kill(self.pids["api-server"], signal.SIGCONT)

    def list_calls(self) -> list[dict[str, Any]]:
        """Returns all calls that were answered, in order, from the audit log."""
        lines = (self.folder / "audit.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]


@contextmanager
def running_api_server(folder: Path, users: Sequence[str] = ()) -> Iterator[ApiServer]:
    """Starts etcd, an API server and the controllers that clean up; all are gone afterwards, however this one ends.

    Args:
        folder: An empty folder.
        users: Users beside the administrator, each with all rights.
    """
    builder = find_builder()
    binaries = {name: builder.build(name) for name in ("etcd", "kube", "tether")}
    tokens = {user: secrets.token_hex(16) for user in (ADMIN, *users)}
    with ExitStack() as stack:
        api_port, client_port, peer_port = (stack.enter_context(_held_port()) for _ in range(3))
        server = ApiServer(folder, api_port, tokens)
        rows = [f"{token},{user},{user},{_MASTERS}\n" for user, token in tokens.items()]
        manager_token = secrets.token_hex(16)
        rows.append(f"{manager_token},{_CONTROLLER_MANAGER},{_CONTROLLER_MANAGER},{_MASTERS}\n")
        (folder / "tokens.csv").write_text("".join(rows))
        (folder / "audit.json").write_text(json.dumps(_AUDIT))
        write_service_account_key(folder)
        store = f"http://127.0.0.1:{client_port}"
        tether, kube = str(binaries["tether"]), str(binaries["kube"])
        server.commands["etcd"] = [
            tether, str(binaries["etcd"]), "-folder", str(folder / "etcd"),
            "-client", store, "-peer", f"http://127.0.0.1:{peer_port}",
        ]  # fmt: skip
        server.commands["api-server"] = [tether, kube, *_list_api_server(folder, api_port, store)]
        try:
            server.start("etcd")
            server.start("api-server")
            wait_until("an API server", lambda: _check_alive(server) and server.client.is_up())
            kubeconfig = server.write_kubeconfig_of("controller-manager", manager_token)
            server.commands["controller-manager"] = [
                tether, kube, "kube-controller-manager", f"--kubeconfig={kubeconfig}",
                f"--controllers={','.join(_CONTROLLERS)}", "--leader-elect=false", "--secure-port=0",
                "--kube-api-qps=300", "--kube-api-burst=600",
            ]  # fmt: skip
            server.start("controller-manager")
            yield server
        finally:
            for process in reversed(server.processes.values()):
                process.kill()  # an API server that is asked to stop waits for its watchers, and nothing here is kept
                process.communicate(timeout=30)


def _list_api_server(folder: Path, port: int, store: str) -> list[str]:
    return [
        "kube-apiserver",
        f"--etcd-servers={store}",
        f"--secure-port={port}",
        "--permit-port-sharing=true",  # the port is held for it
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
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
        f"--audit-policy-file={folder / 'audit.json'}",
    ]


def _check_alive(server: ApiServer) -> bool:
    for name, process in server.processes.items():
        text = (server.folder / f"{name}.log").read_text(errors="replace")
        assert process.poll() is None, f"{name} ended with {process.returncode}: {text[-2000:]}"
    return True


@contextmanager
def _held_port() -> Iterator[int]:
    """Holds a port for a process that shares it: nobody else is given it meanwhile."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
