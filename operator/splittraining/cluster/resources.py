"""Where kinds stand in the API."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of namespaced objects, as the API serves it."""

    kind: str
    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        """Group and version, as manifests have them."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def get_path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Returns the path of an object, of all objects of a namespace, or of all objects there are."""
        parts = ["apis" if self.group else "api", self.api_version]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/" + "/".join(parts)


SPLIT_TRAINING = Resource("SplitTraining", "splitlearning.dev", "v1alpha1", "splittrainings")
SPLIT_PARTICIPATION = Resource("SplitParticipation", "splitlearning.dev", "v1alpha1", "splitparticipations")
JOB = Resource("Job", "batch", "v1", "jobs")
POD = Resource("Pod", "", "v1", "pods")
SERVICE = Resource("Service", "", "v1", "services")
SERVICE_ACCOUNT = Resource("ServiceAccount", "", "v1", "serviceaccounts")
CONFIG_MAP = Resource("ConfigMap", "", "v1", "configmaps")
SECRET = Resource("Secret", "", "v1", "secrets")
VOLUME_CLAIM = Resource("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims")
NETWORK_POLICY = Resource("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies")
LEASE = Resource("Lease", "coordination.k8s.io", "v1", "leases")
ENDPOINT_SLICE = Resource("EndpointSlice", "discovery.k8s.io", "v1", "endpointslices")
EVENT = Resource("Event", "events.k8s.io", "v1", "events")
CORE_EVENT = Resource("Event", "", "v1", "events")
"""The same events under their old name, which can still be selected by the object that they are about."""

BY_KIND = {
    resource.kind: resource
    for resource in (
        SPLIT_TRAINING,
        SPLIT_PARTICIPATION,
        JOB,
        POD,
        SERVICE,
        SERVICE_ACCOUNT,
        CONFIG_MAP,
        SECRET,
        VOLUME_CLAIM,
        NETWORK_POLICY,
        LEASE,
        ENDPOINT_SLICE,
        EVENT,
    )
}
