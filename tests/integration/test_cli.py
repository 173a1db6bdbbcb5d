"""The command line against a real API server: what it reads, and what it says when it may or can not."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from podnuma.cli.exits import Exit

from testbed.api import ApiStatusError
from testbed.control_plane import ControlPlane
from testbed.waiting import until
from tests.unit.cli.builders import allocation_object, database, topology_object

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
PODNUMA = Path(sys.executable).with_name("podnuma")
EPYC = "epyc7401-2s-8numa-16l3"
OURS = "/apis/podnuma.dev/v1alpha1"


def podnuma(*words: object, kubeconfig: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PODNUMA, *map(str, words), "--kubeconfig", kubeconfig],
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )


@pytest.fixture
def filled(clean_cluster: ControlPlane, namespace: str) -> ControlPlane:
    """A node with its hardware, and a pod that holds something there."""
    cluster = clean_cluster
    cluster.api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}})
    topology = topology_object(EPYC, reserved="0,48")
    cluster.api.create({**topology, "status": {}})
    cluster.api.apply(topology, subresource="status")
    pod = yaml.safe_load((ROOT / "examples" / "pods" / "database.yaml").read_text())
    pod["metadata"]["namespace"], pod["spec"]["nodeName"] = namespace, "node-a"
    pod["spec"].pop("nodeSelector")
    made = cluster.api.create(pod)
    held = replace(database(), namespace=namespace, uid=made["metadata"]["uid"])
    allocation = allocation_object(held)
    stored = cluster.api.create(allocation)
    status = {"phase": "Applied", "containers": [{"name": "database", "verdict": "PinnedAtStart"}]}
    keys = ("apiVersion", "kind", "metadata")
    named = {key: stored[key] for key in keys} | {"metadata": {"name": "database", "namespace": namespace}}
    cluster.api.apply({**named, "status": status}, subresource="status")
    return cluster


def test_map_draws_what_the_cluster_holds(filled):
    done = podnuma("map", "node-a", kubeconfig=filled.kubeconfig)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "node-a  2 sockets · 8 NUMA nodes · 48 cores · 96 CPUs · 1 pod"
    assert lines[3:5] == ["    0-5  R A A  A a ·", "  48-53  R A A  A a ·"]


def test_map_of_all_nodes_for_programs(filled, namespace):
    done = podnuma("map", "-o", "json", kubeconfig=filled.kubeconfig)
    (node,) = json.loads(done.stdout)
    assert (node["node"], node["pods"]) == ("node-a", [f"{namespace}/database"])


def test_explain_reads_pod_allocation_and_node(filled, namespace):
    done = podnuma("explain", "pod", "database", "-n", namespace, kubeconfig=filled.kubeconfig)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"pod {namespace}/database on node-a: Applied\n")
    assert "QoS class Guaranteed, budget 8 CPU, 16Gi memory" in done.stdout
    assert "PinnedAtStart" in done.stdout


def test_plan_decides_beside_what_is_held(filled):
    done = podnuma("plan", "-f", ROOT / "examples" / "pods" / "database.yaml", kubeconfig=filled.kubeconfig)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[1][:3] == ["default/database", "node-a", "admitted"]
    assert rows[1][3] == "6-9,54-57"


def test_savings_need_nothing_of_podnuma(filled):
    done = podnuma("savings", "-A", kubeconfig=filled.kubeconfig)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 pod looked at, 1 with a budget already")
    assert "usage is not known here" in done.stderr


def test_top_tells_what_is_decided_where_nothing_is_measured(filled, namespace):
    done = podnuma("top", "-A", kubeconfig=filled.kubeconfig)
    assert done.returncode == 0, done.stderr
    rows = [line.split()[1:5] for line in done.stdout.splitlines()]
    assert [f"{namespace}/database", "database", "pod_exclusive", "1-3,49-51"] in rows
    assert "THROTTLED is not known on node-a" in done.stderr


def test_a_reading_user_may_ask_everything(filled, namespace):
    """The rights of `view` with what the chart adds to it."""
    filled.apply_files(ROOT / "deploy" / "kustomize" / "base" / "view.yaml")
    account: dict[str, Any] = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}}
    filled.api.create(account, namespace)
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
    }
    filled.api.create(binding)
    kubeconfig = filled.kubeconfig_for(namespace, "reader")
    try:
        answers: dict[str, Callable[[], subprocess.CompletedProcess[str]]] = {
            "map": lambda: podnuma("map", kubeconfig=kubeconfig),
            "explain": lambda: podnuma("explain", f"{namespace}/database", kubeconfig=kubeconfig),
            "savings": lambda: podnuma("savings", "-A", kubeconfig=kubeconfig),
        }
        codes = {name: ask().returncode for name, ask in answers.items()}
        assert codes == {"map": 0, "explain": 0, "savings": 0}
    finally:
        filled.api.delete("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/reader")
        filled.kubectl("delete", "-f", str(ROOT / "deploy" / "kustomize" / "base" / "view.yaml"))


def test_without_permission_it_says_which_one(filled, namespace):
    filled.api.create(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody"}}, namespace
    )
    done = podnuma("map", kubeconfig=filled.kubeconfig_for(namespace, "nobody"))
    assert done.returncode == Exit.FORBIDDEN
    (line,) = done.stderr.splitlines()
    assert line.startswith("not allowed to list nodetopologies.podnuma.dev: ")
    assert "`kubectl auth can-i list nodetopologies.podnuma.dev`" in line


def test_an_empty_cluster_says_where_topologies_come_from(clean_cluster):
    done = podnuma("map", kubeconfig=clean_cluster.kubeconfig)
    assert done.returncode == Exit.NOT_FOUND
    assert "see `kubectl get nodeprofiles`" in done.stderr


def test_a_cluster_without_podnuma_and_one_of_another_version_are_told_apart():
    with ControlPlane() as bare:
        done = podnuma("map", kubeconfig=bare.kubeconfig)
        assert done.returncode == Exit.NOT_SERVED
        assert done.stderr.startswith(
            "this cluster does not know nodetopologies.podnuma.dev: podnuma is not "
        )
        definition = yaml.safe_load((ROOT / "crds" / "nodetopologies.yaml").read_text())
        definition["spec"]["versions"][0]["name"] = "v2"
        bare.api.create(definition)
        until(lambda: _served(bare), "v2 to be served", 20)
        done = podnuma("map", kubeconfig=bare.kubeconfig)
        assert done.returncode == Exit.NOT_SERVED
        assert done.stderr.startswith("this cluster serves podnuma.dev in v2, this podnuma speaks v1alpha1; ")


def _served(cluster: ControlPlane) -> bool:
    try:
        return cluster.api.find("/apis/podnuma.dev/v2/nodetopologies") is not None
    except ApiStatusError:
        # 429 while the storage of a new definition is made.
        return False
