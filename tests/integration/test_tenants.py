"""What three service accounts are told: an administrator, one with `view` in a namespace, one without rights.

Each command either answers with what the account may read, saying what it left out, or names the right that
is missing; nobody is asked for more than the roles that the chart gives.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from podnuma.allocator import cpuset
from podnuma.api.node_allocation import NodeAllocation, NodeFree
from podnuma.api.node_topology import render_operator_status
from podnuma.api.resource_types import NODE_TOPOLOGY
from podnuma.cli.exits import Exit

from testbed.waiting import until
from tests.integration import helm_chart
from tests.integration.cli_runs import ROOT, podnuma

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.control_plane import ControlPlane

RIGHTS = "rbac.authorization.k8s.io"
DATABASE = ROOT / "examples" / "pods" / "database.yaml"
# The database has 1-3,49-51; somebody else's pod in a namespace of its own has the rest.
HELD = "1-3,6-8,49-51,54-56"
OK, NO, FORBIDDEN = Exit.OK, Exit.NO, Exit.FORBIDDEN


def bind(cluster: ControlPlane, namespace: str, account: str, role: str, *, everywhere: bool) -> None:
    kind = "ClusterRoleBinding" if everywhere else "RoleBinding"
    binding = {
        "apiVersion": f"{RIGHTS}/v1",
        "kind": kind,
        "metadata": {"name": f"{namespace}-{account}", "labels": {"of": namespace}},
        "roleRef": {"apiGroup": RIGHTS, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }
    cluster.api.create(binding, "" if everywhere else namespace)


@pytest.fixture
def accounts(filled: ControlPlane, namespace: str, helm: Path) -> Iterator[dict[str, Path]]:
    """The kubeconfigs of the three, with the chart's reading rights in force."""
    held = cpuset.parse(HELD)
    pool = cpuset.CpuSet(cpuset.parse("0-95") & ~held)
    free = tuple(NodeFree(node, cpuset.EMPTY) for node in range(8))
    given = NodeAllocation(cpuset.parse("0,48"), held, pool, pods=2, rejected=0, nodes=free)
    body = {**NODE_TOPOLOGY.type_meta, "metadata": {"name": "node-a"}}
    body["status"] = render_operator_status(given, 1, ())
    filled.api.apply(body, subresource="status", manager="podnuma-operator")
    for one in rights(helm):
        filled.api.apply(one)  # another test of this control plane may have left them
    kubeconfigs = {}
    for account in ("administrator", "tenant", "nobody"):
        filled.api.create(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}, namespace
        )
        kubeconfigs[account] = filled.kubeconfig_for(namespace, account)
    bind(filled, namespace, "administrator", "cluster-admin", everywhere=True)
    bind(filled, namespace, "tenant", "view", everywhere=False)
    # The API server aggregates roles and hears of bindings a moment later.
    until(lambda: answers(kubeconfigs["administrator"], "-A"), "rights of the administrator", 30)
    until(lambda: answers(kubeconfigs["tenant"], "-n", namespace), "rights of the tenant", 30)
    yield kubeconfigs
    filled.kubectl("delete", "clusterrolebinding", "-l", f"of={namespace}")
    for one in rights(helm, "view.nodesForEveryone=true"):
        filled.kubectl("delete", one["kind"], one["metadata"]["name"], "--ignore-not-found")


def answers(kubeconfig: Path, *words: str) -> bool:
    return podnuma("top", *words, kubeconfig=kubeconfig).returncode == OK


def rights(helm: Path, *values: str) -> list[dict[str, Any]]:
    """What the chart has for people, as a user of helm renders it."""
    return helm_chart.rendered(helm, *values, options=("--show-only", "templates/view.yaml"))


def commands(namespace: str) -> dict[str, tuple[object, ...]]:
    """Every command that asks a cluster, as somebody in a namespace would type it."""
    return {
        "explain": ("explain", "database", "-n", namespace),
        "top": ("top", "-n", namespace),
        "savings": ("savings", "-n", namespace),
        "locality": ("locality", "-n", namespace),
        "top -A": ("top", "-A"),
        "map": ("map", "node-a", "-n", namespace),
        "nodes": ("nodes",),
        "plan": ("plan", "-f", DATABASE, "-n", namespace),
        "profile suggest": ("profile", "suggest", "node-a"),
        "check": ("check",),
    }


def codes(kubeconfig: Path, namespace: str) -> dict[str, int]:
    return {
        name: podnuma(*words, kubeconfig=kubeconfig).returncode for name, words in commands(namespace).items()
    }


def test_an_administrator_is_told_everything(accounts, namespace):
    found = codes(accounts["administrator"], namespace)
    assert found == dict.fromkeys(found, OK)


def test_a_tenant_is_told_of_the_namespace_and_which_rights_the_rest_needs(accounts, namespace):
    kubeconfig = accounts["tenant"]
    found = codes(kubeconfig, namespace)
    of_the_namespace = dict.fromkeys(("explain", "top", "savings", "locality"), OK)
    of_nodes = dict.fromkeys(("top -A", "map", "nodes", "plan", "profile suggest"), FORBIDDEN)
    assert found == {**of_the_namespace, **of_nodes, "check": NO}
    explained = podnuma("explain", "database", "-n", namespace, kubeconfig=kubeconfig)
    assert explained.stderr == "you may not get NodeTopology node-a: what would be decided now is left out\n"
    rows = table(podnuma("top", "-n", namespace, kubeconfig=kubeconfig))
    assert {row[2]: row[7] for row in rows[1:]} == {"database": "-", "backup": "12%", "metrics": "-"}
    for words in (("nodes",), ("map",)):
        (line,) = podnuma(*words, kubeconfig=kubeconfig).stderr.splitlines()
        assert line.startswith("not allowed to list nodetopologies.podnuma.dev: ")
        assert "`kubectl auth can-i list nodetopologies.podnuma.dev`" in line


def test_a_stranger_is_told_which_right_is_missing_and_nothing_else(accounts, namespace):
    found = codes(accounts["nobody"], namespace)
    assert found == {**dict.fromkeys(found, FORBIDDEN), "check": NO}
    for words in commands(namespace).values():
        done = podnuma(*words, kubeconfig=accounts["nobody"])
        if words[0] != "check":
            assert done.stdout == ""
            assert "not allowed to " in done.stderr, words


def test_where_everyone_may_see_nodes_a_tenant_sees_them_without_the_pods_of_others(
    accounts, filled, namespace, helm
):
    for one in rights(helm, "view.nodesForEveryone=true"):
        filled.api.apply(one)
    kubeconfig = accounts["tenant"]
    until(lambda: podnuma("nodes", kubeconfig=kubeconfig).returncode == OK, "rights", 30)
    found = codes(kubeconfig, namespace)
    answered = ("explain", "top", "savings", "locality", "map", "nodes", "profile suggest")
    assert found == {
        **dict.fromkeys(answered, OK),
        **dict.fromkeys(("top -A", "plan"), FORBIDDEN),
        "check": NO,
    }
    done = podnuma("map", "node-a", "-n", namespace, "-o", "json", kubeconfig=kubeconfig)
    assert done.stderr.startswith("you may not list podallocations.podnuma.dev of all namespaces: ")
    (node,) = json.loads(done.stdout)["items"]
    shares = {(one["hold"], one["cpus"]) for zone in node["numaNodes"] for one in zone["shares"]}
    assert ("other pods", "6-8,54-56") in shares
    assert node["pods"] == [{"namespace": namespace, "name": "database"}]


def table(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    assert done.returncode == OK, done.stderr
    return [line.split() for line in done.stdout.splitlines()]
