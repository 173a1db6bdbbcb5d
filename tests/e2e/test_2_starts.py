"""Containers are on their CPUs from the first instruction on: in a crowd, again and again, however short."""

from __future__ import annotations

import json
from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from testbed.e2e import first_output, pods
from testbed.e2e.cluster import is_ready
from testbed.e2e.figures import agent_usage, hook_wait, phases, quantile
from testbed.e2e.observe import container_id
from testbed.e2e.quotas import Throttling, throttling, watched
from testbed.e2e.sampling import median, sampled
from testbed.waiting import until

from .conftest import say

if TYPE_CHECKING:
    from testbed.api import Json
    from testbed.e2e.cluster import Cluster
    from testbed.e2e.observe import Snapshot
    from testbed.e2e.product import Product

pytestmark = pytest.mark.each_cell
# Every look costs the emulated machine time that starting pods need.
CROWD_PERIOD = "100ms"
BURN = "exec probe burn 2"
USED_SECONDS = 0.3
MIXED = [f"mixed-{number}" for number in range(6)]


def mixed(name: str, image: str) -> Json:
    """A budget of 2 CPUs: one for the application alone, one for its sidecar; an init container of 50 ms."""
    return pods.pod(name, image, {"app": "1"}, budget="2", sidecars=["sidecar"], inits=["init"])


def others(image: str) -> list[Json]:
    """Fourteen pods that hold no CPU: BestEffort, Burstable, and Guaranteed with half a CPU."""
    kinds = {"best-effort": None, "guaranteed": "500m"}
    made = [
        pods.pod(f"{kind}-{number}", image, {"app": cpus})
        for kind, cpus in kinds.items()
        for number in range(5)
    ]
    burstable = [pods.pod(f"burstable-{number}", image, {"app": None}) for number in range(4)]
    for pod in burstable:
        pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "100m"}}
    return made + burstable


def used(cluster: Cluster, path: str) -> float:
    """Return the seconds of CPU time that a cgroup has used."""
    text = cluster.shell(f"cat /sys/fs/cgroup/{path}/cpu.stat")
    return int(dict(line.split() for line in text.splitlines())["usage_usec"]) / 1e6


def check_mixed(
    cluster: Cluster, settled: list[Json], kernel: Snapshot
) -> dict[str, tuple[str, frozenset[int]]]:
    """Check the sets of mixed pods, and that their containers had them when they began.

    Returns the owners for `Samples.violations`.
    """
    owners = check_sets(settled, kernel)
    said = first_output.read_all(cluster)
    for pod in settled:
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        app, sidecar = kernel.container(pod, "app"), kernel.container(pod, "sidecar")
        own = app.effective_cpus | sidecar.effective_cpus
        assert said[uid, "app"][0].cpus == app.effective_cpus, f"first words of {name}/app"
        assert said[uid, "app"][0].mems == app.effective_mems
        assert said[uid, "sidecar"][0].cpus == sidecar.effective_cpus, f"first words of {name}/sidecar"
        assert said[uid, "init"][0].cpus <= own, f"first words of {name}/init"
    return owners


def check_sets(settled: list[Json], kernel: Snapshot) -> dict[str, tuple[str, frozenset[int]]]:
    """Every mixed pod has one CPU for the application and one for its sidecar, in one NUMA node.

    Returns the owners for `Samples.violations`.
    """
    taken: dict[str, frozenset[int]] = {}
    owners = {}
    for pod in settled:
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        app, sidecar = kernel.container(pod, "app"), kernel.container(pod, "sidecar")
        assert len(app.effective_cpus) == 1, f"{name}: {app}"
        assert len(sidecar.effective_cpus) == 1, f"{name}: {sidecar}"
        assert not app.effective_cpus & sidecar.effective_cpus
        own = app.effective_cpus | sidecar.effective_cpus
        assert len({cpu // 8 for cpu in own}) == 1, f"{name} is spread over NUMA nodes: {sorted(own)}"
        assert app.effective_mems == frozenset(cpu // 8 for cpu in own)
        taken[name] = own
        for container, cgroup in (("app", app), ("sidecar", sidecar)):
            owners[container_id(pod, container)] = (uid, cgroup.effective_cpus)
    for one, other in combinations(taken, 2):
        assert not taken[one] & taken[other], f"{one} and {other} share CPUs"
    return owners


@pytest.mark.nri
def test_twenty_pods_at_once_start_right(cluster: Cluster, podnuma: Product, figures: list[str]) -> None:
    """20 pods at once, 32 starts: first words right, own CPUs disjoint and in one node, others off them."""
    waits = hook_wait(podnuma.agent_metrics())
    crowd = [*(mixed(name, cluster.image) for name in MIXED), *others(cluster.image)]
    with (
        sampled(cluster, CROWD_PERIOD) as samples,
        phases(cluster) as seen,
        agent_usage(podnuma) as usage,
        cluster.running_at_once(*crowd) as settled,
    ):
        for pod in settled:
            assert is_ready(pod), pod["status"]
        for name in MIXED:
            podnuma.wait_applied(name)
        kernel = cluster.snapshot()
        holders = [pod for pod in settled if pod["metadata"]["name"] in MIXED]
        owners = check_mixed(cluster, holders, kernel)
        exclusive = frozenset().union(*(cpus for _, cpus in owners.values()))
        for pod in settled:
            if pod not in holders:
                assert not kernel.container(pod, "app").effective_cpus & exclusive
        verdicts = [
            (name, entry["name"], entry["verdict"])
            for name in MIXED
            for entry in (podnuma.allocation(name) or {})["status"]["containers"]
        ]
    assert samples.violations(owners) == []
    assert [verdict for verdict in verdicts if verdict[2] != "PinnedAtStart"] == []
    now = hook_wait(podnuma.agent_metrics())
    risen = {bound: count - waits.get(bound, 0) for bound, count in now.items()}
    applied = seen.waits()
    longest = max(applied, default=0)
    reports = seen.reports()
    figures += [
        f"20 pods at once, emulated: {max(risen.values(), default=0):g} starts waited in the hook",
        f"  at most {quantile(risen, 0.5) * 1000:g} ms (median), {quantile(risen, 0.99) * 1000:g} ms (p99)",
        f"  PodAllocation to Applied: median {median(applied):.1f} s, longest {longest:.1f} s",
        f"  pod ready to Applied: median {median(reports):.1f} s, longest {max(reports, default=0):.1f} s",
        f"  agent: {usage[0]}",
        f"  {samples.sweeps} samples, {samples.stable} whole, longest gap {samples.longest_gap:.2f} s",
    ]


@pytest.mark.nri
@pytest.mark.smoke
def test_the_same_names_again_start_right_too(cluster: Cluster, podnuma: Product) -> None:
    """Three pods deleted and created anew under the same names, 9 starts: as right as before."""
    names = MIXED[:3]
    again = [mixed(name, cluster.image) for name in names]
    with sampled(cluster, CROWD_PERIOD) as samples, cluster.running_at_once(*again) as settled:
        for name in names:
            podnuma.wait_applied(name)
        owners = check_mixed(cluster, settled, cluster.snapshot())
    assert samples.violations(owners) == []


@pytest.mark.nri
@pytest.mark.smoke
def test_no_quota_holds_back_a_container_with_cpus_of_its_own(
    cluster: Cluster, podnuma: Product, figures: list[str]
) -> None:
    """CPUs of its own: no quota at the first instruction nor later, and not a microsecond throttled."""
    busy = pods.doing(pods.pod("unthrottled", cluster.image, {"app": "2"}), BURN)
    with watched(cluster) as seen, cluster.running(busy) as (pod,):
        podnuma.wait_applied("unthrottled")
        app = cluster.snapshot().container(pod, "app")
        # What it is held back by shows in the next of the kernel's periods, which are 100 ms long.
        until(lambda: used(cluster, app.path) > USED_SECONDS, "the container to have used CPU time", 60, 0.5)
        held_back = throttling(cluster, app.path)
    course = seen[app.path]
    figures.append(f"cpu.max of a starting container: {', '.join(map(str, course))}; then {held_back}")
    running = [moment.cpu_max for moment in course if moment.runs == "probe"]
    assert running, course
    assert [cpu_max for cpu_max in running if not cpu_max.startswith("max ")] == []
    assert app.cpu_max.startswith("max ")
    assert held_back == Throttling(0, 0), course


@pytest.mark.nri
def test_a_restarted_container_has_its_cpus_back_from_the_first_instruction(
    cluster: Cluster, podnuma: Product
) -> None:
    """Main process killed: the next one starts on the same CPUs; its neighbours notice nothing."""
    with cluster.running(mixed("restarted", cluster.image)) as (pod,):
        podnuma.wait_applied("restarted")
        before = cluster.snapshot()
        was, beside = before.container(pod, "app"), before.container(pod, "sidecar")
        cluster.shell(f"kill -9 $(head -1 /sys/fs/cgroup/{was.leaf}/cgroup.procs)")

        def again(now: Json | None) -> Json | None:
            return now if now and is_ready(now) and container_id(now, "app") not in was.path else None

        now = cluster.awaited("pod", "restarted", again, "the container to run again", 120)
        after = cluster.snapshot()
        second = first_output.read_all(cluster)[pod["metadata"]["uid"], "app"][-1]
        assert second.cpus == after.container(now, "app").effective_cpus == was.effective_cpus
        assert after.container(now, "sidecar") == beside


@pytest.mark.cri
def test_where_nobody_asks_before_a_start_pods_are_pinned_soon_after_it(
    cluster: Cluster, podnuma: Product
) -> None:
    """Six pods at once where the runtime does not ask: own CPUs disjoint and in one node, pinned late."""
    crowd = [mixed(name, cluster.image) for name in MIXED]
    with cluster.running_at_once(*crowd) as settled:
        told = [
            entry
            for name in MIXED
            for entry in podnuma.wait_applied(name)["status"]["containers"]
            if entry["name"] != "init"
        ]
        check_sets(settled, cluster.snapshot())
    longest = max(entry["pinnedAfterMillis"] for entry in told)
    say(f"       pinned at most {longest} ms after their start")
    assert {entry["verdict"] for entry in told} <= {"PinnedLate", "PinnedAtStart"}


@pytest.mark.machine
def test_a_static_pod_is_pinned_although_nobody_asked_before_it_ran(
    cluster: Cluster, podnuma: Product
) -> None:
    """A static pod starts without waiting for anybody, and has its CPU to itself soon after."""
    pod = pods.pod("static", cluster.image, {"app": "1"})
    pod["metadata"]["namespace"] = cluster.namespace
    file = "/etc/kubernetes/manifests/static.json"
    cluster.shell(f"cat > {file} <<'END'\n{json.dumps(pod)}\nEND")
    name = f"static-{cluster.node}"
    try:
        cluster.awaited("pod", name, lambda pod: pod, "the static pod's mirror", 120)
        mirror = cluster.settled(name)
        (told,) = podnuma.wait_applied(name)["status"]["containers"]
        say(f"       {told['verdict']}, {told['pinnedAfterMillis']} ms after its start")
        cpus = cluster.snapshot().container(mirror, "app").effective_cpus
        assert len(cpus) == 1
    finally:
        cluster.shell(f"rm -f {file}")
        cluster.awaited("pod", name, lambda pod: pod is None, "the static pod to be gone", 120)
