"""`podnuma release-nodes`: the step before an uninstall. Nobody decides any more, every node is given back.

    1  the operator is scaled to nothing, so that nobody hands out CPUs any more
    2  the agents' DaemonSet is told to run `agent cleanup --hold` instead: each agent ends, and its
       successor on the same node, with the same mounts, gives every cgroup back and then waits
    3  done when every pod of the DaemonSet is of the new kind and ready; ready means: all given back

What is left can be deleted. Run again, it finds its work done; after a time-out it names the nodes.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podnuma.cli import output
from podnuma.cli.exits import Exit, Failure
from podnuma.plumbing.kube import errors
from podnuma.plumbing.kube.client import Access, Client

Json = dict[str, Any]

_DEADLINE = 15.0
_MERGE = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"
_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Names:
    """What is to be released, and how long it may take, in seconds."""

    namespace: str
    operator: str
    agent: str
    timeout: float

    @property
    def workloads(self) -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}"


def answer(access: Access, names: Names) -> None:
    """Release all nodes. Failure names what could not be done."""
    asyncio.run(_release(access, names))


async def _release(access: Access, names: Names) -> None:
    client = Client(access, user_agent="podnuma-release")
    try:
        await _stop_operator(client, names)
        await _turn_agents(client, names)
        await _wait(client, names)
    except errors.NotFoundError as error:
        output.note(f"nothing to release: {error.message}")
    except errors.KubeError as error:
        code = Exit.FORBIDDEN if error.status else Exit.UNREACHABLE
        raise Failure(code, f"cannot release: {error}") from error
    finally:
        await client.close()


async def _stop_operator(client: Client, names: Names) -> None:
    path = f"{names.workloads}/deployments/{names.operator}"
    try:
        await client.write("PATCH", path, {"spec": {"replicas": 0}}, deadline=_DEADLINE, content_type=_MERGE)
    except errors.NotFoundError:
        return
    output.note(f"operator {names.operator} is told to stop")
    await _until(names, lambda: _stopped(client, path), "the operator still runs; see its pods")


async def _stopped(client: Client, path: str) -> bool:
    status = (await client.get(path, deadline=_DEADLINE)).get("status", {})
    return not status.get("replicas")


async def _turn_agents(client: Client, names: Names) -> None:
    path = f"{names.workloads}/daemonsets/{names.agent}"
    pod = (await client.get(path, deadline=_DEADLINE))["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    # All nodes at once: from now on no order among them matters.
    at_once = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%", "maxSurge": 0}}
    changed = {"name": container["name"], "args": cleaning(container["args"])}
    change = {"spec": {"updateStrategy": at_once, "template": {"spec": {"containers": [changed]}}}}
    await client.write("PATCH", path, change, deadline=_DEADLINE, content_type=_STRATEGIC)
    output.note(f"agents of {names.agent} are told to give their nodes back")


def cleaning(arguments: list[str]) -> list[str]:
    """Turn the arguments of `agent run` into those of `agent cleanup --hold` on the same node."""
    kept = ("--cgroup-root", "--kubelet-root", "--run-root", "--runtime", "--cri-socket", "--metrics-port")
    return ["agent", "cleanup", "--hold", *(one for one in arguments if one.split("=")[0] in kept)]


async def _wait(client: Client, names: Names) -> None:
    path = f"{names.workloads}/daemonsets/{names.agent}"

    async def finished() -> bool:
        return done(await client.get(path, deadline=_DEADLINE))

    try:
        await _until(names, finished, "")
    except Failure:
        raise Failure(Exit.NO, *await _left(client, names)) from None
    output.note("every node is given back")


def done(daemon_set: Mapping[str, Any]) -> bool:
    """Whether every node that should have the new pod has it, and it is ready."""
    status = daemon_set.get("status", {})
    wanted = status.get("desiredNumberScheduled", 0)
    seen = status.get("observedGeneration", 0) >= daemon_set["metadata"]["generation"]
    return bool(seen and status.get("updatedNumberScheduled", 0) == wanted == status.get("numberReady", 0))


async def _left(client: Client, names: Names) -> list[str]:
    selector = {"labelSelector": "app.kubernetes.io/component=agent"}
    pods = await client.get(f"/api/v1/namespaces/{names.namespace}/pods", query=selector, deadline=_DEADLINE)
    lines = [
        f"node {pod['spec'].get('nodeName', '(none)')} is not given back; "
        f"see `kubectl -n {names.namespace} logs {pod['metadata']['name']}`"
        for pod in pods["items"]
        if not _ready(pod)
    ]
    return lines or [f"after {names.timeout:.0f} s some node has no agent of {names.agent}; run this again"]


def _ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


async def _until(names: Names, check: Any, failure: str) -> None:
    deadline = time.monotonic() + names.timeout
    while not await check():
        if time.monotonic() > deadline:
            raise Failure(Exit.NO, f"after {names.timeout:.0f} s {failure}")
        await asyncio.sleep(_PAUSE)


def access(kubeconfig: Path | None, context: str | None) -> Access:
    """Return how to reach the cluster: a kubeconfig, or the service account of the pod."""
    return Access(kubeconfig, context)
