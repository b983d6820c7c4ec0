"""How a command reaches a cluster: with the user's own kubeconfig, and with errors that a person can use."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from splittraining.api.errors import SplitTrainingError
from splittraining.api.resource import DEFAULT_NAMESPACE
from splittraining.api.usage import ClusterFailed, UsageInvalid
from splittraining.cluster.client import ApiObject, Client, NoCluster, connect
from splittraining.cluster.errors import ApiError, Forbidden, Unreachable
from splittraining.cluster.resources import Resource
from splittraining.cluster.streams import running_command, stream_log

Value = TypeVar("Value")

_DENIED = re.compile(r'cannot (?P<verb>\w+) resource "(?P<resource>[\w./-]+)" in API group "(?P<group>[\w.-]*)"')
_PATH = re.compile(r"^(?P<method>\w+) /(?:api|apis/(?P<group>[\w.-]+))/\w+(?:/namespaces/[^/]+)?/(?P<rest>\S+)")
_VERBS = {"GET": "get", "POST": "create", "DELETE": "delete", "PATCH": "patch"}
_UNAUTHORIZED = "401 "


class Api(Protocol):
    """What commands need of a cluster."""

    async def call(
        self, method: str, path: str, *, body: object = None, query: Mapping[str, str] | None = None
    ) -> ApiObject:
        """Makes one call."""

    async def get(self, resource: Resource, namespace: str, name: str) -> ApiObject:
        """Returns an object."""

    async def list_all(
        self, resource: Resource, *, namespace: str = "", labels: str = "", fields: str = ""
    ) -> tuple[list[ApiObject], str]:
        """Lists objects."""

    def stream_log(self, namespace: str, pod: str, *, query: Mapping[str, str], container: str) -> AsyncIterator[bytes]:
        """Yields a container's log in pieces."""

    def run(
        self, namespace: str, pod: str, command: Sequence[str], *, container: str, silence_s: float
    ) -> AbstractAsyncContextManager[AsyncIterator[tuple[int, bytes]]]:
        """Runs a command in a container and yields what it writes."""


class ClusterApi:
    """The real one.

    Args:
        client: Calls the API server.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.get = client.get
        self.list_all = client.list_all

    async def call(
        self, method: str, path: str, *, body: object = None, query: Mapping[str, str] | None = None
    ) -> ApiObject:
        """Makes one call."""
        return await self._client.call(method, path, body=body, query=query)

    def stream_log(self, namespace: str, pod: str, *, query: Mapping[str, str], container: str) -> AsyncIterator[bytes]:
        """Yields a container's log in pieces."""
        return stream_log(self._client, namespace, pod, query=query, container=container)

    def run(
        self, namespace: str, pod: str, command: Sequence[str], *, container: str, silence_s: float
    ) -> AbstractAsyncContextManager[AsyncIterator[tuple[int, bytes]]]:
        """Runs a command in a container and yields what it writes."""
        return running_command(self._client, namespace, pod, command, container=container, silence_s=silence_s)


Work = Callable[[Api, str], Awaitable[Value]]
"""What a command does, given a cluster and the namespace that is meant."""


def use_cluster(arguments: argparse.Namespace, work: Work[Value]) -> Value:
    """Does the work of a command with a connection that is closed afterwards.

    Ctrl-C and SIGTERM cancel the work, so that it can clean up after itself.

    Raises:
        ClusterFailed: if there is no cluster, it does not answer or it refuses.
        UsageInvalid: if the kubeconfig names none.
        KeyboardInterrupt: after Ctrl-C or SIGTERM.
    """
    return asyncio.run(_use_cluster(arguments, work))


async def _use_cluster(arguments: argparse.Namespace, work: Work[Value]) -> Value:
    try:
        client = await connect(kubeconfig=arguments.kubeconfig, context=arguments.context)
    except NoCluster as error:
        raise UsageInvalid(
            str(error),
            allowed="a kubeconfig: --kubeconfig FILE, the variable KUBECONFIG, or ~/.kube/config",
            remedy="see which contexts there are with `kubectl config get-contexts`, and choose with --context NAME",
        ) from error
    namespace = arguments.namespace or client.namespace or DEFAULT_NAMESPACE
    task = asyncio.current_task()
    was_stopped = False

    def stop() -> None:
        nonlocal was_stopped
        was_stopped = True
        if task is not None:
            task.cancel()

    with contextlib.suppress(NotImplementedError, RuntimeError):  # another thread than the main one has no signals
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    try:
        return await work(ClusterApi(client), namespace)
    except ApiError as error:
        raise explain(error, namespace) from error
    except asyncio.CancelledError:
        if was_stopped:
            raise KeyboardInterrupt from None
        raise
    finally:
        await client.close()


def explain(error: ApiError, namespace: str) -> SplitTrainingError:
    """Returns what an answer of the API server means to the user of a command."""
    if isinstance(error, Unreachable):
        return ClusterFailed(
            f"the cluster does not answer: {error}",
            remedy="check the network and the context; `kubectl cluster-info` asks the same server",
        )
    if isinstance(error, Forbidden):
        right = name_right(error)
        return ClusterFailed(
            f"the cluster refused: {error.said}",
            allowed=f"users with the right to {right} in namespace {namespace}",
            remedy="ask the namespace's administrators for it; docs/kubectl-plugin.md lists each command's rights",
        )
    if error.said.startswith(_UNAUTHORIZED):
        return ClusterFailed(
            f"the cluster does not know you: {error}",
            remedy="log in again; `kubectl auth whoami` says whom the cluster sees",
        )
    return ClusterFailed(f"the cluster failed: {error}", remedy="try again; if it lasts, ask whoever runs the cluster")


def name_right(error: ApiError) -> str:
    """Names the right that an answer says is missing, such as ``create pods/exec``."""
    denied = _DENIED.search(error.said)
    if denied:
        group = f".{denied['group']}" if denied["group"] else ""
        return f"{denied['verb']} {denied['resource']}{group}"
    asked = _PATH.match(error.asked)
    if not asked:
        return error.asked
    plural, _, rest = asked["rest"].partition("/")
    name, _, subresource = rest.partition("/")
    verb = "list" if asked["method"] == "GET" and not name else _VERBS.get(asked["method"], asked["method"])
    verb = "create" if subresource == "exec" else verb
    group = f".{asked['group']}" if asked["group"] else ""
    return f"{verb} {plural}{group}" + (f"/{subresource}" if subresource else "")
