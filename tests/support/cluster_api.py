"""A cluster for the commands: objects in a mapping, logs by pod, and a volume whose reader really runs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from splittraining.api.names import OUTPUT_FOLDER
from splittraining.cluster.client import ApiObject
from splittraining.cluster.errors import ApiError, NotFound, build_error
from splittraining.cluster.resources import BY_KIND, CORE_EVENT, POD, Resource
from support.api_objects import NAMESPACE

STDOUT, STDERR = 1, 2


def forbid(verb: str, plural: str, group: str = "") -> ApiError:
    """Makes the API server's answer to somebody without a right."""
    message = (
        f'{plural} is forbidden: User "mary" cannot {verb} resource "{plural}" in API group "{group}" in the '
        f'namespace "{NAMESPACE}"'
    )
    return build_error(f"GET /api/v1/namespaces/{NAMESPACE}/{plural}", 403, {"message": message, "reason": "Forbidden"})


class PretendedCluster:
    """Answers as an API server would, as far as the commands ask."""

    def __init__(self, *objects: ApiObject, volume: Path | None = None) -> None:
        self.objects: dict[str, ApiObject] = {}
        self.refusals: dict[str, ApiError] = {}
        self.logs: dict[str, list[bytes] | ApiError] = {}
        self.made: list[ApiObject] = []
        self.deleted: list[str] = []
        self.pod_status: Mapping[str, Any] = {"containerStatuses": [{"name": "reader", "state": {"running": {}}}]}
        self.volume = volume
        self.change_stream: Callable[[AsyncIterator[tuple[int, bytes]]], AsyncIterator[tuple[int, bytes]]] | None = None
        self.reads = 0
        self.on_read: Callable[[int], None] = lambda _: None
        for item in objects:
            self.add(item)

    def add(self, item: ApiObject) -> None:
        resource = CORE_EVENT if item["kind"] == "Event" else BY_KIND[item["kind"]]
        metadata = item["metadata"]
        self.objects[resource.get_path(metadata["namespace"], metadata["name"])] = item

    def refuse(self, method: str, resource: Resource, error: ApiError) -> None:
        """Lets every call of a method on a kind fail."""
        self.refusals[f"{method} {resource.plural}"] = error

    async def call(
        self, method: str, path: str, *, body: object = None, query: Mapping[str, str] | None = None
    ) -> ApiObject:
        del query
        plural = path.split("/namespaces/")[1].split("/")[1]
        if f"{method} {plural}" in self.refusals:
            raise self.refusals[f"{method} {plural}"]
        if method == "POST":
            assert isinstance(body, dict)
            made = {**json.loads(json.dumps(body)), "status": self.pod_status}
            self.made.append(made)
            self.add(made)
            return made
        if method == "DELETE":
            self.deleted.append(path)
            if self.objects.pop(path, None) is None:
                raise NotFound(f"DELETE {path}", "404")
            return {}
        raise AssertionError(f"nobody expected {method} {path}")

    async def get(self, resource: Resource, namespace: str, name: str) -> ApiObject:
        self.reads += 1
        self.on_read(self.reads)
        if f"GET {resource.plural}" in self.refusals:
            raise self.refusals[f"GET {resource.plural}"]
        path = resource.get_path(namespace, name)
        if path not in self.objects:
            raise NotFound(f"GET {path}", f'404 {resource.plural} "{name}" not found')
        return self.objects[path]

    async def list_all(
        self, resource: Resource, *, namespace: str = "", labels: str = "", fields: str = ""
    ) -> tuple[list[ApiObject], str]:
        if f"LIST {resource.plural}" in self.refusals:
            raise self.refusals[f"LIST {resource.plural}"]
        wanted = [pair.split("=", 1) for pair in labels.split(",") if pair]
        prefix = resource.get_path(namespace) + "/"
        found = []
        for path, item in self.objects.items():
            own = item["metadata"].get("labels") or {}
            about = str((item.get("involvedObject") or {}).get("uid"))
            is_about = not fields or fields == f"involvedObject.uid={about}"
            if path.startswith(prefix) and is_about and all(own.get(name) == value for name, value in wanted):
                found.append(item)
        return found, "1"

    async def stream_log(
        self, namespace: str, pod: str, *, query: Mapping[str, str], container: str
    ) -> AsyncIterator[bytes]:
        assert container == "party"
        pieces = self.logs.get(pod, [])
        if isinstance(pieces, ApiError):
            raise pieces
        if POD.get_path(namespace, pod) not in self.objects:
            raise NotFound(f"GET log of {pod}", "404")
        for piece in pieces:
            await asyncio.sleep(0)
            yield piece if "timestamps" in query else _cut_times(piece)

    @asynccontextmanager
    async def run(
        self, namespace: str, pod: str, command: Sequence[str], *, container: str, silence_s: float
    ) -> AsyncIterator[AsyncIterator[tuple[int, bytes]]]:
        """Runs the command here, with the pod's environment, and the volume's folder in place of the mount."""
        del silence_s
        item = self.objects[POD.get_path(namespace, pod)]
        assert container == item["spec"]["containers"][0]["name"]
        if "GET exec" in self.refusals:
            raise self.refusals["GET exec"]
        words = [str(self.volume) if word == OUTPUT_FOLDER else word for word in command[1:]]
        variables = {entry["name"]: entry["value"] for entry in item["spec"]["containers"][0]["env"]}
        process = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdin=-1, stdout=-1, stderr=-1, env=os.environ | variables
        )
        messages = _iterate_output(process)
        try:
            yield messages if self.change_stream is None else self.change_stream(messages)
        finally:
            process.stdin.close()
            await asyncio.wait_for(process.wait(), 20)


async def _iterate_output(process: asyncio.subprocess.Process) -> AsyncIterator[tuple[int, bytes]]:
    while piece := await process.stdout.read(1000):
        yield STDOUT, piece
    if complaint := await process.stderr.read():
        yield STDERR, complaint


def _cut_times(piece: bytes) -> bytes:
    return b"".join(line.partition(b" ")[2] for line in piece.splitlines(keepends=True))


async def iterate(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item
