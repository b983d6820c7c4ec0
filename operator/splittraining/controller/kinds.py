"""Which kinds are watched, where they stand in the API, and what of their objects is kept."""

from __future__ import annotations

from dataclasses import dataclass

from splittraining.api.names import SELECTOR
from splittraining.api.resource import GROUP, VERSION


@dataclass(frozen=True, slots=True)
class Kind:
    """One watched kind."""

    name: str
    group: str
    version: str
    plural: str
    selector: str = SELECTOR
    """Labels that the API server selects by; without them, every pod of a cluster would be in memory."""
    kept: tuple[str, ...] = ()
    """Sections of an object that are read."""
    kept_of_spec: tuple[str, ...] = ()
    """Fields of `spec` that are read; empty: all."""

    @property
    def api_version(self) -> str:
        """Group and version, as objects name them."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def build_path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Builds the path of a collection or of an object in the API."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        place = f"/namespaces/{namespace}" if namespace else ""
        rest = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{place}/{self.plural}{rest}"


TRAINING = Kind("SplitTraining", GROUP, VERSION, "splittrainings", selector="", kept=("spec", "status"))
PARTICIPATION = Kind("SplitParticipation", GROUP, VERSION, "splitparticipations", kept=("spec",))
JOB = Kind("Job", "batch", "v1", "jobs", kept=("status",))
POD = Kind(
    "Pod",
    "",
    "v1",
    "pods",
    kept=("spec", "status"),
    kept_of_spec=("nodeName", "containers", "serviceAccountName"),
)
CONFIG_MAP = Kind("ConfigMap", "", "v1", "configmaps")
EVENT = Kind("Event", "", "v1", "events")
SECRET = Kind("Secret", "", "v1", "secrets")

WATCHED = (
    TRAINING,
    PARTICIPATION,
    JOB,
    POD,
    Kind("Service", "", "v1", "services"),
    Kind("ServiceAccount", "", "v1", "serviceaccounts"),
    Kind("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims"),
    Kind("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies"),
)
"""ConfigMaps are not: they may be read only where a namespace has let the operator in, and they are large."""

UNWATCHED = (CONFIG_MAP, EVENT, SECRET, Kind("EndpointSlice", "discovery.k8s.io", "v1", "endpointslices"))

KINDS_BY_NAME = {kind.name: kind for kind in WATCHED}
ALL_KINDS = {kind.name: kind for kind in (*WATCHED, *UNWATCHED)}
