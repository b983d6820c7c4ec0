"""Where reports go: one EndpointSlice with the leader's address, behind a Service that selects nothing.

A label on the leading pod would do the same and be racy: a dead leader keeps its label.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from splittraining.controller.settings import Settings


def build_reports_endpoints(settings: Settings) -> dict[str, Any]:
    """Builds the EndpointSlice of the reports Service, with this replica's address alone."""
    version = ipaddress.ip_address(settings.pod_ip).version
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": settings.reports_name,
            "namespace": settings.namespace,
            "labels": {
                "kubernetes.io/service-name": settings.reports_name,
                "endpointslice.kubernetes.io/managed-by": "splittraining",
            },
        },
        "addressType": f"IPv{version}",
        "endpoints": [
            {
                "addresses": [settings.pod_ip],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "namespace": settings.namespace, "name": settings.pod_name},
            }
        ],
        "ports": [{"name": "intake", "port": settings.intake_port, "protocol": "TCP"}],
    }
