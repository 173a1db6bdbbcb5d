"""The nodes and pods of a cluster as the scheduler sees them: where a pod may go, what is requested there.

Of a node that no Node object describes only the name is known, and that it runs Linux, as all that podnuma
manages: everything but another `nodeName` or system may go there; whoever asks says so once (`unknown`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from podnuma.api.pod_needs import Needs, add, read_pod_needs
from podnuma.api.scheduling import (
    Obstacle,
    PodConstraints,
    SchedulableNode,
    obstacle,
    read_schedulable_node,
)
from podnuma.cli.objects.queries import Json

_LINUX = "linux"
_ENDED = ("Succeeded", "Failed")


@dataclass(slots=True)
class SchedulingView:
    """Nodes by name, and what their pods request together; `bind` adds a pod, `free` takes one away.

    `claimed`: extended resources that DeviceClasses serve.
    """

    nodes: Mapping[str, SchedulableNode] = field(default_factory=dict)
    requested: dict[str, Needs] = field(default_factory=dict)
    claimed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, nodes: Iterable[Json], pods: Iterable[Json]) -> "SchedulingView":
        """Take the objects of a cluster; pods that have ended request nothing."""
        view = cls({one.name: one for one in map(read_schedulable_node, nodes)})
        for pod in pods:
            node = (pod.get("spec") or {}).get("nodeName")
            if node and (pod.get("status") or {}).get("phase") not in _ENDED:
                view.requested[node] = add(view.requested.get(node, {}), read_pod_needs(pod))
        return view

    def obstacle(self, pod: PodConstraints, node: str) -> Obstacle | None:
        """Return what keeps a pod from a node; None: it may go there."""
        known = self.nodes.get(node)
        if known is None:
            other_name = pod.node_name not in ("", node)
            return Obstacle.NODE_NAME if other_name else None if pod.runs_on(_LINUX) else Obstacle.SYSTEM
        return obstacle(pod, known, self.requested.get(node, {}), self.claimed)

    def lacks(self, pod: PodConstraints) -> bool:
        """Whether a pod asks for an extended resource that some node has none of."""
        return any(
            "/" in resource and not (one.allocatable or {}).get(resource)
            for one in self.nodes.values()
            for resource in pod.requests
            if one.allocatable is not None
        )

    def bind(self, pod: PodConstraints, node: str) -> None:
        """Count what a pod requests on a node."""
        self.requested[node] = add(self.requested.get(node, {}), pod.requests)

    def free(self, needs: Needs, node: str) -> None:
        """Count no more what a pod of a node requests."""
        self.requested[node] = add(
            self.requested.get(node, {}), {name: -amount for name, amount in needs.items()}
        )

    def labels(self, node: str) -> Mapping[str, str] | None:
        """Return the labels of a node; None if it is unknown."""
        known = self.nodes.get(node)
        return known.labels if known else None

    def kubelet_version(self, node: str) -> str:
        """Return the version of a node's kubelet; "" if it is unknown."""
        known = self.nodes.get(node)
        return known.kubelet_version if known else ""
