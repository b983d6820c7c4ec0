"""What each component of a node is told: its configuration file and its command line. Pure: paths in, text out.

Every component keeps its usual ports and places, since each cluster has namespaces of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.addresses import Addresses

DOMAIN = "cluster.local"
ISSUER = f"https://kubernetes.default.svc.{DOMAIN}"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
PAUSE_IMAGE = "localhost/pause:1"
API_PORT = 6443

# In a namespace without these devices they only complain.
_NO_PLUGINS = (
    "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt",
    "io.containerd.tracing.processor.v1.otlp",
)  # fmt: skip


@dataclass(frozen=True)
class NodePlan:
    """Where everything of one node is."""

    name: str
    addresses: Addresses
    folder: Path
    """The cluster's own; every other path is below it."""

    @property
    def cgroup(self) -> str:
        """Name of the cgroup that holds its pods."""
        return f"splittraining-{self.name}"

    @property
    def certificates(self) -> Path:
        """Keys and certificates."""
        return self.folder / "certificates"

    @property
    def configs(self) -> Path:
        """Configuration files and the components' kubeconfigs."""
        return self.folder / "configs"

    @property
    def logs(self) -> Path:
        """What the components print."""
        return self.folder / "logs"

    @property
    def api_url(self) -> str:
        """Where the components find the API server."""
        return f"https://{self.addresses.node}:{API_PORT}"

    @property
    def mounts(self) -> dict[str, Path]:
        """By the place that a component keeps things in, the folder that is shown there."""
        return {
            "/var/lib/kubelet": self.folder / "kubelet",
            "/var/lib/containerd": self.folder / "containerd",
            "/etc/cni/net.d": self.configs / "cni",
            "/var/log/pods": self.folder / "pods",
            "/var/log/containers": self.folder / "containers",
        }


def render_configs(plan: NodePlan) -> dict[str, str]:
    """Renders the configuration files, by their path below ``configs``."""
    documents = {
        "cni/10-pods.conflist": _build_network(plan),
        "kubelet.json": _build_kubelet(plan),
        "proxy.json": _build_proxy(plan),
        "scheduler.json": {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "clientConnection": {"kubeconfig": str(plan.configs / "scheduler.kubeconfig")},
            "leaderElection": {"leaderElect": False},
        },
    }
    return {name: json.dumps(document, indent=2) for name, document in documents.items()} | {
        "containerd.toml": _render_containerd()
    }


def list_api_server(plan: NodePlan) -> list[str]:
    """Lists the API server's arguments."""
    keys = plan.certificates
    return [
        "kube-apiserver",
        "--etcd-servers=http://127.0.0.1:2379",
        "--bind-address=0.0.0.0",
        f"--advertise-address={plan.addresses.node}",
        f"--secure-port={API_PORT}",
        f"--tls-cert-file={keys}/api-server.crt",
        f"--tls-private-key-file={keys}/api-server.key",
        f"--client-ca-file={keys}/ca.crt",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
        f"--service-cluster-ip-range={plan.addresses.services}",
        "--allow-privileged=true",
        "--profiling=false",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={keys}/sa.pub",
        f"--service-account-signing-key-file={keys}/sa.key",
        f"--kubelet-client-certificate={keys}/api-server-to-kubelet.crt",
        f"--kubelet-client-key={keys}/api-server-to-kubelet.key",
        f"--kubelet-certificate-authority={keys}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        f"--audit-log-path={plan.logs}/audit.log",
        f"--audit-policy-file={plan.configs}/audit.json",
    ]


def list_controller_manager(plan: NodePlan) -> list[str]:
    """Lists the controller manager's arguments; at its default rate it holds itself back for seconds at the start."""
    keys, kubeconfig = plan.certificates, plan.configs / "controller-manager.kubeconfig"
    return [
        "kube-controller-manager",
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--service-account-private-key-file={keys}/sa.key",
        f"--root-ca-file={keys}/ca.crt",
        f"--cluster-signing-cert-file={keys}/ca.crt",
        f"--cluster-signing-key-file={keys}/ca.key",
        "--use-service-account-credentials",
        "--kube-api-qps=300",
        "--kube-api-burst=600",
        "--leader-elect=false",
        f"--service-cluster-ip-range={plan.addresses.services}",
        "--profiling=false",
    ]


def list_scheduler(plan: NodePlan) -> list[str]:
    """Lists the scheduler's arguments."""
    kubeconfig = plan.configs / "scheduler.kubeconfig"
    return [
        "kube-scheduler",
        f"--config={plan.configs}/scheduler.json",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
    ]


def list_kubelet(plan: NodePlan) -> list[str]:
    """Lists the kubelet's arguments."""
    return [
        "kubelet",
        f"--config={plan.configs}/kubelet.json",
        f"--kubeconfig={plan.configs}/kubelet.kubeconfig",
        f"--hostname-override={plan.name}",
        f"--node-ip={plan.addresses.node}",
    ]


def list_proxy(plan: NodePlan) -> list[str]:
    """Lists kube-proxy's arguments."""
    return ["kube-proxy", f"--config={plan.configs}/proxy.json"]


def _build_kubelet(plan: NodePlan) -> dict[str, Any]:
    keys = plan.certificates
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{plan.cgroup}",
        "failSwapOn": False,
        "clusterDomain": DOMAIN,
        "clusterDNS": [plan.addresses.dns],
        "resolvConf": "/run/resolv.conf",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{keys}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        # Signed by the cluster's authority, so that the API server checks whom it asks for logs.
        "tlsCertFile": f"{keys}/kubelet-serving.crt",
        "tlsPrivateKeyFile": f"{keys}/kubelet-serving.key",
        # The machine's disk is not this node's: it must not evict pods because somebody else's files fill it.
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        # Images come from archives and cannot be pulled again.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "maxPods": 100,
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "10s",
        "systemReserved": {"cpu": "100m", "memory": "1Gi"},
    }


def _build_proxy(plan: NodePlan) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(plan.configs / "proxy.kubeconfig")},
        "hostnameOverride": plan.name,
        "clusterCIDR": plan.addresses.pods,
        # Zero leaves the kernel's values, which are the whole machine's.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"minSyncPeriod": "0s"},
    }


def _build_network(plan: NodePlan) -> dict[str, Any]:
    addresses = {
        "type": "host-local",
        "dataDir": "/run/cni",
        "ranges": [[{"subnet": plan.addresses.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipMasq": False,
        "ipam": addresses,
    }
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}


def _render_containerd() -> str:
    return f"""\
version = 2
disabled_plugins = {json.dumps(_NO_PLUGINS)}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  disable_apparmor = true
  # Without the right to raise limits a container would not start at all: root in a virtual machine may lack it.
  restrict_oom_score_adj = true
  # The DNS server listens on port 53 as a user without rights.
  enable_unprivileged_ports = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
"""
