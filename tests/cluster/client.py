"""A small client of the API server for tests: calls, server-side apply, and waiting for what is seen."""

from __future__ import annotations

import functools
import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_S = 60.0
_ANSWER_PATIENCE_S = 20.0
JSON = "application/json"
APPLY = "application/apply-patch+yaml"
_CORE = {"v1": "/api/v1"}
# The plural in a path is the kind in small letters with an s, but for these.
_PLURALS = {"NetworkPolicy": "networkpolicies", "StorageClass": "storageclasses", "PriorityClass": "priorityclasses",
            "Ingress": "ingresses", "RuntimeClass": "runtimeclasses"}  # fmt: skip
_CLUSTER_WIDE = {
    "Namespace", "Node", "PersistentVolume", "StorageClass", "ClusterRole", "ClusterRoleBinding",
    "CustomResourceDefinition", "PriorityClass", "RuntimeClass",
}  # fmt: skip


def wait_until(what: str, look: Callable[[], Any], *, patience_s: float = PATIENCE_S) -> Any:
    """Looks until there is something; returns it."""
    ends_at = time.monotonic() + patience_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < ends_at, f"waited {patience_s:g} s in vain: {what}"
        time.sleep(0.1)


def find_path(manifest: Mapping[str, Any]) -> str:
    """Returns the path of the object that a manifest describes."""
    version, kind, metadata = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
    root = _CORE.get(version, f"/apis/{version}")
    namespace = "" if kind in _CLUSTER_WIDE else f"/namespaces/{metadata.get('namespace', 'default')}"
    return f"{root}{namespace}/{_PLURALS.get(kind, kind.lower() + 's')}/{metadata['name']}"


@dataclass(frozen=True)
class Client:
    """Talks to one API server.

    Attributes:
        port: Its port on loopback.
        authority: The certificate that it is checked against.
        certificate: The user's certificate and key; None where a token is used.
        token: The user's token.
    """

    port: int
    authority: Path
    certificate: tuple[Path, Path] | None = None
    token: str = ""

    def call(self, method: str, path: str, body: object = None, *, content_type: str = JSON) -> tuple[int, Any]:
        """Makes one call; returns status and answer."""
        context = _build_context(self.authority, self.certificate, self.authority.stat().st_mtime_ns)
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=_ANSWER_PATIENCE_S, context=context)
        headers = {"Content-Type": content_type} | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            status, text = answer.status, answer.read()
        finally:
            connection.close()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text.decode()

    def is_up(self) -> bool:
        """Tells whether the API server is ready."""
        try:
            return self.call("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def get(self, path: str) -> Any:
        """Returns what lies at a path, whatever the status."""
        return self.call("GET", path)[1]

    def find(self, path: str) -> dict[str, Any] | None:
        """Returns the object at a path, None where there is none."""
        status, answer = self.call("GET", path)
        assert status in {200, 404}, answer
        return answer if status == 200 else None

    def list(self, path: str) -> list[dict[str, Any]]:
        """Returns the objects of a list."""
        status, answer = self.call("GET", path)
        assert status == 200, answer
        return list(answer["items"])

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Creates an object."""
        status, answer = self.call("POST", path, body)
        assert status == 201, answer
        return dict(answer)

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """Applies objects at the server."""
        for manifest in manifests:
            path = f"{find_path(manifest)}?fieldManager=test-cluster&force=true"
            status, answer = self.call("PATCH", path, manifest, content_type=APPLY)
            assert status in {200, 201}, (find_path(manifest), answer)

    def delete(self, path: str) -> None:
        """Deletes what is there."""
        status, answer = self.call("DELETE", path)
        assert status in {200, 202, 404}, answer

    def patch(self, path: str, body: object, *, content_type: str = "application/merge-patch+json") -> dict[str, Any]:
        """Changes an object."""
        status, answer = self.call("PATCH", path, body, content_type=content_type)
        assert status == 200, answer
        return dict(answer)


@functools.lru_cache(maxsize=8)
def _build_context(authority: Path, certificate: tuple[Path, Path] | None, _written_ns: int) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority))
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return context


def find_condition(obj: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Returns an object's condition, empty where it has none of that type."""
    conditions: Iterable[Mapping[str, Any]] = obj.get("status", {}).get("conditions") or []
    return next((dict(each) for each in conditions if each["type"] == kind), {})
