"""Raw calls: JSON in, JSON out, each within a time, errors by name. Where to, and with which TLS, kubernetes knows."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config
from kubernetes.aio.config.config_exception import ConfigException

from splittraining.cluster.errors import Gone, Unreachable, build_error
from splittraining.cluster.resources import Resource

ApiObject = dict[str, Any]

TIMEOUT_S = 15.0
"""For one call. The package's own default is five minutes."""

PAGE_SIZE = 100
JSON = "application/json"
APPLY = "application/apply-patch+yaml"  # JSON is YAML
JWKS = "application/jwk-set+json"  # the API server offers its keys in no other form


class NoCluster(Exception):
    """There is no configuration that says where a cluster is."""


class Client:
    """Calls one cluster.

    Args:
        api: Connection, credentials and TLS.
        timeout_s: Longest time of one call.
        namespace: The namespace that the configuration names; empty where it names none.
    """

    def __init__(self, api: ApiClient, *, timeout_s: float = TIMEOUT_S, namespace: str = "") -> None:
        self._api = api
        self._timeout_s = timeout_s
        self.namespace = namespace

    @property
    def api(self) -> ApiClient:
        """Connection, credentials and TLS, for `streams`."""
        return self._api

    async def close(self) -> None:
        """Closes all connections."""
        await self._api.close()

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        timeout_s: float | None = None,
    ) -> ApiObject:
        """Makes one call and returns the answer.

        Raises:
            ApiError: whatever kept it from doing what it should.
        """
        asked = f"{method} {path}"
        request = await self._api.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            body=body,
            auth_settings=["BearerToken"],
            header_params={"Content-Type": content_type, "Accept": accept},
        )
        limit_s = timeout_s or self._timeout_s
        try:
            async with asyncio.timeout(limit_s):
                response = await self._api.call_api(*request, _request_timeout=limit_s)
                text = await response.read()
        except TimeoutError as error:
            raise Unreachable(asked, f"no answer within {limit_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(asked, f"{type(error).__name__}: {error}") from error
        answer = parse_answer(text)
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise build_error(asked, response.status, answer, retry_after_s=_parse_retry_after(response.headers))
        return answer

    async def get(self, resource: Resource, namespace: str, name: str) -> ApiObject:
        """Returns an object.

        Raises:
            ApiError: NotFound, if it is not there.
        """
        return await self.call("GET", resource.get_path(namespace, name))

    async def list_all(
        self, resource: Resource, *, namespace: str = "", labels: str = "", fields: str = ""
    ) -> tuple[list[ApiObject], str]:
        """Lists objects in pages; returns them with the resourceVersion of the list.

        Items of a list come without kind and apiVersion: they are filled in.

        Raises:
            ApiError: Gone, if the list changed faster than its pages could be read, twice in a row.
        """
        try:
            return await self._list_once(resource, namespace, labels, fields)
        except Gone:
            return await self._list_once(resource, namespace, labels, fields)

    async def _list_once(
        self, resource: Resource, namespace: str, labels: str, fields: str
    ) -> tuple[list[ApiObject], str]:
        found: list[ApiObject] = []
        version = ""
        async for page in self._iterate_pages(resource, namespace, labels, fields):
            version = version or page["metadata"]["resourceVersion"]
            found += [
                {"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in page.get("items") or ()
            ]
        return found, version

    async def _iterate_pages(
        self, resource: Resource, namespace: str, labels: str, fields: str
    ) -> AsyncIterator[ApiObject]:
        query = {"limit": str(PAGE_SIZE)}
        query |= {name: value for name, value in (("labelSelector", labels), ("fieldSelector", fields)) if value}
        while True:
            page = await self.call("GET", resource.get_path(namespace), query=query)
            yield page
            token = page["metadata"].get("continue")
            if not token:
                return
            query = {**query, "continue": token}


async def connect(*, kubeconfig: str = "", context: str = "", timeout_s: float = TIMEOUT_S) -> Client:
    """Connects as kubectl does: with a kubeconfig where one is named or lies at its place, else as a pod.

    The token of a pod is read again every minute: it is replaced before it ends.

    Raises:
        NoCluster: if neither is there.
    """
    configuration = Configuration()
    in_pod = (
        not kubeconfig and not context and "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ
    )
    namespace = ""
    try:
        if in_pod:
            load_incluster_config(client_configuration=configuration)
        else:
            loader = await load_kube_config(
                config_file=kubeconfig or None, context=context or None, client_configuration=configuration
            )
            namespace = loader.current_context["context"].get("namespace") or ""
    except (ConfigException, OSError) as error:
        raise NoCluster(f"no cluster is configured: {error}") from error
    return Client(ApiClient(configuration=configuration), timeout_s=timeout_s, namespace=namespace)


def parse_answer(text: bytes) -> ApiObject:
    """Reads an answer; what is no JSON object becomes the message of one."""
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {"message": text.decode(errors="replace")}


def _parse_retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        return float(headers.get("Retry-After", ""))
    except ValueError:
        return None
