"""Six CPUs on every real machine of tests/machines: a bubble, an exclusive half, a shared half."""

import pytest

from tests.conformance.said import said
from tests.conformance.world import MACHINES, add, budget, g, machine, pod, scenario, settings, shared

# machine, reserved CPUs, nodes with memory reserved -> bubble, exclusive, shared, node
EXPECTED = {
    "arm64-kunpeng-2s-4numa-clusters": ("0-1", [0], "2-7", "2-4", "5-7", 0),
    "epyc7401-2s-8numa-16l3": ("0,48", [0], "1-3,49-51", "1-2,49", "3,50-51", 0),
    "epyc9654-2s-384cpu-24l3": ("0,192", [0], "1-3,193-195", "1-2,193", "3,194-195", 0),
    # The single-thread cores are whole and as good as broken into: they go first.
    "laptop-hybrid-6p8e": ("0", [0], "12-17", "12-14", "15-17", 0),
    "power-256cpu-sparse-numa": ("0-3", [0], "4-9", "4,8-9", "5-7", 0),
    "power9-gpu-memory-nodes": ("0-3", [0], "4-9", "4,8-9", "5-7", 0),
    # Nodes 0 and 3 have CPUs but no memory.
    "threadripper3960x-nps4-memoryless": ("0,24", [1, 2], "6-8,30-32", "6-7,30", "8,31-32", 1),
    "xeon-2s-snc2-irregular": ("0,40", [0], "1-2,5,41-42,45", "1-2,41", "5,42,45", 0),
    "xeon-2s-snc2-pmem-isolcpus": ("0,56", [0], "4,8,12,60,64,68", "4,8,60", "12,64,68", 0),
    "xeon-4s-offline-threads": ("3,11", [0], "1,6-7,9-10,15", "1,6,9", "7,10,15", 0),
}


def test_every_machine_has_an_expectation():
    assert set(EXPECTED) == {path.stem for path in MACHINES.glob("*.json")}


@pytest.mark.parametrize("name", EXPECTED)
def test_six_cpus_on(name):
    reserved, nodes, bubble, own, rest, node = EXPECTED[name]
    topology = machine(name, memory="384Gi" if name.startswith("epyc9654") else None)
    kubelet = settings(policy="best-effort", reserved=reserved, nodes=nodes)
    step = said(scenario(name, topology, kubelet, add(pod("p", budget(6, "4Gi"), [g(3), shared()])))).last
    assert (step.bubble, step.cpus("c0"), step.cpus("c1")) == (bubble, own, rest)
    assert step.mems("c0") == step.mems("c1") == [node]
