"""What happens to nodes: restarts, reloads, outages, other hands. Nothing that runs is disturbed."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from testbed.e2e import kubelet, pods
from testbed.e2e.figures import agent_usage
from testbed.e2e.observe import container_id, parse_list
from testbed.e2e.sampling import sampled
from testbed.waiting import until

from .conftest import the_cell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testbed.api import Json
    from testbed.e2e.cluster import Cluster
    from testbed.e2e.observe import Cgroup
    from testbed.e2e.product import Product
    from testbed.e2e.target import MachineTarget

OUTAGE_SECONDS = 60
REST_SECONDS = 15
REPAIR_SECONDS = 60


class Held:
    """Two pods that hold CPUs and one that holds none, as they are when all is well."""

    def __init__(self, cluster: Cluster, settled: list[Json]) -> None:
        self.cluster = cluster
        self.pods = settled
        self.places = [
            (pod, entry["name"])
            for pod in settled
            for entry in (*pod["spec"].get("initContainers", []), *pod["spec"]["containers"])
        ]
        self.right = self.look()
        self.owners = {
            container_id(pod, name): (pod["metadata"]["uid"], cgroup.effective_cpus)
            for (pod, name), cgroup in zip(self.places, self.right, strict=True)
            if not pod["metadata"]["name"].startswith("shared")
        }

    def look(self) -> list[Cgroup]:
        """Return the containers' cgroups."""
        kernel = self.cluster.snapshot()
        return [kernel.container(pod, name) for pod, name in self.places]

    def repaired(self) -> None:
        """Wait until every value is what it was."""

        def check() -> bool:
            assert self.look() == self.right
            return True

        until(check, "all values to be as before", REPAIR_SECONDS, 0.5)


@pytest.fixture(scope="module")
def held(cluster: Cluster, podnuma: Product) -> Iterator[Held]:
    first = pods.pod("first", cluster.image, {"app": "2"}, budget="3", sidecars=["sidecar"])
    second = pods.pod("second", cluster.image, {"app": "2"})
    shared = pods.pod("shared", cluster.image, {"app": "500m"})
    with cluster.running(first, second, shared) as settled:
        podnuma.wait_applied("first")
        podnuma.wait_applied("second")
        yield Held(cluster, settled)


def undisturbed(cluster: Cluster, held: Held, disturb: Callable[[], object]) -> None:
    """Disturb; afterwards, and at every moment sampled, everything is as it was."""
    with sampled(cluster) as samples:
        disturb()
        held.repaired()
    assert samples.violations(held.owners) == []
    for moment, sets in samples.moments:
        for path, cpus in sets.items():
            own = next((cpus for name, (_, cpus) in held.owners.items() if name in path), None)
            assert own is None or cpus == own, f"{moment}: {path} on {sorted(cpus)}"


def test_the_agent_at_rest(held: Held, podnuma: Product, figures: list[str]) -> None:
    """Nothing happens for a while: the agent writes nothing and takes little."""
    before = writes(podnuma)
    with agent_usage(podnuma) as usage:
        time.sleep(REST_SECONDS)  # the time for which the agent is watched
    figures.append(f"agent at rest, emulated: {usage[0]}")
    held.repaired()
    assert writes(podnuma) == before


@pytest.mark.machine
@pytest.mark.each_cell
def test_systemd_daemon_reload(cluster: Cluster, held: Held) -> None:
    """systemd daemon-reload: every value is as before, at every moment."""
    undisturbed(cluster, held, lambda: cluster.shell("systemctl daemon-reload"))


@pytest.mark.machine
@pytest.mark.each_cell
def test_restart_of_the_kubelet(cluster: Cluster, held: Held) -> None:
    """Restart of the kubelet: every value is as before, at every moment."""

    def restart() -> None:
        before = kubelet.heartbeat(cluster)
        cluster.shell("systemctl restart kubelet")
        kubelet.wait_reported(cluster, before)

    undisturbed(cluster, held, restart)


@pytest.mark.machine
@pytest.mark.each_cell
def test_restart_of_the_runtime(cluster: Cluster, held: Held, podnuma: Product) -> None:
    """Restart of containerd: every value is as before, at every moment; the agent is connected again."""

    way = "NRI" if the_cell().has_nri else "CRI"

    def restart() -> None:
        cluster.shell("systemctl restart containerd")
        # The next pod is pinned at its start again only if the plugin is back.
        cluster.awaited(
            "nodetopology", cluster.node, lambda now: now and way in str(now["status"]["agent"]), way, 120
        )

    undisturbed(cluster, held, restart)
    podnuma.wait_condition("RuntimeConnected", "True")


@pytest.mark.each_cell
def test_restart_of_the_agent(cluster: Cluster, held: Held, podnuma: Product) -> None:
    """The agent's pod deleted and replaced: every value is as before, at every moment."""

    def restart() -> None:
        name = podnuma.agent_pod()["metadata"]["name"]
        cluster.run_anywhere("--namespace=podnuma-system", "delete", "pod", name, timeout=300)
        podnuma.wait_agent()

    undisturbed(cluster, held, restart)


def test_agent_killed_in_the_middle_of_a_change(cluster: Cluster, held: Held, podnuma: Product) -> None:
    """SIGKILL of the agent while a pod arrives: it has its CPUs in the end, none was ever given twice."""
    pod = pods.pod("arriving", cluster.image, {"app": "2"}, budget="3", sidecars=["sidecar"])

    def arrive() -> None:
        cluster.start(pod)
        cluster.awaited("podallocation", "arriving", lambda now: now, "the decision", 60)
        podnuma.kill_agent()
        cluster.settled("arriving")
        podnuma.wait_applied("arriving", 240)
        now = cluster.snapshot()
        arrived = cluster.get("pod", "arriving")
        own = now.container(arrived, "app").effective_cpus
        assert len(own) == 2
        cluster.delete("arriving")

    with sampled(cluster) as samples:
        arrive()
        held.repaired()
    # What starts while no agent is there has no set at all until one is: docs/concepts.md says so.
    everything = parse_list(cluster.shell("cat /sys/fs/cgroup/cpuset.cpus.effective"))
    assert samples.violations(held.owners, unconfined=everything) == []


@pytest.mark.machine
def test_api_server_gone_for_a_minute(cluster: Cluster, held: Held, machine: MachineTarget) -> None:
    """No API server for a minute: every value is as before, and what others change is still repaired."""

    def outage() -> None:
        with machine.control_plane.apiserver_gone():
            ends = time.monotonic() + OUTAGE_SECONDS
            drift_of_container(cluster, held)
            held.repaired()
            time.sleep(max(0, ends - time.monotonic()))  # the outage itself

    outage()
    held.repaired()


def drift_of_container(cluster: Cluster, held: Held) -> None:
    """Widen the cpuset of the first pod's application by hand to its pod's."""
    path = next(
        cgroup.path
        for (pod, name), cgroup in zip(held.places, held.right, strict=True)
        if (pod["metadata"]["name"], name) == ("first", "app")
    )
    cluster.shell(f"cat /sys/fs/cgroup/{path}/../cpuset.cpus.effective > /sys/fs/cgroup/{path}/cpuset.cpus")


@pytest.mark.smoke
@pytest.mark.each_cell
def test_drift_of_a_container_is_repaired(cluster: Cluster, held: Held, podnuma: Product) -> None:
    """The cpuset of an exclusive container widened by hand: narrowed again, and counted."""
    before = repairs(podnuma)
    drift_of_container(cluster, held)
    held.repaired()
    assert repairs(podnuma) > before


@pytest.mark.each_cell
def test_drift_of_a_slice_is_repaired(cluster: Cluster, held: Held) -> None:
    """The BestEffort slice opened to all CPUs by hand: confined again."""
    slices = ("kubepods.slice/kubepods-besteffort.slice", "kubepods/besteffort")
    path = cluster.shell(f"cd /sys/fs/cgroup && ls -d {' '.join(slices)} 2>/dev/null; true").strip()
    path = f"/sys/fs/cgroup/{path}"
    right = cluster.shell(f"cat {path}/cpuset.cpus.effective")
    cluster.shell(f"cat {path}/../cpuset.cpus.effective > {path}/cpuset.cpus")
    until(
        lambda: cluster.shell(f"cat {path}/cpuset.cpus.effective") == right,
        "the slice to be confined again",
        REPAIR_SECONDS,
        0.5,
    )
    held.repaired()


def repairs(podnuma: Product) -> float:
    """Return how many drifts the agent has repaired."""
    return total(podnuma, "podnuma_drift_repairs_total")


def writes(podnuma: Product) -> float:
    """Return how many cgroup writes the agent has made or tried."""
    return total(podnuma, "podnuma_writes_total")


def writes_done(podnuma: Product) -> float:
    """Return how many cgroup writes the agent has made."""
    return total(podnuma, "podnuma_writes_total", 'outcome="done"')


def total(podnuma: Product, counter: str, labels: str = ".*") -> float:
    """Return the sum of a counter over the labels that the pattern matches."""
    found = re.findall(rf"^{counter}\{{{labels}\}} ([0-9.e+]+)$", podnuma.agent_metrics(), re.MULTILINE)
    return sum(map(float, found))
