"""Every write to the API server goes through here, and only the leader writes.

A write first asks the leadership how long it is certain to last, is refused when that is over,
and gets that time as its deadline. Creating and replacing a PodAllocation is conditional (it
must not exist; it must be at this version), and deleting one names its UID: whatever happened
meanwhile, no other object is touched. The operator's fields in other objects are written by
server-side apply under its field manager.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

from podnuma.api import names
from podnuma.api.resource_types import (
    EVENT,
    NODE_PROFILE,
    NODE_RESOURCE_TOPOLOGY,
    NODE_TOPOLOGY,
    POD,
    POD_ALLOCATION,
)
from podnuma.plumbing.kube import content_types, errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from podnuma.operator.cache.objects import ObjectKey
    from podnuma.operator.write.leader_election import Leadership

Json = dict[str, Any]

_SHORTEST = 0.5  # seconds; with less time left a write would only end uncertain


class NotLeadingError(Exception):
    """This process may not write now; the leader will."""


class Writer(Protocol):
    """The operator's writes; each raises NotLeadingError or one of plumbing.kube.errors."""

    async def create_allocation(self, key: ObjectKey, body: Json) -> Json:
        """Create; AlreadyExistsError if there is one of that name."""
        ...

    async def replace_allocation(self, key: ObjectKey, body: Json) -> Json:
        """Replace the spec; ConflictError if it is not at the body's resource version."""
        ...

    async def delete_allocation(self, key: ObjectKey, uid: str) -> Json | None:
        """Delete the object with this UID if it exists; ConflictError if another one has the name.

        With finalizers it stays, and its deletion waits for them: it is returned as it is stored then.
        """
        ...

    async def set_allocation_finalizers(self, key: ObjectKey, uid: str, finalizers: Sequence[str]) -> None:
        """Leave the object with this UID these finalizers, if it exists; ConflictError as above."""
        ...

    async def apply_allocation_status(self, key: ObjectKey, body: Json) -> Json:
        """Apply the operator's part of the status."""
        ...

    async def apply_topology(self, name: str, body: Json) -> Json:
        """Create or apply the settings of a node."""
        ...

    async def replace_topology_spec(self, name: str, version: int, spec: Json) -> Json:
        """Replace the settings of a node, fields of others included, if it is at this version."""
        ...

    async def delete_topology(self, name: str, uid: str) -> None:
        """Delete the object with this UID if it exists; ConflictError if another one has the name."""
        ...

    async def apply_topology_status(self, name: str, body: Json) -> Json:
        """Apply the operator's part of the status."""
        ...

    async def apply_resource_topology(self, name: str, body: Json) -> Json:
        """Create or apply a NodeResourceTopology; ConflictError if its fields are another manager's."""
        ...

    async def delete_resource_topology(self, name: str, uid: str) -> None:
        """Delete the object with this UID if it exists; ConflictError if another one has the name."""
        ...

    async def apply_profile_status(self, name: str, body: Json) -> Json:
        """Apply the status."""
        ...

    async def post_event(self, namespace: str, body: Json) -> None:
        """Post an Event."""
        ...

    async def apply_event(self, namespace: str, name: str, body: Json) -> None:
        """Create an Event, or let it take the place of the one of this name."""
        ...

    async def apply_pod_status(self, key: ObjectKey, body: Json) -> Json:
        """Apply the operator's part of a pod's status, its condition."""
        ...

    async def nominate(self, key: ObjectKey, body: Json) -> Json:
        """Patch the status of a pod; ConflictError if another one has the name."""
        ...

    async def lift_gate(self, key: ObjectKey, body: Json) -> Json:
        """Patch the spec of a pod that is not bound; ConflictError if another one has the name."""
        ...

    async def evict(self, key: ObjectKey, uid: str) -> None:
        """Ask the Eviction API.

        BusyError if a disruption budget does not allow it now, ConflictError if another pod has the name.
        """
        ...


class Sender(Protocol):
    """What a writer needs of a client."""

    async def write(
        self,
        method: str,
        path: str,
        body: Json | list[Json] | None,
        *,
        deadline: float,
        content_type: str = content_types.JSON,
        query: Mapping[str, str] | None = None,
    ) -> Json:
        """Send a write that is not carried out after `deadline` seconds."""
        ...


class ApiWriter:
    """The writer that asks a real API server; without leadership it writes nothing."""

    def __init__(self, client: Sender, leadership: Leadership, *, deadline: float) -> None:
        self._client = client
        self._leadership = leadership
        self._longest = deadline

    async def create_allocation(self, key: ObjectKey, body: Json) -> Json:
        path = POD_ALLOCATION.path(key.namespace)
        return await self._write("POST", path, body, fieldManager=names.OPERATOR_MANAGER)

    async def replace_allocation(self, key: ObjectKey, body: Json) -> Json:
        path = POD_ALLOCATION.path(key.namespace, key.name)
        return await self._write("PUT", path, body, fieldManager=names.OPERATOR_MANAGER)

    async def delete_allocation(self, key: ObjectKey, uid: str) -> Json | None:
        answer = await self._delete(POD_ALLOCATION.path(key.namespace, key.name), uid)
        return answer if answer is not None and answer.get("kind") == POD_ALLOCATION.kind else None

    async def set_allocation_finalizers(self, key: ObjectKey, uid: str, finalizers: Sequence[str]) -> None:
        with contextlib.suppress(errors.NotFoundError):
            path = POD_ALLOCATION.path(key.namespace, key.name)
            body: Json = {"metadata": {"uid": uid, "finalizers": [*finalizers]}}
            await self._patch(path, body, content_types.MERGE_PATCH)

    async def apply_allocation_status(self, key: ObjectKey, body: Json) -> Json:
        return await self._apply(POD_ALLOCATION.path(key.namespace, key.name, "status"), body)

    async def apply_topology(self, name: str, body: Json) -> Json:
        return await self._apply(NODE_TOPOLOGY.path("", name), body)

    async def replace_topology_spec(self, name: str, version: int, spec: Json) -> Json:
        steps: list[Json] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": str(version)},
            {"op": "replace", "path": "/spec", "value": spec},
        ]
        return await self._client.write(
            "PATCH",
            NODE_TOPOLOGY.path("", name),
            steps,
            deadline=self._deadline(),
            content_type=content_types.JSON_PATCH,
            query={"fieldManager": names.OPERATOR_MANAGER},
        )

    async def delete_topology(self, name: str, uid: str) -> None:
        await self._delete(NODE_TOPOLOGY.path("", name), uid)

    async def apply_topology_status(self, name: str, body: Json) -> Json:
        return await self._apply(NODE_TOPOLOGY.path("", name, "status"), body)

    async def apply_resource_topology(self, name: str, body: Json) -> Json:
        # A kind of others: what another program writes is not taken from it.
        return await self._apply(NODE_RESOURCE_TOPOLOGY.path("", name), body, force=False)

    async def delete_resource_topology(self, name: str, uid: str) -> None:
        await self._delete(NODE_RESOURCE_TOPOLOGY.path("", name), uid)

    async def apply_profile_status(self, name: str, body: Json) -> Json:
        return await self._apply(NODE_PROFILE.path("", name, "status"), body)

    async def post_event(self, namespace: str, body: Json) -> None:
        await self._write("POST", EVENT.path(namespace), body)

    async def apply_event(self, namespace: str, name: str, body: Json) -> None:
        await self._apply(EVENT.path(namespace, name), body)

    async def apply_pod_status(self, key: ObjectKey, body: Json) -> Json:
        return await self._apply(POD.path(key.namespace, key.name, "status"), body)

    async def nominate(self, key: ObjectKey, body: Json) -> Json:
        # A merge, not an apply: the scheduler takes the field away, and an apply would take it back.
        return await self._patch(POD.path(key.namespace, key.name, "status"), body, content_types.MERGE_PATCH)

    async def lift_gate(self, key: ObjectKey, body: Json) -> Json:
        return await self._patch(POD.path(key.namespace, key.name), body, content_types.STRATEGIC_MERGE_PATCH)

    async def evict(self, key: ObjectKey, uid: str) -> None:
        body: Json = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"namespace": key.namespace, "name": key.name},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        path = POD.path(key.namespace, key.name, "eviction")
        with contextlib.suppress(errors.NotFoundError):  # it is gone already
            await self._write("POST", path, body)

    async def _apply(self, path: str, body: Json, *, force: bool = True) -> Json:
        # The operator alone decides its fields: a conflict means that someone edited them.
        query = {"fieldManager": names.OPERATOR_MANAGER, "force": "true" if force else "false"}
        return await self._client.write(
            "PATCH", path, body, deadline=self._deadline(), content_type=content_types.APPLY, query=query
        )

    async def _patch(self, path: str, body: Json, content_type: str) -> Json:
        query = {"fieldManager": names.OPERATOR_MANAGER}
        return await self._client.write(
            "PATCH", path, body, deadline=self._deadline(), content_type=content_type, query=query
        )

    async def _delete(self, path: str, uid: str) -> Json | None:
        """Return the answer: the object if it stays, else a Status. None if there is no such object."""
        body: Json = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        }
        with contextlib.suppress(errors.NotFoundError):
            return await self._write("DELETE", path, body)
        return None

    async def _write(self, method: str, path: str, body: Json, **query: str) -> Json:
        return await self._client.write(method, path, body, deadline=self._deadline(), query=query)

    def _deadline(self) -> float:
        left = self._leadership.remaining()
        if left < _SHORTEST:
            raise NotLeadingError("not the leader: nothing is written")
        return min(left, self._longest)
