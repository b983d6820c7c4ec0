"""Writing without ever touching what is somebody else's.

Server-side apply adopts whatever it finds under a name, so every first application looks first. An object of ours is
applied with its uid: the API server then refuses to write into a namesake (422) and to bring a deleted one back (409).

Source: Kubernetes documentation, "Server-Side Apply"; what a wrong uid does was tried against a real API server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from splittraining.api.names import FIELD_MANAGER
from splittraining.cluster.client import APPLY, ApiObject, Client
from splittraining.cluster.errors import ApiError, Conflict, Invalid, NotFound
from splittraining.cluster.resources import BY_KIND, Resource


class NameTaken(ApiError):
    """An object of that name exists and is somebody else's."""


async def find_own(
    client: Client, resource: Resource, namespace: str, name: str, *, is_ours: Callable[[ApiObject], bool]
) -> ApiObject | None:
    """Returns the object of a name as it is now, or None where there is none.

    Args:
        client: Calls the API server.
        resource: Its kind.
        namespace: Its namespace.
        name: Its name.
        is_ours: Tells whether an object that is found belongs to the caller.

    Raises:
        NameTaken: if somebody else's object has the name.
    """
    try:
        found = await client.get(resource, namespace, name)
    except NotFound:
        return None
    if is_ours(found):
        return found
    owners = found["metadata"].get("ownerReferences") or ()
    whose = ", ".join(f"{owner['kind']} {owner['name']}" for owner in owners) or "nobody that this operator knows"
    raise NameTaken(
        f"PATCH {resource.get_path(namespace, name)}",
        f"a {resource.kind} of that name exists in {namespace} and belongs to {whose};"
        " delete or rename it, it is never adopted",
    )


async def apply_own(client: Client, manifest: Mapping[str, Any], *, existing: ApiObject | None) -> ApiObject:
    """Applies a manifest to an object of ours, or makes it where `find_own` found none.

    Args:
        client: Calls the API server.
        manifest: The whole object as it is wanted; its kind must be one of `resources`.
        existing: The object as last seen, which is ours; None where there is none.

    Raises:
        ApiError: Conflict, if the object is not the one that was seen.
    """
    resource, metadata = BY_KIND[manifest["kind"]], manifest["metadata"]
    body = dict(manifest)
    if existing is not None:
        body["metadata"] = {**metadata, "uid": existing["metadata"]["uid"]}
    try:
        return await apply(client, resource.get_path(metadata["namespace"], metadata["name"]), body)
    except Invalid as error:
        if existing is not None and "uid" in error.said:
            raise Conflict(error.asked, error.said) from error  # another object has the name by now
        raise


async def apply_status(client: Client, resource: Resource, seen: ApiObject, status: Mapping[str, Any]) -> ApiObject:
    """Replaces the status of an object, if it is still as it was seen.

    A wrong uid is ignored on a status, so the resourceVersion is what keeps a late write off a namesake.

    Raises:
        ApiError: Conflict, if somebody wrote in between.
    """
    metadata = seen["metadata"]
    body = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "status": dict(status),
    }
    return await apply(client, resource.get_path(metadata["namespace"], metadata["name"], "status"), body)


async def delete_exactly(client: Client, resource: Resource, namespace: str, name: str, uid: str) -> bool:
    """Deletes one object and what it owns; a namesake and an absent one stay as they are.

    It stays, as one that is being deleted, until what it owns is gone: a Job that is gone has no pod that is still
    ending, and holds no GPU.

    Returns:
        Whether the object was there.
    """
    options = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Foreground",
        "preconditions": {"uid": uid},
    }
    try:
        await client.call("DELETE", resource.get_path(namespace, name), body=options)
    except (NotFound, Conflict):
        return False
    return True


async def apply(client: Client, path: str, body: Mapping[str, Any]) -> ApiObject:
    """Applies an object at a path, whoever's it is: for what nobody else can have made.

    Raises:
        ApiError: if it cannot be written.
    """
    query = {"fieldManager": FIELD_MANAGER, "force": "true"}
    return await client.call("PATCH", path, body=dict(body), query=query, content_type=APPLY)
