"""The last scenario: podnuma comes late to running pods, then goes, and leaves nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testbed.e2e import pods
from testbed.e2e.observe import limits

if TYPE_CHECKING:
    from testbed.e2e.cluster import Cluster
    from testbed.e2e.product import Product


@pytest.mark.each_cell
def test_cleanup_leaves_the_node_as_if_podnuma_had_never_been_there(
    cluster: Cluster, podnuma: Product, untouched: dict[str, str]
) -> None:
    """Pods that ran before the agent came are pinned late; cleaned up, every cgroup file is as it was."""
    podnuma.without_agent()
    trio = [
        pods.pod("late-database", cluster.image, {"database": "3"}, budget="4", sidecars=["exporter"]),
        pods.pod("late-besteffort", cluster.image, {"app": None}),
        pods.pod("late-guaranteed", cluster.image, {"app": "500m"}),
    ]
    with cluster.running_at_once(*trio) as settled:
        before = limits(cluster.shell, settled) | untouched
        podnuma.with_agent()
        applied = podnuma.wait_applied("late-database", 120)
        assert {entry["verdict"] for entry in applied["status"]["containers"]} == {"PinnedLate"}
        during = limits(cluster.shell, settled)
        assert during != before
        podnuma.clean()
        after = limits(cluster.shell, settled)
    changed = {
        path: (value, after.get(path))
        for path, value in before.items()
        # The kubelet weighs the Burstable slice by the pods that are there, the agent's among them.
        if not path.endswith(("burstable.slice/cpu.weight", "burstable/cpu.weight"))
        and after.get(path) not in {value, unset_as_written(cluster, path, value)}
    }
    assert changed == {}


def unset_as_written(cluster: Cluster, path: str, value: str) -> str:
    """Return what stands for an empty set where something runs: Linux lets nobody empty it again."""
    name = path.rpartition("/")[2]
    if name in {"cpuset.cpus", "cpuset.mems"} and not value:
        return cluster.shell(f"cat /sys/fs/cgroup/{name}.effective").strip()
    return value
