"""Where more CPUs come from, by topology policy."""

from dataclasses import replace

import pytest
from podnuma.allocator.decision import Admitted
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.request import Device, DeviceRequest

from tests.unit.allocator.resize.helpers import budget, node, refused, resized
from tests.unit.allocator.shapes import admitted, g, pod, s
from tests.unit.allocator.test_properties import state


def test_growth_stays_on_the_numa_nodes_of_the_pod_or_waits():
    where = node()
    admitted(where, budget(3, 2))
    admitted(where, pod((1, "1Gi"), g(1), uid="u2"))
    before = state(where)
    answer = refused(where, budget(4, 3))
    assert answer.feasible
    assert answer.message == "needs 1 more CPU on NUMA node 0, where 0 are free"
    assert state(where) == before
    where.release("u2")
    resized(where, budget(4, 3))


def test_best_effort_may_span_and_restricted_where_an_admission_would():
    for policy, fits in (("best-effort", True), ("restricted", False), ("none", True)):
        where = node(policy, memory="None", reserved_memory=())
        admitted(where, pod((3, "2Gi"), g(2), s()))
        admitted(where, pod((1, "1Gi"), g(1), uid="u2"))
        assert isinstance(where.resize(pod((4, "2Gi"), g(3), s())), Admitted) is fits
    where = node("restricted", memory="None", reserved_memory=())
    first = admitted(where, pod((3, "2Gi"), g(2), s()))
    then = resized(where, pod((8, "2Gi"), g(7), s()))
    assert first.grant.cpus & ~then.grant.cpus == 0
    assert then.grant.cpus.bit_count() == 8


GPU = DeviceRequest.chosen("gpu.example.com", (Device("gpu-0", NodeSet(1 << 1)),))


@pytest.mark.parametrize("policy", ["best-effort", "restricted", "single-numa-node"])
def test_a_container_that_gets_its_first_cpus_by_a_resize_gets_them_near_its_devices(policy):
    where = node(policy, "container", memory="None", reserved_memory=())

    def shape(cpu):
        first, second = (asked := pod(None, g(1), g(cpu))).containers
        return replace(asked, containers=(first, replace(second, devices=(GPU,))))

    assert where.topology.nodes_of(admitted(where, shape("1500m")).grant.exclusive_cpus) == 1 << 0
    own = resized(where, shape("2")).grant.containers[1].cpus
    assert own.bit_count() == 2
    assert where.topology.nodes_of(own) == 1 << 1
