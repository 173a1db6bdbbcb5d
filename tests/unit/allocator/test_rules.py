"""Settings made ready for one machine."""

from dataclasses import replace

import pytest
from podnuma.allocator.check import SettingsError
from podnuma.allocator.device_hints import near_cpus
from podnuma.allocator.explain.explanation import explain
from podnuma.allocator.explain.free import free_rows
from podnuma.allocator.manager_settings import IsolatedCpuPolicy, MemoryOnlyNodePolicy, TopologyManagerScope
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.quantities import parse
from podnuma.allocator.rules import Rules
from podnuma.allocator.topology import NumaNode

from tests.unit.allocator.shapes import (
    GI,
    admitted,
    cpus,
    from_cores,
    g,
    hybrid,
    machine,
    nodes,
    pod,
    refused,
    settings,
)


def test_siblings_of_reserved_cpus_are_known():
    assert Rules(settings(reserved="0,9"), machine("DS12")).withheld_cores == cpus("0,3,6,9")


def test_without_a_topology_policy_every_container_stands_alone():
    rules = Rules(settings("none", "pod"), machine("DS12"))
    assert (rules.aligned, rules.pod_scope, rules.scope) == (False, False, TopologyManagerScope.CONTAINER)


def test_strict_reservation_keeps_cpus_out_of_the_default_set():
    strict = settings(reserved="0,6", options="strict-cpu-reservation")
    assert Rules(strict, machine("DS12")).managed_cpus == cpus("1-5,7-11")
    assert Rules(settings(reserved="0,6"), machine("DS12")).managed_cpus == cpus("0-11")


def test_isolated_cpus_are_used_by_nobody_unless_the_settings_say_so():
    isolating = replace(machine("DS12"), isolated=cpus("4-5"))
    node = NodeAllocator.empty(settings(), isolating)
    assert node.shared_pool == node.default_set == cpus("0-3,6-11")
    assert node.topology is isolating
    exclusive = replace(settings(), isolated_cpu_policy=IsolatedCpuPolicy.EXCLUSIVE)
    node = NodeAllocator.empty(exclusive, isolating)
    assert node.default_set == cpus("0-11")
    assert node.shared_pool == cpus("0-3,6-11")
    assert NodeAllocator.empty(settings(cpu="none"), isolating).shared_pool == cpus("0-3,6-11")


def test_isolated_cpus_are_not_reserved_by_number():
    isolating = replace(machine("DS12"), isolated=cpus("0,3,6,9"))
    for policy in IsolatedCpuPolicy:
        amount = replace(
            settings(), reserved_system_cpus=None, reserved_cpu=parse("2"), isolated_cpu_policy=policy
        )
        assert Rules(amount, isolating).reserved & isolating.isolated == 0


def test_cpus_of_another_kind_of_core_are_shared_and_never_given_exclusively():
    rules = Rules(
        replace(settings(reserved="0,6"), exclusive_core_kind="performance"), hybrid("DS12", "0-3,6-9")
    )
    assert rules.other_kinds == cpus("4-5,10-11")
    assert rules.withheld == cpus("0,4-6,10-11")
    assert rules.topology.all_cpus == cpus("0-3,6-9")
    assert rules.managed_cpus == cpus("0-11")
    assert Rules(settings(cpu="none"), hybrid("DS12", "0-3,6-9")).other_kinds == 0


def test_an_isolated_cpu_of_another_kind_is_neither_shared_nor_given():
    isolating = replace(hybrid("DS12", "0-3,6-9"), isolated=cpus("3,9,5,11"))
    for policy, given in ((IsolatedCpuPolicy.UNUSED, "1-2,7-8"), (IsolatedCpuPolicy.EXCLUSIVE, "1-3,7-9")):
        node = NodeAllocator.empty(
            replace(settings(reserved="0,6"), exclusive_core_kind="performance", isolated_cpu_policy=policy),
            isolating,
        )
        assert node.free_cpus == cpus(given)
        assert node.shared_pool == cpus("0-2,4,6-8,10")


def accelerated():
    """Two NUMA nodes with CPUs, and the memory of two accelerators, each nearest to one of them."""
    near = ((10, 20, 15, 30), (20, 10, 30, 15), (15, 30, 10, 40), (30, 15, 40, 10))
    return from_cores(
        [((2 * cpu, 2 * cpu + 1), cpu // 2, cpu // 2, None) for cpu in range(4)],
        [NumaNode(node, (8 if node < 2 else 64) * GI, distances=near[node]) for node in range(4)],
    )


def test_memory_of_nodes_without_cpus_is_given_only_where_the_profile_says_so():
    for policy, usable in ((MemoryOnlyNodePolicy.UNUSED, "0-1"), (MemoryOnlyNodePolicy.ALLOCATABLE, "0-3")):
        told = replace(settings("best-effort"), memory_only_node_policy=policy)
        node = NodeAllocator.empty(told, accelerated())
        assert node.rules.topology.all_nodes == nodes(usable)
        wanted = pod((2, "20Gi"), g(2, "20Gi"))
        if policy is MemoryOnlyNodePolicy.UNUSED:
            assert "memory" in refused(node, wanted).message
            assert (node.memory_rows(2), node.free_memory(2, "memory")) == ({}, 0)
            assert {row.node for row in free_rows(node)} == {0, 1}
        else:
            assert admitted(node, wanted).grant.memory_nodes & nodes("2-3")


def test_an_explanation_names_only_nodes_that_may_be_used():
    node = NodeAllocator.empty(settings("best-effort"), accelerated())
    found = explain(node, pod((2, "12Gi"), g(2, "12Gi")))
    told = {hint.nodes for step in found.steps for side in step.sides for hint in side.hints or ()}
    assert told == {nodes("0"), nodes("1"), nodes("0-1")}


def test_what_runs_on_memory_without_cpus_keeps_it_until_it_ends():
    given = replace(settings("best-effort"), memory_only_node_policy=MemoryOnlyNodePolicy.ALLOCATABLE)
    grant = admitted(NodeAllocator.empty(given, accelerated()), pod((2, "20Gi"), g(2, "20Gi"))).grant
    node, problems = NodeAllocator.restore(settings("best-effort"), accelerated(), [grant])
    assert "no CPUs are there, and memoryOnlyNodePolicy is Unused now" in problems[0].message
    assert node.grants["u1"] == grant
    node.release("u1")
    admitted(node, pod((2, "2Gi"), g(2, "2Gi"), uid="u2"))


def test_a_device_at_an_unused_node_is_near_the_nearest_cpus():
    rules = Rules(settings("restricted"), accelerated())
    assert [near_cpus(rules.topology, nodes(at)) for at in ("2", "3", "0,2")] == [0b01, 0b10, 0b01]


def test_a_node_whose_cpus_are_all_isolated_keeps_its_memory():
    isolating = replace(machine("DS12"), isolated=cpus("1,3,5,7,9,11"))
    assert Rules(settings(), isolating).topology.all_nodes == machine("DS12").all_nodes


def test_what_check_finds_makes_no_rules():
    with pytest.raises(SettingsError, match="reservedSystemCPUs"):
        Rules(settings(reserved="77"), machine("DS12"))


def test_cpus_that_the_cgroup_of_all_pods_lacks_are_neither_shared_nor_given():
    """systemd's AllowedCPUs= on kubepods.slice, or a cpuset partition elsewhere."""
    lacking = machine("D16").outside_kubepods(cpus("1,9,5,13"), 0)
    node = NodeAllocator.empty(settings(reserved="0,8"), lacking)
    assert node.shared_pool == cpus("0,2-4,6-8,10-12,14-15")
    assert node.free_cpus == cpus("2-4,6-7,10-12,14-15")
    assert admitted(node, pod((6, "1Gi"), g(6))).grant.exclusive_cpus == cpus("4,6-7,12,14-15")
    assert node.shared_pool == cpus("0,2-3,8,10-11")


def test_reserved_cpus_may_be_outside_the_cgroup_of_all_pods_and_one_cpu_stays_for_others():
    lacking = machine("SS8").outside_kubepods(cpus("0,4"), 0)
    for options in ("", "strict-cpu-reservation"):
        node = NodeAllocator.empty(settings(reserved="0,4", options=options, nodes=1), lacking)
        assert node.shared_pool == node.free_cpus == cpus("1-3,5-7")
        assert refused(node, pod((6, "1Gi"), g(6))).reason == "EmptyNodeSharedPoolError"
        admitted(node, pod((5, "1Gi"), g(5)))
        assert node.shared_pool.bit_count() == 1


def test_whole_cores_are_not_given_where_the_cgroup_of_all_pods_lacks_a_thread():
    lacking = machine("SS8").outside_kubepods(cpus("5"), 0)
    node = NodeAllocator.empty(settings(reserved="0,4", options="full-pcpus-only", nodes=1), lacking)
    assert refused(node, pod((3, "1Gi"), g(3))).reason == "SMTAlignmentError"
    assert admitted(node, pod((4, "1Gi"), g(4))).grant.exclusive_cpus == cpus("2-3,6-7")
    assert node.shared_pool == cpus("0-1,4")


def test_memory_that_the_cgroup_of_all_pods_lacks_is_not_given():
    lacking = machine("D16").outside_kubepods(0, nodes("1"))
    node = NodeAllocator.empty(settings(reserved="0,8"), lacking)
    assert admitted(node, pod((2, "1Gi"), g(2))).grant.memory_nodes == nodes("0")
    refused(node, pod((2, "8Gi"), g(2, "8Gi"), uid="u2"))
    assert node.free_memory(1, "memory") == 0


def test_a_pod_keeps_what_the_cgroup_of_all_pods_lost_and_gets_it_back():
    whole = machine("D16")
    node = NodeAllocator.empty(settings(reserved="0,8"), whole)
    grant = admitted(node, pod((2, "1Gi"), g(2))).grant
    assert grant.exclusive_cpus == cpus("1,9")
    lacking = whole.outside_kubepods(cpus("1"), 0)
    after, problems = NodeAllocator.restore(settings(reserved="0,8"), lacking, [grant])
    assert [problem.message for problem in problems] == [
        "pod lab/u1 holds CPUs 1, which kubepods lacks; it runs on what is left"
    ]
    assert after.shared_pool == cpus("0,2-8,10-15")
    after.release("u1")
    assert after.shared_pool == cpus("0,2-15")
    assert NodeAllocator.restore(settings(reserved="0,8"), whole, [grant])[1] == []


@pytest.mark.parametrize("options", ["", "strict-cpu-reservation"])
def test_of_reserved_cpus_those_that_are_online_are_reserved(options):
    """Hyper-threading was switched off while the node runs: its second threads are gone, the rest goes on."""
    off = replace(machine("DS12").without(cpus("6-11")), offline=cpus("6-11"))
    node = NodeAllocator.empty(settings(reserved="0,6", options=options), off)
    assert node.rules.reserved == node.rules.last_pool == cpus("0")
    assert node.shared_pool == cpus("1-5" if options else "0-5")
    assert admitted(node, pod((2, "2Gi"), g(2, "2Gi"))).grant.exclusive_cpus & cpus("0,6-11") == 0
