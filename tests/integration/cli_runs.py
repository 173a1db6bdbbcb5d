"""`podnuma` as a process, and the one node that its tests on a real API server ask about."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from testbed.waiting import until
from tests.unit.cli.builders import allocation_object, database, topology_object

if TYPE_CHECKING:
    from testbed.control_plane import ControlPlane

ROOT = Path(__file__).resolve().parents[2]
PODNUMA = Path(sys.executable).with_name("podnuma")
EPYC = "epyc7401-2s-8numa-16l3"


def podnuma(*words: object, kubeconfig: Path) -> subprocess.CompletedProcess[str]:
    """Ask a cluster."""
    return subprocess.run(
        [PODNUMA, *map(str, words), "--kubeconfig", kubeconfig],
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )


def _untainted(cluster: ControlPlane) -> bool:
    cluster.kubectl("taint", "node", "node-a", "node.kubernetes.io/not-ready-", check=False)
    return not cluster.api.get("/api/v1/nodes/node-a")["spec"].get("taints")


def fill(cluster: ControlPlane, namespace: str) -> None:
    """Store a node with its hardware, and a pod that holds something there."""
    labels = {"node-pool": "databases"}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}}
    cluster.api.create({**node, "metadata": {"name": "node-a", "labels": labels}})
    # The API server taints every new node; so does the node controller, which remembers its name.
    ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": f"{dt.datetime.now(dt.UTC):%FT%TZ}"}
    cluster.api.apply({**node, "status": {"conditions": [ready]}}, subresource="status")
    until(lambda: _untainted(cluster), "node-a without taints", 30)
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
    containers = [
        {"name": "database", "verdict": "PinnedAtStart"},
        {"name": "backup", "verdict": "PinnedAtStart", "throttledPercent": 12},
    ]
    status = {"phase": "Applied", "containers": containers}
    keys = ("apiVersion", "kind", "metadata")
    named = {key: stored[key] for key in keys} | {"metadata": {"name": "database", "namespace": namespace}}
    cluster.api.apply({**named, "status": status}, subresource="status")
