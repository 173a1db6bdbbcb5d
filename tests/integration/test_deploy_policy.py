"""A stolen token of one node's agent is worth nothing on another node, on the real API server."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from podnuma.api.node_topology import registration

from testbed.api import Api, ApiStatusError
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testbed.control_plane import ControlPlane

RBAC = Path(__file__).resolve().parents[2] / "deploy" / "rbac"
SYSTEM = "podnuma-system"
OURS = "/apis/podnuma.dev/v1alpha1"


def topology(node: str) -> dict[str, Any]:
    return {
        "apiVersion": "podnuma.dev/v1alpha1",
        "kind": "NodeTopology",
        "metadata": {"name": node},
        "spec": {},
    }


def allocation(node: str, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "podnuma.dev/v1alpha1",
        "kind": "PodAllocation",
        "metadata": {"name": f"pod-on-{node}", "namespace": namespace},
        "spec": {
            "podUID": f"uid-{node}",
            "nodeName": node,
            "scope": "pod",
            "summary": {"cpus": "-", "numa": "-", "exclusive": "-", "shared": "-"},
            "decision": {"admitted": True, "reason": "Admitted", "checksum": "c"},
        },
    }


def report(manifest: dict[str, Any], **status: Any) -> dict[str, Any]:
    """The body with which an agent applies its part of a status."""
    return {key: manifest[key] for key in ("apiVersion", "kind", "metadata")} | {"status": status}


@pytest.fixture
def nodes(clean_cluster: ControlPlane, namespace: str) -> Iterator[ControlPlane]:
    """Nodes a and b with their objects, and the shipped accounts, rights and policy."""
    cluster = clean_cluster
    cluster.apply_files(RBAC / "namespace.yaml")
    cluster.apply_files(RBAC)
    for node in ("node-a", "node-b"):
        cluster.api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
        cluster.api.create(topology(node))
        cluster.api.create(allocation(node, namespace))
    with cluster.api_for(SYSTEM, "podnuma-agent", node="node-a") as stolen:
        # A policy takes a moment to be in force.
        until(lambda: refused(stolen, topology("node-b")) is not None, "the policy refuses", 30)
    yield cluster
    cluster.kubectl("delete", "-f", str(RBAC / "agent-policy.yaml"))


def refused(agent: Api, manifest: dict[str, Any]) -> ApiStatusError | None:
    """Why the status cannot be written, or None if it was."""
    try:
        agent.apply(report(manifest), manager="podnuma-agent", subresource="status")
    except ApiStatusError as error:
        return error
    return None


@pytest.fixture
def agent_a(nodes: ControlPlane) -> Iterator[Api]:
    with nodes.api_for(SYSTEM, "podnuma-agent", node="node-a") as agent:
        yield agent


def test_an_agent_writes_the_status_of_its_own_node(agent_a, nodes, namespace):
    agent_a.apply(
        report(topology("node-a"), agent={"version": "0.1.0"}), manager="podnuma-agent", subresource="status"
    )
    agent_a.apply(
        report(allocation("node-a", namespace), phase="Applied"),
        namespace,
        manager="podnuma-agent",
        subresource="status",
    )
    assert nodes.api.get(f"{OURS}/nodetopologies/node-a")["status"]["agent"] == {"version": "0.1.0"}
    stored = nodes.api.get(f"{OURS}/namespaces/{namespace}/podallocations/pod-on-node-a")
    assert stored["status"]["phase"] == "Applied"


def test_an_agent_registers_its_own_node_and_asks_for_nothing(agent_a, nodes):
    nodes.api.delete(f"{OURS}/nodetopologies/node-a")
    wanted = registration("node-a")
    for spec in (
        {"mode": "Enforce"},
        {"mode": "Audit", "cpuManagerPolicy": "static", "reservedSystemCPUs": "0-1"},
        {"mode": "Audit", "profile": {"name": "databases", "generation": 1}},
    ):
        with pytest.raises(ApiStatusError) as refusal:
            agent_a.create({**wanted, "spec": spec})
        assert "an agent makes a NodeTopology without settings only" in refusal.value.message
    with pytest.raises(ApiStatusError) as refusal:
        agent_a.create(registration("node-c"))
    assert "the agent of node node-a may not write NodeTopology node-c" in refusal.value.message
    agent_a.create(wanted)
    stored = nodes.api.get(f"{OURS}/nodetopologies/node-a")
    assert (stored["spec"]["mode"], stored["spec"]["cpuManagerPolicy"]) == ("Audit", "none")


def test_a_stolen_token_can_not_write_another_nodes_topology(agent_a):
    error = refused(agent_a, topology("node-b"))
    assert error is not None
    assert (error.code, error.reason) == (403, "Forbidden")
    assert "the agent of node node-a may not write NodeTopology node-b" in error.message


def test_a_stolen_token_can_not_write_allocations_of_another_node(agent_a, nodes, namespace):
    with pytest.raises(ApiStatusError) as refusal:
        agent_a.apply(
            report(allocation("node-b", namespace), phase="Released"),
            namespace,
            manager="podnuma-agent",
            subresource="status",
        )
    assert refusal.value.code == 403
    assert f"may not write PodAllocation {namespace}/pod-on-node-b" in refusal.value.message
    stored = nodes.api.get(f"{OURS}/namespaces/{namespace}/podallocations/pod-on-node-b")
    assert stored["status"]["phase"] == "Pending"


def test_a_merge_patch_is_no_way_around(agent_a):
    with pytest.raises(ApiStatusError) as refusal:
        agent_a.merge(f"{OURS}/nodetopologies/node-b/status", {"status": {"agent": {"version": "evil"}}})
    assert refusal.value.code == 403


def test_an_agent_can_not_write_anything_but_status(agent_a, namespace):
    for manifest in (topology("node-a"), allocation("node-a", namespace)):
        with pytest.raises(ApiStatusError) as refusal:
            agent_a.apply(manifest, namespace, manager="podnuma-agent")
        assert refusal.value.code == 403


def test_the_policy_alone_refuses_all_but_status_even_if_rights_were_too_wide(nodes, namespace):
    nodes.api.create(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "too-wide"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [{"kind": "ServiceAccount", "name": "podnuma-agent", "namespace": SYSTEM}],
        }
    )
    try:
        with nodes.api_for(SYSTEM, "podnuma-agent", node="node-a") as agent:
            attempts: tuple[Callable[[], object], ...] = (
                lambda: agent.apply(topology("node-a"), manager="podnuma-agent"),
                lambda: agent.delete(f"{OURS}/namespaces/{namespace}/podallocations/pod-on-node-a"),
                lambda: agent.create(allocation("node-c", namespace)),
            )
            for attempt in attempts:
                error = until(partial(_message, attempt), "a refusal", 30)
                assert "agents write nothing but the status of NodeTopologies and PodAllocations" in error
    finally:
        nodes.api.delete("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/too-wide")


def _message(attempt: Callable[[], object]) -> str | None:
    """The policy's refusal; None while the wide rights are not in force yet."""
    try:
        attempt()
    except ApiStatusError as error:
        return error.message if "ValidatingAdmissionPolicy" in error.message else None
    raise AssertionError("an agent wrote what it must not")


def test_a_token_without_a_node_is_refused(nodes):
    with nodes.api_for(SYSTEM, "podnuma-agent") as anonymous:
        error = refused(anonymous, topology("node-a"))
    assert error is not None
    assert "the token of this agent names no node" in error.message


def test_the_policy_is_about_agents_only(nodes):
    with nodes.api_for(SYSTEM, "podnuma-operator") as operator:
        operator.apply(
            report(topology("node-b"), summary={"pods": "3"}),
            manager="podnuma-operator",
            subresource="status",
        )
    assert nodes.api.get(f"{OURS}/nodetopologies/node-b")["status"]["summary"]["pods"] == "3"
