"""The Linux namespaces that one cluster lives in. One process holds them; its end is the end of all that is in them.

The kernel then stops every process, drops the mounts and the interfaces. What is left to remove are the cgroups and
the files. Needs root.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.addresses import Addresses
from cluster.commands import run_command
from cluster.refusal import ClusterRefused

CGROUPS = Path("/sys/fs/cgroup")
# Nothing of the caller's environment may decide what a cluster does.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "GOMAXPROCS": "2"}
# The kubelet writes these, and they are the whole machine's: it must find what it wants there and write nothing.
_KUBELET_WANTS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}
_PATIENCE_S = 20.0


@dataclass(frozen=True)
class Holder:
    """The first process of a cluster; with its start time, since a number alone is given out again."""

    pid: int
    started: str

    def lives(self) -> bool:
        """Tells whether it is still that process."""
        return read_start_time(self.pid) == self.started

    def enter(self, *command: str) -> list[str]:
        """Returns the command that runs another one inside."""
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "-p", "-u", "-i", "--", *command]

    def start(self, log: Path, *command: str) -> subprocess.Popen[bytes]:
        """Starts a process inside; it goes on when the caller ends."""
        with log.open("ab") as output:
            return subprocess.Popen(
                self.enter(*command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=ENVIRONMENT,
                start_new_session=True,
            )

    def run(self, *command: str, text: str = "") -> str:
        """Runs a command inside and returns what it printed.

        Raises:
            ClusterRefused: It failed; the message has what it said.
        """
        return run_command(command, inside=self.enter(), text=text, environment=ENVIRONMENT)

    def end(self) -> None:
        """Ends it, and with it everything inside; returns when it is gone."""
        if self.lives():
            os.kill(self.pid, signal.SIGKILL)
        ends_at = time.monotonic() + _PATIENCE_S
        while self.lives():
            if time.monotonic() > ends_at:
                raise ClusterRefused(f"process {self.pid} does not end. To do: look at what it waits for in /proc")
            time.sleep(0.02)


def read_start_time(pid: int) -> str:
    """Reads when a process started, in clock ticks since the machine did; empty where there is none or it is dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def start_holder(pause: Path, log: Path) -> Holder:
    """Makes the namespaces and returns who holds them."""
    kinds = ("--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--mount-proc", "--propagation", "slave")
    with log.open("wb") as output:
        unshare = subprocess.Popen(
            ["unshare", *kinds, str(pause)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=ENVIRONMENT,
            start_new_session=True,
        )
    children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
    ends_at = time.monotonic() + _PATIENCE_S
    while True:
        if unshare.poll() is not None:
            raise ClusterRefused(f"unshare ended with {unshare.returncode}: {log.read_text().strip()}")
        with contextlib.suppress(OSError, IndexError):
            pid = int(children.read_text().split()[0])
            # The child is ready when it has become the pause program: its own mounts are made by then.
            if Path(f"/proc/{pid}/exe").readlink() == pause:
                return Holder(pid, read_start_time(pid))
        if time.monotonic() > ends_at:
            raise ClusterRefused(f"unshare made no process within {_PATIENCE_S:g} s: {log.read_text().strip()}")
        time.sleep(0.01)


def furnish(holder: Holder, name: str, addresses: Addresses, mounts: Mapping[str, Path]) -> None:
    """Gives the namespaces their mounts, their name and their addresses.

    There is no way out: no default route, and no interface that leads to the machine. A Service's address has a route
    of its own, so that the node's own connections reach the rules that translate it.

    Args:
        holder: Who holds them.
        name: The node's name.
        addresses: The cluster's.
        mounts: By the place that a component keeps things in, the folder that is shown there.
    """
    lines = [
        "mount --make-rshared /",
        f"hostname {name}",
        "mount -t tmpfs -o mode=755 run /run",
        "mkdir -p /run/lock /run/cni && : >/run/resolv.conf",
        *(f"mkdir -p {place} && mount --bind {folder} {place}" for place, folder in mounts.items()),
        *(
            f"echo {value} >/run/{Path(key).name} && mount --bind /run/{Path(key).name} /proc/sys/{key}"
            for key, value in _KUBELET_WANTS.items()
        ),
        "ip link set lo up",
        "ip link add node0 type veth peer name node1",
        f"ip addr add {addresses.node}/32 dev node0",
        "ip link set node0 up",
        "ip link set node1 up",
        f"ip route add {addresses.services} dev node0 src {addresses.node}",
        "sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1 net.ipv6.conf.all.disable_ipv6=1",
    ]
    holder.run("bash", "-euc", "\n".join(lines))


def list_controllers(root: Path = CGROUPS) -> list[Path]:
    """Lists the folders in which a cgroup must exist before a kubelet may use it.

    Raises:
        ClusterRefused: This machine has cgroup v2 alone.
    """
    if (root / "cgroup.controllers").exists():
        raise ClusterRefused(
            f"{root} is cgroup v2: the test node knows v1 alone. To do: `make cluster-up CLUSTER=kind`, with Docker"
        )
    return [folder for folder in sorted(root.iterdir()) if folder.is_dir() and not folder.is_symlink()]


def make_cgroups(name: str, root: Path = CGROUPS) -> None:
    """Makes a cluster's cgroups; a cpuset without processors would take no process."""
    for controller in list_controllers(root):
        if controller.name == "unified":
            continue  # runc makes that one by itself
        own = controller / name
        own.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (controller / file).exists():
                (own / file).write_text((controller / file).read_text())


def remove_cgroups(name: str, root: Path = CGROUPS) -> None:
    """Removes a cluster's cgroups, the innermost first.

    The kernel lets go of one a moment after its last process is gone.

    Raises:
        ClusterRefused: Something is still in one.
    """
    ends_at = time.monotonic() + _PATIENCE_S
    for own in [folder / name for folder in sorted(root.iterdir()) if (folder / name).is_dir()]:
        for folder in [*sorted((path for path in own.rglob("*") if path.is_dir()), reverse=True), own]:
            while True:
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError as error:
                    if time.monotonic() > ends_at:
                        raise ClusterRefused(f"{folder}: {error}. To do: see its cgroup.procs") from error
                    time.sleep(0.05)
