"""Switch the virtual machine's kubelet between its defaults and its own resource managers.

A drop-in is added to its configuration, or all are taken away. The kubelet refuses to start when its
policy differs from its state files, so these go; pods must have been deleted before.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testbed.api import Json
    from testbed.e2e.cluster import Cluster

READY_SECONDS = 240


class Managers(Enum):
    """Which drop-in of `files/payload/etc/kubernetes` the kubelet runs with; "" is none."""

    DEFAULT = ""
    POD_SCOPE = "pod-scope.conf"
    CONTAINER_SCOPE = "container-scope.conf"


def switch(cluster: Cluster, managers: Managers) -> None:
    """Restart the kubelet with other resource managers and wait until it reports as ready again."""
    folder = "/etc/kubernetes/kubelet.d"
    added = f"cp /payload/etc/kubernetes/{managers.value} {folder}/ && " if managers.value else ""
    before = heartbeat(cluster)
    cluster.shell(
        "systemctl stop kubelet && cd /var/lib/kubelet && rm -f cpu_manager_state memory_manager_state"
        f" {folder}/*.conf && {added}systemctl start kubelet"
    )
    wait_reported(cluster, before)


def wait_reported(cluster: Cluster, before: str) -> None:
    """Wait until the kubelet has reported itself ready after the heartbeat `before`."""
    what = "the kubelet to report after its restart"
    cluster.awaited("node", cluster.node, lambda node: _heartbeat(node) > before, what, READY_SECONDS)


def counts(metrics: str) -> dict[str, float]:
    """Return the resource_manager_* samples of metrics in text format, `name{labels}` -> value.

    Under the names of v1.37, which are longer than those of v1.36, without the prefix "kubelet_".
    """
    samples = {}
    for line in metrics.splitlines():
        if line.removeprefix("kubelet_").startswith("resource_manager_"):
            name, _, value = line.removeprefix("kubelet_").rpartition(" ")
            samples[name.replace("container_assignments{", "container_assignments_total{")] = float(value)
    return samples


def heartbeat(cluster: Cluster) -> str:
    """Return the time of the Ready condition's heartbeat, which grows as text; "" if it is not ready."""
    return _heartbeat(cluster.get("node", cluster.node))


def _heartbeat(node: Json | None) -> str:
    conditions = node["status"]["conditions"] if node else []
    times = [
        str(entry["lastHeartbeatTime"])
        for entry in conditions
        if entry["type"] == "Ready" and entry["status"] == "True"
    ]
    return times[0] if times else ""
