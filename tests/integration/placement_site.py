"""A control plane on which an operator places pods: scheduler, kwok's nodes, the chart's policy and rights.

Nodes are those of `operator_site.machine`, with labels that its profile selects.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from testbed.api import path_of
from testbed.cleanup import delete
from testbed.waiting import until
from tests.integration.helm_chart import one, rendered
from tests.integration.operator_site import GROUP, SOON, Site, pod, profile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.api import Json
    from testbed.control_plane import ControlPlane
    from testbed.kwok import Kwok

GATE = "podnuma.dev/placement"


@contextmanager
def placing_site(cluster: ControlPlane, namespace: str, folder: Path, helm: Path) -> Iterator[Site]:
    """A site with what the chart adds for placement: the operator's rights, two policies, their bindings."""
    manifests = rendered(helm, "placement.enabled=true")
    policies = [
        value
        for value in manifests
        if "AdmissionPolicy" in value["kind"] and value["metadata"]["name"] != "podnuma-agent"
    ]
    with Site(cluster, namespace, folder) as site:
        site.install()
        try:
            for value in (one(manifests, "ClusterRole", "podnuma-operator"), *policies):
                site.api.apply(value)
            # Pods cannot be created before the controller manager has made this account.
            path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
            until(lambda: site.api.find(path), "the default service account", SOON)
            until(lambda: _adds_the_gate(site), "the admission policy to be in force", 30)
            yield site
        finally:
            for value in policies:
                delete(site.api, path_of(value))


def _adds_the_gate(site: Site) -> bool:
    path = f"/api/v1/namespaces/{site.namespace}/pods?dryRun=All"
    tried = site.api.request("POST", path, unbound("probe"))
    return gates(tried) == [GATE]


def unbound(name: str, cpus: int = 4, **metadata: Any) -> Json:
    """Return a pod as users write it: no node, no gate."""
    value = pod(name, cpus, **metadata)
    del value["spec"]["nodeName"]
    return value


def gated_pod(name: str, cpus: int = 4, **metadata: Any) -> Json:
    """Return a pod that carries the gate whatever policies there are."""
    value = unbound(name, cpus, **metadata)
    value["spec"]["schedulingGates"] = [{"name": GATE}]
    return value


def gates(value: Json) -> list[str]:
    return [gate["name"] for gate in value["spec"].get("schedulingGates", [])]


def furnish(site: Site, kwok: Kwok, *nodes: str, **spec: Any) -> None:
    """Create a profile that places, and nodes whose agents have reported."""
    until(lambda: not site.api.items(f"{GROUP}/nodetopologies"), "earlier NodeTopologies to go", 30)
    site.api.apply(profile(placement="BeforeBinding", **spec))
    for name in nodes:
        kwok.add_node(name, cpus=16, memory=64 * 2**30, labels={"pool": "a"})
    site.report_hardware(*nodes)
    for name in nodes:
        until(
            lambda name=name: site.condition("nodetopologies", name, "Ready").get("status") is not None,  # type: ignore[misc]
            f"the operator to see {name}",
            SOON,
        )


def bound(site: Site, name: str, timeout: float = SOON) -> str:
    """Wait until a pod is bound and its reservation is taken over; return its node."""

    def look() -> str:
        allocation, value = site.allocation(name), site.pod(name)
        if value is None or allocation is None:
            return ""
        node: str = value["spec"].get("nodeName", "")
        reason = allocation["spec"]["decision"]["reason"]
        return node if node == allocation["spec"]["nodeName"] and reason == "Admitted" else ""

    found: str = until(look, f"{name} to be bound and decided\n{site.logs()}", timeout)
    return found


def gated(site: Site) -> list[str]:
    """Return the names of the pods that wait for podnuma."""
    found = site.api.items(f"/api/v1/namespaces/{site.namespace}/pods")
    return sorted(value["metadata"]["name"] for value in found if GATE in gates(value))
