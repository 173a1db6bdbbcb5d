"""`podnuma release-nodes`: the step before an uninstall. Decisions stop, and every node is given back.

    1  the operator is scaled to zero, so that no more CPUs are handed out; no pod is gated any more, and
       those that wait to be placed are released
    2  the agents' DaemonSet is changed to run `agent cleanup --hold`: each agent ends, and its
       successor on the same node, with the same mounts, gives all cgroups back and then waits
    3  when every pod of the DaemonSet is updated and ready, all is given back
    4  PodAllocations lose the finalizer that only an operator removes: they and their namespaces can go
    5  their status says Uninstalled, that of NodeTopologies that nobody knows any more: nothing still says
       Applied or Ready of what is not

What remains can be deleted. A second run finds the work done; after a time-out the remaining nodes
are named.
"""

import asyncio
import contextlib
import datetime as dt
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from podnuma.api import names
from podnuma.api.conditions import READY, Condition, Status, merged, read_conditions, render_conditions
from podnuma.api.decoding import FieldErrors, Fields
from podnuma.api.kernel_reports import UNINSTALLED
from podnuma.api.node_conditions import NodeCondition
from podnuma.api.pod_allocation_status import Phase
from podnuma.api.resource_types import (
    DAEMON_SET,
    DEPLOYMENT,
    NODE_PROFILE,
    NODE_TOPOLOGY,
    POD,
    POD_ALLOCATION,
    ResourceType,
)
from podnuma.cli.commands import output
from podnuma.cli.commands.options import Context, Kubeconfig, examples, new_app
from podnuma.cli.commands.release_gates import end_gating, lift_gates
from podnuma.cli.commands.writing_client import DEADLINE, PAGE, writing_client
from podnuma.cli.exits import INSTALL_NAMESPACE, Exit, Failure
from podnuma.cli.render.wording import count
from podnuma.plumbing.kube import content_types, errors

if TYPE_CHECKING:
    from podnuma.plumbing.kube.client import Client

_UNINSTALLED = "podnuma was uninstalled: containers run as the kubelet has them"
_WHAT_STAYS = (
    "definitions and their objects stay; to delete them all: "
    f"kubectl delete crd {NODE_PROFILE.resource} {NODE_TOPOLOGY.resource} {POD_ALLOCATION.resource}"
)
_PAUSE = 1.0


app = new_app()


@dataclass(frozen=True, slots=True)
class Installation:
    """An installation to be released: its namespace, Deployment, DaemonSet, and a time-out in seconds.

    `placement`: the binding of the admission policy that gates pods; empty if there is none.
    """

    namespace: str
    operator: str
    agent: str
    timeout: float
    placement: str = ""

    @property
    def deployment_path(self) -> str:
        """The path of the operator's Deployment."""
        return DEPLOYMENT.path(self.namespace, self.operator)

    @property
    def daemon_set_path(self) -> str:
        """The path of the agents' DaemonSet."""
        return DAEMON_SET.path(self.namespace, self.agent)


@app.command(
    "release-nodes",
    epilog=examples(
        "podnuma release-nodes --namespace podnuma-system",
    ),
)
def release_nodes(
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Annotated[
        str, typer.Option(envvar="PODNUMA_NAMESPACE", help="where podnuma is installed")
    ] = INSTALL_NAMESPACE,
    operator_name: Annotated[str, typer.Option("--operator", help="its Deployment")] = "podnuma-operator",
    agent_name: Annotated[str, typer.Option("--agent", help="its DaemonSet")] = "podnuma-agent",
    placement: Annotated[
        str,
        typer.Option("--placement-binding", metavar="NAME", help="the binding of the policy that gates pods"),
    ] = "",
    timeout: Annotated[float, typer.Option(help="seconds until it gives up", min=1)] = 300.0,
) -> None:
    """Stop the operator and have all agents give their nodes back, before an uninstall."""
    target = Installation(namespace, operator_name, agent_name, timeout, placement)
    asyncio.run(_release(kubeconfig, context, target))


async def _release(kubeconfig: Path | None, context: str | None, target: Installation) -> None:
    async with writing_client(kubeconfig, context, "cannot release") as client:
        try:
            await _release_all(client, target)
        except errors.NotFoundError as error:
            output.note(f"nothing to release: {error.message}")


async def _release_all(client: "Client", target: Installation) -> None:
    if target.placement:
        await end_gating(client, target.placement)
    await _stop_operator(client, target)
    if target.placement:
        await _let_pods_go(client)
    await _turn_agents(client, target)
    await _wait(client, target)
    await _let_allocations_go(client)
    await _retire_topologies(client)
    if target.placement:
        await _let_pods_go(client)  # API servers forget a policy some seconds later
    output.note(_WHAT_STAYS)


async def _stop_operator(client: "Client", target: Installation) -> None:
    path = target.deployment_path
    try:
        await client.write(
            "PATCH",
            path,
            {"spec": {"replicas": 0}},
            deadline=DEADLINE,
            content_type=content_types.MERGE_PATCH,
        )
    except errors.NotFoundError:
        return
    output.note(f"stopping operator {target.operator}")
    await _until(target, lambda: _stopped(client, path), "the operator is still running; see its pods")


async def _let_pods_go(client: "Client") -> None:
    if found := await lift_gates(client):
        output.note(f"released {count(len(found), 'pod')} that waited to be placed")


async def _stopped(client: "Client", path: str) -> bool:
    status = (await client.get(path, deadline=DEADLINE)).get("status", {})
    return not status.get("replicas")


async def _turn_agents(client: "Client", target: Installation) -> None:
    path = target.daemon_set_path
    pod = (await client.get(path, deadline=DEADLINE))["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    # All nodes at once: from now on no order among them matters.
    at_once = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%", "maxSurge": 0}}
    changed = {"name": container["name"], "args": cleanup_arguments(container["args"])}
    change = {"spec": {"updateStrategy": at_once, "template": {"spec": {"containers": [changed]}}}}
    await client.write(
        "PATCH", path, change, deadline=DEADLINE, content_type=content_types.STRATEGIC_MERGE_PATCH
    )
    output.note(f"agents of {target.agent} now give their nodes back")


def cleanup_arguments(arguments: list[str]) -> list[str]:
    """Turn the arguments of `agent run` into those of `agent cleanup --hold` on the same node."""
    kept = (
        "--cgroup-root",
        "--kubelet-root",
        "--run-root",
        "--runtime",
        "--cri-socket",
        "--metrics-port",
        "--metrics-secure",
        "--metrics-cert-dir",
    )
    return ["agent", "cleanup", "--hold", *(one for one in arguments if one.split("=")[0] in kept)]


async def _wait(client: "Client", target: Installation) -> None:
    path = target.daemon_set_path

    async def finished() -> bool:
        return all_released(await client.get(path, deadline=DEADLINE))

    try:
        await _until(target, finished, "")
    except Failure:
        raise Failure(Exit.NO, *await _left(client, target)) from None
    output.note("every node is given back")


async def _let_allocations_go(client: "Client") -> None:
    """Remove the operator's finalizer, and say Uninstalled: nobody is kept off anybody's CPUs any more."""
    async for page, _ in client.pages(POD_ALLOCATION.path(), size=PAGE):
        for found in page:
            if ((found.get("spec") or {}).get("decision") or {}).get("admitted"):
                await _apply_status(client, POD_ALLOCATION, found)
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


async def _retire_topologies(client: "Client") -> None:
    async for page, _ in client.pages(NODE_TOPOLOGY.path(), size=PAGE):
        for found in page:
            await _apply_status(client, NODE_TOPOLOGY, found)


def retired_status(kind: ResourceType, found: Mapping[str, Any], now: dt.datetime) -> dict[str, Any]:
    """Return what replaces the operator's part of a status: Ready is Unknown, and a pod Uninstalled."""
    topology = kind is NODE_TOPOLOGY
    conditions = tuple(
        Condition(type_, Status.UNKNOWN, UNINSTALLED, _UNINSTALLED, found["metadata"].get("generation"))
        for type_ in (READY, *((NodeCondition.AGENT_READY,) if topology else ()))
    )
    old = read_conditions(Fields.of(found.get("status") or {}, "status", FieldErrors()))
    status = {} if topology else {"phase": Phase.UNINSTALLED.value}
    return {**status, "conditions": render_conditions(merged(old, conditions, now))}


async def _apply_status(client: "Client", kind: ResourceType, found: Mapping[str, Any]) -> None:
    metadata = found["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    status = retired_status(kind, found, dt.datetime.now(dt.UTC))
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


def all_released(daemon_set: Mapping[str, Any]) -> bool:
    """Whether every node that should have the new pod has it, and it is ready."""
    status = daemon_set.get("status", {})
    wanted = status.get("desiredNumberScheduled", 0)
    seen = status.get("observedGeneration", 0) >= daemon_set["metadata"]["generation"]
    return bool(seen and status.get("updatedNumberScheduled", 0) == wanted == status.get("numberReady", 0))


async def _left(client: "Client", target: Installation) -> list[str]:
    selector = {"labelSelector": "app.kubernetes.io/component=agent"}
    pods = await client.get(POD.path(target.namespace), query=selector, deadline=DEADLINE)
    lines = [
        f"node {pod['spec'].get('nodeName', '(none)')} is not given back; "
        f"see `kubectl -n {target.namespace} logs {pod['metadata']['name']}`"
        for pod in pods["items"]
        if not _ready(pod)
    ]
    return lines or [
        f"after {target.timeout:.0f} s some nodes have no agent of {target.agent} yet; run this again"
    ]


def _ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


async def _until(target: Installation, check: Any, failure: str) -> None:
    deadline = time.monotonic() + target.timeout
    while not await check():
        if time.monotonic() > deadline:
            raise Failure(Exit.NO, f"after {target.timeout:.0f} s {failure}")
        await asyncio.sleep(_PAUSE)
