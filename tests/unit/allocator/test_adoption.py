"""Grants of earlier that do not fit today."""

from dataclasses import replace

import pytest
from podnuma.allocator.decision import MemoryBlock
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.topology import NumaNode

from tests.unit.allocator.shapes import GI, MI, admitted, cpus, from_cores, g, machine, pod, s, settings


def grant(uid="u1", cpu=4):
    return admitted(
        NodeAllocator.empty(settings(), machine("DS12")), pod((cpu, "4Gi"), g(2, "2Gi"), s(), uid=uid)
    ).grant


def restored(*grants, **told):
    return NodeAllocator.restore(settings(**told), machine("DS12"), grants)


def test_two_grants_on_the_same_cpus_are_not_both_held():
    node, problems = restored(grant("one"), grant("two"))
    assert list(node.grants) == ["one"]
    assert [(problem.field, problem.value, problem.message) for problem in problems] == [
        (
            "cpus",
            "2,4,8,10",
            "CPUs 2,4,8,10 are held by pod lab/one; pod lab/two is not held, delete one of the two",
        )
    ]


def test_reserving_cpus_under_a_running_pod_leaves_them_to_it_until_it_ends():
    node, problems = restored(grant(), reserved="0,2")
    assert [problem.message for problem in problems] == [
        "pod lab/u1 keeps CPUs 2, which are reserved now, until it ends"
    ]
    assert node.default_set == cpus("0-1,3,5-7,9,11")
    node.release("u1")
    assert node.default_set == machine("DS12").all_cpus


def test_strictly_reserved_cpus_do_not_join_the_shared_pool_when_they_come_back():
    node, _ = restored(grant(), reserved="0,2", options="strict-cpu-reservation")
    node.release("u1")
    assert node.default_set == cpus("1,3-11")


def test_cpus_that_went_offline_are_named():
    smaller = from_cores(
        [((k, k + 6), k % 2, k % 2, 0) for k in range(4)], [NumaNode(node, 9 * GI) for node in (0, 1)]
    )
    node, problems = NodeAllocator.restore(settings(), smaller, [grant()])
    assert [problem.message for problem in problems] == ["pod lab/u1 holds CPUs 4,10, which are offline"]
    assert node.default_set == cpus("0-1,3,6-7,9")
    node.release("u1")
    assert node.default_set == smaller.all_cpus


def test_memory_that_shrank_is_named_and_not_forgotten():
    node, problems = restored(grant(), reserved_memory=[(0, 6 * GI)])
    assert [problem.message for problem in problems] == [
        "pod lab/u1 keeps 4Gi of memory on NUMA node 0, where only 3Gi are free"
    ]
    assert node.free_memory(0, "memory") == -GI
    node.release("u1")
    assert node.free_memory(0, "memory") == 3 * GI


def test_numa_nodes_that_are_gone_are_named():
    old = replace(grant(), memory=(MemoryBlock("memory", NodeSet(0b100), 64 * MI),))
    node, problems = restored(old)
    assert [problem.message for problem in problems] == [
        "pod lab/u1 holds memory on NUMA node 2, which the machine lacks",
        "pod lab/u1 keeps 64Mi of memory on NUMA node 2, where only 0 are free",
    ]
    node.release("u1")
    assert node.free_memory(0, "memory") == 8 * GI


def test_adopting_again_replaces():
    node, _ = restored(grant(cpu=4))
    assert node.adopt(grant(cpu=3)) == []
    assert node.grants["u1"].exclusive_cpus.bit_count() == 3


def test_a_pod_out_of_policy_keeps_what_it_has_and_the_next_one_fits_the_new_settings():
    node = NodeAllocator.empty(settings(reserved="0,8"), machine("D16"))
    old = admitted(node, pod((4, "1Gi"), s(), uid="old")).grant
    assert old.exclusive_cpus == cpus("1-2,9-10")
    narrow, _ = NodeAllocator.restore(settings(reserved="0-3,8-11"), machine("D16"), [old])
    assert narrow.grants["old"] == old
    assert admitted(narrow, pod((4, "1Gi"), s(), uid="new")).grant.exclusive_cpus == cpus("4-5,12-13")


def test_a_pod_pinned_under_another_policy_stays_pinned_until_it_ends():
    node, problems = restored(grant(), cpu="none", memory="None")
    assert [(problem.field, problem.message) for problem in problems] == [
        ("cpus", "pod lab/u1 keeps CPUs of its own until it ends; cpuManagerPolicy is none now"),
        ("memoryNodes", "pod lab/u1 keeps its memory nodes until it ends; memoryManagerPolicy is None now"),
    ]
    assert node.shared_pool == cpus("0-1,3,5-7,9,11")
    node.release("u1")
    assert node.shared_pool == cpus("0-11")


def renumbered(threads, node):
    """DS12 with other settings of its firmware: `threads` of each core, `node` of each CPU."""
    cores = dict.fromkeys(threads(cpu) for cpu in range(12))
    return from_cores(
        [(members, node(members[0]), node(members[0]), 0) for members in cores],
        [NumaNode(number, 9 * GI) for number in (0, 1)],
    )


def messages(where, policy="single-numa-node", **told):
    held = admitted(
        NodeAllocator.empty(settings(policy, **told), machine("DS12")),
        pod((4, "4Gi"), g(2, "2Gi"), s(), uid="u1"),
    ).grant
    assert NodeAllocator.restore(settings(policy, **told), machine("DS12"), [held])[1] == []
    return [problem.message for problem in NodeAllocator.restore(settings(policy, **told), where, [held])[1]]


def test_cores_that_are_parted_since_cpus_have_other_numbers_are_told():
    """kubernetes/kubernetes#110478: after a restart with other settings of the firmware."""
    neighbours = renumbered(lambda cpu: (cpu // 2 * 2, cpu // 2 * 2 + 1), lambda cpu: cpu // 6)
    (told,) = messages(neighbours, "none", options="full-pcpus-only")
    assert told == (
        "pod lab/u1 keeps a part of cores until it ends, whose other threads are CPUs 3,9;"
        " full-pcpus-only would give it whole ones"
    )
    assert messages(neighbours, "none") == []


def test_cpus_that_are_in_several_numa_nodes_now_are_told():
    """kubernetes/kubernetes#109996: NUMA nodes per socket were set otherwise."""
    halves = renumbered(lambda cpu: (cpu % 6, cpu % 6 + 6), lambda cpu: cpu % 6 // 3)
    assert messages(halves)[0] == (
        "pod lab/u1 keeps CPUs of NUMA nodes 0-1 until it ends; single-numa-node would give it those of one"
    )
    assert messages(halves, "best-effort") == []


@pytest.mark.parametrize("policy", ["single-numa-node", "restricted"])
def test_memory_that_is_far_from_the_cpus_now_is_told(policy):
    crossed = renumbered(lambda cpu: (cpu % 6, cpu % 6 + 6), lambda cpu: 1 - cpu % 2)
    (told,) = messages(crossed, policy)
    assert told == (
        "pod lab/u1 keeps memory on NUMA node 0 for container c0 until it ends;"
        " its CPUs are on NUMA node 1 now"
    )
