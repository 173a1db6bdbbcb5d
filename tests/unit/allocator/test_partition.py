"""Cutting a bubble; specification, section 6. What slices get is tested in test_scope_pod."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator.cpu.pick import Picker
from podnuma.allocator.decision import MemoryBlock
from podnuma.allocator.eligibility import empty_cpu_pool, empty_memory_pool, exclusive_requests
from podnuma.allocator.manager_settings import CpuOptions, KubeletRelease
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.partition import blocks, cut_cpus, cut_memory
from podnuma.allocator.refusal import Refusal
from podnuma.allocator.request import ContainerKind

from tests.unit.allocator.shapes import GI, INIT, MI, g, machine, pod, s, unhurried

NODES = NodeSet(1)
PICK = Picker(machine("MN80"), CpuOptions(), KubeletRelease.V1_38).take

CONTAINERS = st.lists(
    st.tuples(st.sampled_from(ContainerKind), st.integers(0, 4)), min_size=1, max_size=6
).map(lambda parts: sorted(parts, key=lambda part: part[0] is ContainerKind.APP))


def budget(parts, extra):
    """Return a pod whose budget holds its containers, and `extra` CPUs (and Gi) more."""
    running = sum(count for kind, count in parts if kind is not INIT)
    largest = max((count for kind, count in parts if kind is INIT), default=0)
    total = running + largest + extra
    wanted = [g(count, f"{count}Gi", kind) if count else s(kind) for kind, count in parts]
    return pod((total, f"{total}Gi"), *wanted), total


@unhurried()
@given(parts=CONTAINERS, extra=st.integers(1, 3))
def test_slices_that_run_together_never_meet_and_the_pool_is_what_they_leave(parts, extra):
    wanted, total = budget(parts, extra)
    found = exclusive_requests(wanted)
    bubble = (1 << total) - 1
    cut = cut_cpus(found, bubble, PICK)
    kinds = [kind for kind, _ in parts]
    lasting = [
        own for own, kind, count in zip(cut, kinds, found.cpus, strict=True) if count and kind is not INIT
    ]
    assert all(own & ~bubble == 0 for own in cut)
    assert all(own.bit_count() == count for own, count in zip(cut, found.cpus, strict=True) if count)
    assert sum(own.bit_count() for own in lasting) == sum(lasting).bit_count()
    pool = bubble & ~sum(lasting)
    shared = [
        own for own, kind, count in zip(cut, kinds, found.cpus, strict=True) if not count and kind is not INIT
    ]
    assert all(own == pool for own in shared)


@unhurried()
@given(parts=CONTAINERS, extra=st.integers(0, 2))
def test_nobody_gets_an_empty_set_when_the_pool_check_passes(parts, extra):
    wanted, total = budget(parts, extra)
    found = exclusive_requests(wanted)
    if total and empty_cpu_pool(found) is None and empty_memory_pool(found) is None:
        assert all(cut_cpus(found, (1 << total) - 1, PICK))
        assert all(cut_memory(found, found.pod_memory or {}, NODES))


@unhurried()
@given(parts=CONTAINERS, extra=st.integers(1, 3))
def test_lasting_memory_and_pool_add_up_to_the_budget(parts, extra):
    wanted, total = budget(parts, extra)
    cut = cut_memory(exclusive_requests(wanted), {"memory": total * GI}, NODES)
    lasting = [
        own[0].size for own, (kind, count) in zip(cut, parts, strict=True) if count and kind is not INIT
    ]
    shared = [
        own[0].size for own, (kind, count) in zip(cut, parts, strict=True) if not count and kind is not INIT
    ]
    assert all(size == total * GI - sum(lasting) for size in shared)


def test_every_resource_is_cut_alike():
    wanted = exclusive_requests(
        pod((4, "4Gi"), g(1, "1Gi", pages={"2Mi": "4Mi"}), s(), pages={"2Mi": "10Mi"})
    )
    assert cut_memory(wanted, wanted.pod_memory or {}, NODES) == [
        (MemoryBlock("memory", NODES, GI), MemoryBlock("hugepages-2Mi", NODES, 4 * MI)),
        (MemoryBlock("memory", NODES, 3 * GI), MemoryBlock("hugepages-2Mi", NODES, 6 * MI)),
    ]


def test_pages_the_budget_lacks_are_refused_not_invented():
    wanted = exclusive_requests(pod((4, "4Gi"), g(1, "1Gi", pages={"2Mi": "4Mi"}), s()))
    with pytest.raises(Refusal, match="container c0 asks for more hugepages-2Mi than the budget"):
        cut_memory(wanted, wanted.pod_memory or {}, NODES)


def test_blocks_of_nothing_are_left_out():
    assert blocks(NODES, {"memory": 0, "hugepages-2Mi": 1}) == (MemoryBlock("hugepages-2Mi", NODES, 1),)
