"""Pods with devices: CPUs and memory near what the pod has, and what is no wish, by public report."""

import pytest

from tests.conformance.said import said
from tests.conformance.world import add, budget, d16, g, machine, pod, scenario, settings, shared

GPU = "example.com/gpu"


def with_devices(wanted, **nodes):
    """Return an addPod step whose container c0 has the named devices already, each on its NUMA nodes."""
    rows = [{"id": name, "numaNodes": list(at), "container": "c0"} for name, at in nodes.items()]
    return {**add(wanted), "devices": {GPU: rows}}


def gpu_pod(level=None):
    asked = {**(level or budget(4, "8Gi"))}
    return pod("p", asked, [g(2, "2Gi"), shared()])


@pytest.mark.parametrize("policy", ["single-numa-node", "restricted", "best-effort"])
def test_cpus_and_memory_are_where_the_device_is(policy):
    """kubernetes/kubernetes#123530: a pod's CPUs end up on another NUMA node than its GPU."""
    step = said(scenario("near", d16(), settings(policy=policy), with_devices(gpu_pod(), d0=[1]))).last
    assert step.bubble == "4-5,12-13"
    assert step.mems("c0") == [1]


def test_devices_on_two_numa_nodes_do_not_fit_one():
    step = said(scenario("two", d16(), settings(), with_devices(gpu_pod(), d0=[0], d1=[1]))).last
    assert step.reason == "TopologyAffinityError"


def test_a_device_without_a_numa_node_among_others_is_no_reason_to_refuse():
    """kubernetes/kubernetes#112234: refused over an empty list of hints for a device."""
    step = said(scenario("one", d16(), settings(), with_devices(gpu_pod(), d0=[1], d1=[]))).last
    assert step.bubble == "4-5,12-13"
    step = said(scenario("none", d16(), settings(), with_devices(gpu_pod(), d0=[]))).last
    assert step.bubble == "1-2,9-10"


def test_a_device_at_a_numa_node_without_cpus_is_near_the_nearest_node_with_cpus():
    """POWER9 with accelerators: their memory is NUMA nodes 250 to 255, without CPUs."""
    power = machine("power9-gpu-memory-nodes")
    rows = {row["id"]: row["distances"] for row in power["numaNodes"]}
    ids = list(rows)
    with_cpus = sorted({row["numa"] for row in power["cpus"]})
    far = next(one for one in ids if one not in with_cpus)
    nearest = min(with_cpus, key=lambda node: rows[far][ids.index(node)])
    kubelet = settings(reserved="0-7", nodes=with_cpus)
    step = said(scenario("power9", power, kubelet, with_devices(gpu_pod(), d0=[far]))).last
    assert step.mems("c0") == [nearest]
