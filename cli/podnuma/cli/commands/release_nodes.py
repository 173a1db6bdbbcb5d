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
are named. Where the DaemonSet was deleted before, and no agent is heard any more, steps 4 and 5 are left.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from podnuma.api.resource_types import (
    DAEMON_SET,
    DEPLOYMENT,
    NODE_PROFILE,
    NODE_TOPOLOGY,
    POD,
    POD_ALLOCATION,
)
from podnuma.cli.commands import output
from podnuma.cli.commands.options import Context, Kubeconfig, examples, new_app
from podnuma.cli.commands.release_gates import end_gating, lift_gates
from podnuma.cli.commands.release_leftovers import GIVEN_BACK, LEFT, LISTEN, heard_and_silent, retire
from podnuma.cli.commands.writing_client import DEADLINE, writing_client
from podnuma.cli.exits import INSTALL_NAMESPACE, Exit, Failure
from podnuma.cli.render.wording import count
from podnuma.plumbing.kube import content_types, errors

if TYPE_CHECKING:
    from podnuma.plumbing.kube.client import Client

_NAMED = 3
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
    if await _turn_agents(client, target):
        await _wait(client, target)
        await retire(client, GIVEN_BACK)
    else:
        await _expect_no_agents(client, target)
        await retire(client, LEFT)
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


async def _expect_no_agents(client: "Client", target: Installation) -> None:
    """Fail where the DaemonSet is only called otherwise; say what stays where it is gone."""
    output.note(
        f"there is no DaemonSet {target.agent} in {target.namespace}; listening for agents for {LISTEN:.0f} s"
    )
    heard, silent = await heard_and_silent(client)
    if heard:
        raise Failure(
            Exit.NO,
            f"agents still report, of {', '.join(heard[:_NAMED])}: name their DaemonSet and its namespace "
            "with --agent and --namespace",
        )
    if silent:
        output.note(
            f"no agent runs any more: containers of {count(len(silent), 'node')} keep what was set last; run "
            "`podnuma agent cleanup` on each of them, as root"
        )


async def _turn_agents(client: "Client", target: Installation) -> bool:
    """Have agents give their nodes back; False if there is no DaemonSet of them."""
    path = target.daemon_set_path
    try:
        pod = (await client.get(path, deadline=DEADLINE))["spec"]["template"]["spec"]
    except errors.NotFoundError:
        return False
    (container,) = pod["containers"]
    # All nodes at once: from now on no order among them matters.
    at_once = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%", "maxSurge": 0}}
    changed = {"name": container["name"], "args": cleanup_arguments(container["args"])}
    change = {"spec": {"updateStrategy": at_once, "template": {"spec": {"containers": [changed]}}}}
    await client.write(
        "PATCH", path, change, deadline=DEADLINE, content_type=content_types.STRATEGIC_MERGE_PATCH
    )
    output.note(f"agents of {target.agent} now give their nodes back")
    return True


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
