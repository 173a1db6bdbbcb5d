"""The last scene: pods for which a node has CPUs enough in sum, and no NUMA node of it has.

A node of eight NUMA nodes with twelve CPUs each, and pods that need seven of one of them: after one pod per
NUMA node at most five CPUs are left in each, far more than seven in sum. A ninth pod without the scheduling
gate is bound there and refused, as on any cluster. One with the gate waits, and is bound when one of the
eight has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from testbed.demo.failure import DemoFailedError
from testbed.installation import NAMESPACE, OPERATOR_ACCOUNT
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testbed.api import Json
    from testbed.control_plane import ControlPlane
    from testbed.installation import Installation
    from testbed.kwok import Kwok

Answer = TypeVar("Answer")

NODE, MACHINE, POOL = "node-3", "epyc7401-2s-8numa-16l3", "placed"
GATED = {"schedulingGates": [{"name": "podnuma.dev/placement"}]}
WAITING, REFUSED = "WaitsForNode", "TopologyAffinityError"  # reasons of events
COUNT, CPUS = 8, 7  # one pod per NUMA node
RESERVED = frozenset({0, 1})  # for the system, in NUMA node 0
PODS = "/api/v1/namespaces/default/pods"
EVENTS = "/api/v1/namespaces/default/events"
WAIT_SECONDS = 45

# What `placement.enabled` adds to the operator's rights in the chart.
RIGHTS: list[dict[str, Any]] = [
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "podnuma-placement"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "podnuma-placement"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "podnuma-placement",
        },
        "subjects": [{"kind": "ServiceAccount", "name": OPERATOR_ACCOUNT, "namespace": NAMESPACE}],
    },
]

PROFILE = f"""
apiVersion: podnuma.dev/v1alpha1
kind: NodeProfile
metadata: {{name: {POOL}}}
spec:
  nodeSelector: {{matchLabels: {{node-pool: {POOL}}}}}
  cpuManagerPolicy: static
  topologyManagerPolicy: single-numa-node
  topologyManagerScope: pod
  reservedSystemCPUs: "{",".join(map(str, sorted(RESERVED)))}"
  placement: BeforeBinding
"""

POD = f"""
apiVersion: v1
kind: Pod
metadata: {{}}
spec:
  nodeSelector: {{node-pool: {POOL}}}
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  resources: {{limits: {{cpu: "{CPUS}", memory: 1Gi}}}}
  containers:
    - {{name: main, image: example}}
"""


class Scene:
    """The scene on a cluster whose operator places pods."""

    def __init__(self, cluster: ControlPlane, installation: Installation) -> None:
        self._api = cluster.api
        self._installation = installation

    def play(self, kwok: Kwok) -> Iterator[str]:
        """Yield a line for each thing that was done and seen; raise DemoFailedError if it is not so."""
        self._api.apply(yaml.safe_load(PROFILE))
        node = self._installation.add_node(kwok, NODE, MACHINE, {"node-pool": POOL})
        self._installation.start_agent(NODE).wait_ready()
        machine = node.machine
        yield (
            f"{NODE} is Ready: {len(machine.online)} CPUs, {len(machine.nodes)} NUMA nodes, "
            f"pool {POOL}, placement BeforeBinding"
        )
        names = [f"placed-{number}" for number in range(COUNT)]
        for name in names:
            self._create(name, GATED)
        for name in names:
            self._wait(lambda name=name: self._node_of(name), f"{name} to be bound")  # type: ignore[misc]
        free = [len(numa.cpus - RESERVED) - CPUS for numa in machine.nodes]
        yield (
            f"{COUNT} pods of {CPUS} CPUs run there, one in each NUMA node; {sum(free)} CPUs are free, "
            f"at most {max(free)} in one"
        )
        self._create("today", {})
        reason = self._wait(lambda: self._refusal("today"), "the pod without the gate to be refused")
        self._wait(lambda: self._api.find(f"{PODS}/today") is None, "it to be evicted")
        yield f"one more, without the gate as today: bound to {NODE}, refused there ({reason}) and evicted"
        self._create("late", GATED)
        told = self._wait(lambda: self._reason_to_wait("late"), "the last pod to be told why it waits")
        if self._node_of("late"):
            raise DemoFailedError("the pod that no NUMA node can hold was bound")
        yield f"with the gate it waits; {told.partition('; ')[2]}"
        self._api.delete(f"{PODS}/{names[0]}", grace_seconds=0)
        self._wait(lambda: self._node_of("late"), "it to be bound")
        refused = [name for name in (*names, "late") if self._refusal(name)]
        if refused:
            raise DemoFailedError(f"pods were refused although they were placed: {', '.join(refused)}")
        yield "checked: it was bound once another had ended; of the nine pods with the gate none was refused"

    def _create(self, name: str, gates: Json) -> None:
        pod = yaml.safe_load(POD)
        pod["metadata"]["name"] = name
        pod["spec"] |= gates
        self._api.create(pod, "default")

    def _wait(self, look: Callable[[], Answer | None], what: str) -> Answer:
        try:
            return until(look, what, WAIT_SECONDS)
        except TimeoutError as error:
            raise DemoFailedError(f"{error}\n{self._installation.logs()}") from error

    def _node_of(self, name: str) -> str:
        node: str = self._api.get(f"{PODS}/{name}")["spec"].get("nodeName", "")
        return node

    def _reason_to_wait(self, name: str) -> str:
        conditions = self._api.get(f"{PODS}/{name}").get("status", {}).get("conditions", [])
        return next((one["message"] for one in conditions if one.get("reason") == WAITING), "")

    def _refusal(self, name: str) -> str:
        """Return the reason of the event that says that a pod was refused; its pod may be gone."""
        found = self._api.items(EVENTS, fieldSelector=f"involvedObject.name={name},reason={REFUSED}")
        return REFUSED if found else ""
