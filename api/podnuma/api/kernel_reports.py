"""What a PodAllocation says of the kernel, and whether that still holds.

The values are those of the agent's last report. If no report follows, because podnuma was uninstalled, the
agent is silent or the node is gone, nobody knows what the kernel has now. In Audit nothing is written, so no
container counts as late or unpinned.
"""

from podnuma.api.conditions import READY, Status, find
from podnuma.api.node_conditions import NodeCondition, NodeReason
from podnuma.api.node_topology import NodeTopology
from podnuma.api.pod_allocation_status import ContainerStatus, Phase, PodAllocationStatus

UNINSTALLED = Phase.UNINSTALLED.value
"""Reason of Ready and AgentReady where podnuma was uninstalled and its cgroups were given back."""


def shown_verdict(status: PodAllocationStatus, container: ContainerStatus) -> str:
    """Return the word for whether a container is pinned."""
    return Phase.AUDIT.value if status.phase is Phase.AUDIT else container.verdict.value


def values_unknown(status: PodAllocationStatus, node: NodeTopology | None) -> str:
    """Say why what a status says of the kernel is old, and since when; empty if it is not.

    `node`: where the pod is; None if that may not be read.
    """
    if status.phase is Phase.RELEASED:
        return f"{Phase.RELEASED.value}: the pod has ended"
    if status.phase is Phase.UNINSTALLED:
        ready = find(status.conditions, READY)
        return values_unknown_since(UNINSTALLED, ready.last_transition_time if ready is not None else "")
    if node is None:
        return ""
    agent, ready = (find(node.conditions, one) for one in (NodeCondition.AGENT_READY, READY))
    if agent is not None and agent.status is Status.UNKNOWN and agent.reason == UNINSTALLED:
        return values_unknown_since(UNINSTALLED, agent.last_transition_time)
    if ready is not None and ready.reason == NodeReason.AGENT_SILENT:
        return values_unknown_since(NodeReason.AGENT_SILENT, node.agent.heartbeat_time if node.agent else "")
    return ""


def values_unknown_since(why: str, since: str) -> str:
    """Say that values are unknown, and since when; `since` empty: that is unknown, too."""
    return f"{why}: values unknown" + (f" since {since}" if since else "")
