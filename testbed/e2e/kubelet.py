"""Switch the virtual machine's kubelet between its defaults and its own resource managers.

The kubelet refuses to start when its policy differs from its state files, so these go; pods must have
been deleted before.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from testbed.waiting import until

if TYPE_CHECKING:
    from testbed.e2e.cluster import Cluster


class Managers(Enum):
    """Which configuration of `files/payload/etc/kubernetes` the kubelet runs with."""

    DEFAULT = "kubelet.yaml"
    OWN = "kubelet-resource-managers.yaml"


def switch(cluster: Cluster, managers: Managers) -> None:
    """Restart the kubelet with other resource managers and wait until it reports as ready again."""
    before = _heartbeat(cluster)
    configuration = f"/payload/etc/kubernetes/{managers.value}"
    cluster.shell(
        "systemctl stop kubelet && rm -f /var/lib/kubelet/{cpu,memory}_manager_state"
        f" && cp {configuration} /etc/kubernetes/kubelet.yaml && systemctl start kubelet"
    )
    until(lambda: _heartbeat(cluster) > before, "the kubelet to report after its restart", 240, 1)


def counts(metrics: str) -> dict[str, float]:
    """Return the resource_manager_* samples of metrics in text format, `name{labels}` -> value."""
    samples = {}
    for line in metrics.splitlines():
        if line.startswith("resource_manager_"):
            name, _, value = line.rpartition(" ")
            samples[name] = float(value)
    return samples


def _heartbeat(cluster: Cluster) -> str:
    """Return the time of the Ready condition's transition or heartbeat; it grows as text."""
    conditions = cluster.get("node", cluster.node)["status"]["conditions"]
    (ready,) = [entry for entry in conditions if entry["type"] == "Ready"]
    return str(ready["lastHeartbeatTime"]) if ready["status"] == "True" else ""
