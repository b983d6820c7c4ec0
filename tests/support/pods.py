"""Runs parties as a pod would: process 1, nobody's user, no home, a root file system that nobody can write.

Mount and process namespaces of the kernel stand for the container; the network stays this machine's loopback.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from splittraining.local.child import Order
from splittraining.local.launcher import Launcher
from splittraining.plan.environment import build_environment

USER = 65532
"""In no passwd file, as in an image that names none."""

SERVER_HOST = "case-server.default.svc"
SERVER_ADDRESS = "127.0.0.2"
_BECOME_NOBODY = (
    *("setpriv", "--pdeathsig", "KILL", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", "--no-new-privs"),
    # An interpreter may lie in a home that is closed to others: the one right that is left is to read.
    *(
        "--bounding-set=-all,+dac_read_search",
        "--inh-caps=-all,+dac_read_search",
        "--ambient-caps=-all,+dac_read_search",
    ),
)
_UNSHARE = (
    *("setpriv", "--pdeathsig", "KILL"),  # whoever is killed while a pod of its own runs leaves none behind
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
)

ROOT = Path("/mnt")
"""Where the pod's own files lie, in a file system of its own."""

CHECKOUT = Path(__file__).resolve().parents[2]

_SCRIPT = """
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/output /mnt/volume
cp -rL "$1/party" "$1/source" "$1/data" "$1/hosts" /mnt/
chmod -R go+rX /mnt
mount --bind "$1/output" /mnt/output
touch /mnt/termination-log
mount --bind "$1/termination-log" /mnt/termination-log
mount --bind /mnt/hosts /etc/hosts
# A checkout below /tmp would vanish under the pod's own /tmp: it is put back, where nobody can write it.
case "$2" in /tmp/*) mkdir /mnt/checkout; mount --bind "$2" /mnt/checkout ;; esac
mount --bind "$1/tmp" /tmp
case "$2" in /tmp/*) mkdir -p "$2"; mount --move /mnt/checkout "$2"; mount -o remount,bind,ro "$2" ;; esac
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -o remount,ro /mnt
mount -o remount,bind,ro /
cd /
"""


def can_run_pods() -> bool:
    """Tells whether this process may make such namespaces."""
    try:
        return subprocess.run([*_UNSHARE, *_BECOME_NOBODY, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def start_pod(folder: Path, document: Mapping[str, Any], **changes: object) -> subprocess.Popen[str]:
    """Starts a party in a pod of its own.

    Args:
        folder: New folder; holds `output`, `tmp` and `termination-log` of the pod, also after its end.
        document: The party document of a run on this machine; its paths are replaced by the pod's.
        changes: Further fields of the document.

    Returns:
        The process that waits for the pod; it ends with the party's exit code.
    """
    document = dict(document)
    for name, field in (("source", "sourcePath"), ("data", "dataPath")):
        (folder / name).mkdir(parents=True)
        if document.get(field):
            shutil.copytree(document[field], folder / name, dirs_exist_ok=True)
            document[field] = str(ROOT / name)
    for name in ("party", "output", "tmp"):
        (folder / name).mkdir()
        os.chown(folder / name, USER, USER)
    (folder / "termination-log").touch()
    (folder / "termination-log").chmod(0o666)
    # The name by which it is dialed is not one that the server can listen on.
    name = "" if document["role"] == "Server" else f"{SERVER_ADDRESS} {SERVER_HOST}\n"
    (folder / "hosts").write_text("127.0.0.1 localhost\n" + name)
    intake = dict(document["intake"])
    for field in ("bundlePath", "tokenPath"):
        shutil.copy(intake[field], folder / "party" / field)
        intake[field] = str(ROOT / "party" / field)
    document |= {
        "intake": intake,
        "outputPath": str(ROOT / "output"),
        "terminationPath": str(ROOT / "termination-log"),
        "server": {"host": SERVER_HOST, "port": document["server"]["port"]},
        "listenHost": SERVER_ADDRESS,
    } | changes
    (folder / "party" / "party.json").write_text(json.dumps(document))
    environment = {"PATH": "/usr/bin:/bin", **build_environment(intra_op_threads=1)}
    party = (
        *("exec", *_BECOME_NOBODY, "env", "-i", *(f"{name}={value}" for name, value in environment.items())),
        *(sys.executable, "-m", "splittraining.party.entry", "run", str(ROOT / "party" / "party.json")),
    )
    script = _SCRIPT + shlex.join(party)
    command = [*_UNSHARE, "sh", "-c", script, "pod", str(folder), str(CHECKOUT)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


class PodLauncher(Launcher):
    """Starts every party of a run in a pod; what the pods leave is under `folder/<party>/`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(preload=())
        self._folder = folder

    def start(self, name: str, order: Order) -> ForkServerProcess:
        arguments = (*order.arguments, str(self._folder / name))
        return super().start(name, replace(order, target="support.pods:run_in_pod", arguments=arguments))


def run_in_pod(document_path: str, folder: str, *, debug: bool) -> int:
    """Runs a party that a local run has started, and puts what it leaves where the local run looks for it."""
    assert not debug
    document = json.loads(Path(document_path).read_text())
    with start_pod(Path(folder), document) as pod:
        _, errors = pod.communicate()
    sys.stderr.write(errors)
    shutil.copytree(Path(folder) / "output", document["outputPath"], dirs_exist_ok=True)
    return pod.returncode
