"""The third scene: pods that the scheduler alone would bind to a node that refuses them.

A node of eight NUMA nodes with eight CPUs each, and pods that need five CPUs of one of them: after one pod
per NUMA node three CPUs are left on each, more than enough in sum, and too few anywhere. With placement the
next pod is not bound: it waits, says why, and is bound when one of the others has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from testbed.cleanup import GROUP
from testbed.demo.failure import DemoFailedError
from testbed.installation import NAMESPACE, OPERATOR_ACCOUNT
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.control_plane import ControlPlane
    from testbed.installation import Installation
    from testbed.kwok import Kwok

NODE, MACHINE, POOL = "node-3", "epyc7401-2s-8numa-16l3", "placed"
COUNT = 8  # one pod per NUMA node
PODS = "/api/v1/namespaces/default/pods"
WAIT_SECONDS = 45

# What `placement.enabled` adds to the operator's rights in the chart.
RIGHTS = f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: podnuma-placement}}
rules:
  - {{apiGroups: [""], resources: [pods], verbs: [patch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: podnuma-placement}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: podnuma-placement}}
subjects:
  - {{kind: ServiceAccount, name: {OPERATOR_ACCOUNT}, namespace: {NAMESPACE}}}
"""

PROFILE = f"""
apiVersion: podnuma.dev/v1alpha1
kind: NodeProfile
metadata: {{name: {POOL}}}
spec:
  nodeSelector: {{matchLabels: {{node-pool: {POOL}}}}}
  cpuManagerPolicy: static
  topologyManagerPolicy: single-numa-node
  topologyManagerScope: pod
  reservedSystemCPUs: "0-1"
  placement: BeforeBinding
"""

POD = f"""
apiVersion: v1
kind: Pod
metadata: {{name: NAME}}
spec:
  schedulingGates: [{{name: podnuma.dev/placement}}]
  nodeSelector: {{node-pool: {POOL}}}
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  resources: {{limits: {{cpu: "5", memory: 1Gi}}}}
  containers:
    - {{name: main, image: example}}
"""


def play(
    cluster: ControlPlane,
    installation: Installation,
    kwok: Kwok,
    head: Callable[[str], None],
    say: Callable[[str], None],
) -> None:
    """Fill the node, let one more pod wait, and end one of the others; raise DemoFailedError if not."""
    head("Pods that the scheduler alone would bind to a node that refuses them")
    for manifest in (*yaml.safe_load_all(RIGHTS), yaml.safe_load(PROFILE)):
        cluster.api.apply(manifest)
    node = installation.add_node(kwok, NODE, MACHINE, {"node-pool": POOL})
    installation.start_agent(NODE).wait_ready()
    say(f"{NODE} is Ready: {len(node.machine.online)} CPUs, {len(node.machine.nodes)} NUMA nodes")
    names = [f"placed-{number}" for number in range(COUNT)]
    for name in names:
        _create(cluster, name)
    for name in names:
        until(lambda name=name: _node_of(cluster, name), f"{name} to be bound", WAIT_SECONDS)  # type: ignore[misc]
    left = len(node.machine.online) - 5 * COUNT
    say(f"{COUNT} pods of 5 CPUs are bound, one per NUMA node; {left} CPUs are left, at most 3 on each")
    _create(cluster, "late")
    told = until(lambda: _waits(cluster, "late"), "the ninth pod to be told why it waits", WAIT_SECONDS)
    say(f"the ninth pod waits: {told}")
    if _node_of(cluster, "late"):
        raise DemoFailedError("the pod that no NUMA node can hold was bound")
    cluster.api.delete(f"{PODS}/{names[0]}", grace_seconds=0)
    until(lambda: _node_of(cluster, "late"), f"late to be bound\n{installation.logs()}", WAIT_SECONDS)
    refused = [
        value["metadata"]["name"]
        for value in cluster.api.items(f"{GROUP}/podallocations")
        if not value["spec"]["decision"]["admitted"]
    ]
    if refused:
        raise DemoFailedError(f"pods were refused although they were placed: {', '.join(refused)}")
    say("checked: nine pods asked, none was refused; the one without room waited for another to end")


def _create(cluster: ControlPlane, name: str) -> None:
    cluster.api.create(yaml.safe_load(POD.replace("NAME", name)), "default")


def _node_of(cluster: ControlPlane, name: str) -> str:
    node: str = cluster.api.get(f"{PODS}/{name}")["spec"].get("nodeName", "")
    return node


def _waits(cluster: ControlPlane, name: str) -> str:
    conditions = cluster.api.get(f"{PODS}/{name}").get("status", {}).get("conditions", [])
    return next((one["message"] for one in conditions if one.get("reason") == "WaitsForNode"), "")
