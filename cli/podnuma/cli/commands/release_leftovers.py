"""What is left when podnuma is uninstalled: PodAllocations with a finalizer, statuses that nobody renews.

    PodAllocations      lose the finalizer that only an operator removes: they and their namespaces can go
    statuses            say Uninstalled, and Ready is Unknown: nothing says Applied or Ready of what is not

Whether an agent still runs is told by its reports alone: the name of a DaemonSet may be another one.
"""

import asyncio
import contextlib
import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from podnuma.api import names
from podnuma.api.conditions import READY, Condition, Status, merged, read_conditions, render_conditions
from podnuma.api.decoding import FieldErrors, Fields
from podnuma.api.kernel_reports import UNINSTALLED
from podnuma.api.node_conditions import NodeCondition
from podnuma.api.pod_allocation_status import Phase
from podnuma.api.resource_types import NODE_TOPOLOGY, POD_ALLOCATION, ResourceType
from podnuma.cli.commands.writing_client import DEADLINE, PAGE
from podnuma.plumbing.kube import content_types, errors

if TYPE_CHECKING:
    from podnuma.plumbing.kube.client import Client

GIVEN_BACK: Final = "podnuma was uninstalled: containers run as the kubelet has them"
LEFT: Final = "podnuma was uninstalled without its agents: containers run where podnuma has set them last"

LISTEN: Final = 90.0
"""Seconds in which an agent that runs reports once at least."""


async def heard_and_silent(client: "Client", listen: float = LISTEN) -> tuple[list[str], list[str]]:
    """Return the nodes whose agents report within some seconds, and those whose agents only did before.

    Nodes that were given back are none of either.
    """
    before = await _heartbeats(client)
    if not before:
        return [], []
    await asyncio.sleep(listen)
    after = await _heartbeats(client)
    heard = sorted(name for name, moment in after.items() if moment != before.get(name))
    return heard, sorted(after.keys() - set(heard))


async def _heartbeats(client: "Client") -> dict[str, str]:
    """Return when the agent of each node has reported, in its own words."""
    found: dict[str, str] = {}
    async for page, _ in client.pages(NODE_TOPOLOGY.path(), size=PAGE):
        for one in page:
            moment = (one.get("status") or {}).get("heartbeatTime")
            if moment and not _is_retired(one):
                found[one["metadata"]["name"]] = str(moment)
    return found


async def retire(client: "Client", said: str) -> None:
    """Let go of all that is left; `said` becomes the message of its conditions."""
    await _let_allocations_go(client, said)
    await _retire_topologies(client, said)


async def _let_allocations_go(client: "Client", said: str) -> None:
    """Remove the operator's finalizer, and say Uninstalled: nobody is kept off anybody's CPUs any more."""
    async for page, _ in client.pages(POD_ALLOCATION.path(), size=PAGE):
        for found in page:
            if ((found.get("spec") or {}).get("decision") or {}).get("admitted"):
                await _apply_status(client, POD_ALLOCATION, found, said)
            finalizers = found["metadata"].get("finalizers") or []
            if names.CGROUP_FINALIZER not in finalizers:
                continue
            left = [one for one in finalizers if one != names.CGROUP_FINALIZER]
            path = POD_ALLOCATION.path(found["metadata"]["namespace"], found["metadata"]["name"])
            change = {"metadata": {"uid": found["metadata"]["uid"], "finalizers": left}}
            with contextlib.suppress(errors.NotFoundError):
                await client.write(
                    "PATCH", path, change, deadline=DEADLINE, content_type=content_types.MERGE_PATCH
                )


async def _retire_topologies(client: "Client", said: str) -> None:
    async for page, _ in client.pages(NODE_TOPOLOGY.path(), size=PAGE):
        for found in page:
            await _apply_status(client, NODE_TOPOLOGY, found, said)


def retired_status(
    kind: ResourceType, found: Mapping[str, Any], said: str, now: dt.datetime
) -> dict[str, Any]:
    """Return what replaces the operator's part of a status: Ready is Unknown, and a pod Uninstalled."""
    topology = kind is NODE_TOPOLOGY
    conditions = tuple(
        Condition(type_, Status.UNKNOWN, UNINSTALLED, said, found["metadata"].get("generation"))
        for type_ in (READY, *((NodeCondition.AGENT_READY,) if topology else ()))
    )
    old = read_conditions(Fields.of(found.get("status") or {}, "status", FieldErrors()))
    status = {} if topology else {"phase": Phase.UNINSTALLED.value}
    return {**status, "conditions": render_conditions(merged(old, conditions, now))}


def _is_retired(found: Mapping[str, Any]) -> bool:
    conditions = read_conditions(Fields.of(found.get("status") or {}, "status", FieldErrors()))
    return any((one.type, one.reason) == (READY, UNINSTALLED) for one in conditions)


async def _apply_status(client: "Client", kind: ResourceType, found: Mapping[str, Any], said: str) -> None:
    if _is_retired(found):
        return  # what was said then is true
    metadata = found["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    status = retired_status(kind, found, said, dt.datetime.now(dt.UTC))
    body = kind.status_patch(namespace, name, metadata["uid"], status)
    with contextlib.suppress(errors.NotFoundError, errors.ConflictError):
        await client.write(
            "PATCH",
            kind.path(namespace, name, "status"),
            body,
            deadline=DEADLINE,
            content_type=content_types.APPLY,
            query={"fieldManager": names.OPERATOR_MANAGER, "force": "true"},
        )
