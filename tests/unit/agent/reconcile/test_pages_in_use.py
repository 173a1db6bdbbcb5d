"""Who has huge pages on a node, from files as kernels write them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.agent.cgroups.huge_page_use import PodPages
from podnuma.agent.discover.huge_pages import PageCount
from podnuma.agent.reconcile.pages_in_use import HugePageUse, find_pages_in_use
from podnuma.allocator import nodeset
from podnuma.allocator.decision import MemoryBlock
from podnuma.allocator.memory.others import others_pages
from podnuma.allocator.request import Qos
from podnuma.allocator.topology import Topology
from podnuma.api.node_topology import MAX_PAGES_IN_USE

from tests.unit.agent.conftest import machine, pod_grant
from tests.unit.allocator.shapes import unhurried

MB2, GIB = 2048, 2**30
PAGES = "hugepages-2Mi"


def topology() -> Topology:
    found = machine().topology
    return replace(found, nodes=tuple(replace(node, hugepages={PAGES: 8 * GIB}) for node in found.nodes))


def grant(uid, gib, nodes="0"):
    blocks = (
        MemoryBlock("memory", nodeset.parse(nodes), GIB),
        MemoryBlock(PAGES, nodeset.parse(nodes), gib * GIB),
    )
    return replace(pod_grant(uid, cpus="1,9"), memory=blocks)


def use(*gib, promised=0):
    return {
        MB2: PodPages(sum(gib) * GIB, {node: size * GIB for node, size in enumerate(gib)}, promised * GIB)
    }


def counts(*free):
    return [PageCount(node, MB2, 8 * GIB, size * GIB) for node, size in enumerate(free)]


def found(free, pods=(), grants=(), reserved=0):
    answer = find_pages_in_use(
        counts(*free), {MB2: reserved * GIB}, dict(pods), {one.uid: one for one in grants}, topology()
    )
    return [(one.node, one.size // GIB, one.pod_uid) for one in answer]


def test_pages_of_nobody_known_are_in_use():
    assert found((2, 8)) == [(0, 6, "")]


def test_a_pod_that_touched_what_it_was_granted_is_not_told():
    assert found((4, 8), {"db": use(4, 0)}, [grant("db", 4)]) == []


def test_a_pod_that_has_not_touched_its_pages_changes_nothing_either():
    assert found((8, 8), {"db": use(0, 0)}, [grant("db", 4)]) == []
    assert found((5, 8), {"db": use(1, 0)}, [grant("db", 4)]) == [(0, 2, "")]


def test_a_pod_without_a_grant_is_named():
    assert found((3, 8), {"web": use(4, 0)}) == [(0, 1, ""), (0, 4, "web")]


def test_pages_of_a_pod_off_its_nodes_or_beyond_its_grant_are_in_use():
    assert found((2, 7), {"db": use(6, 1)}, [grant("db", 4)]) == [(0, 2, ""), (1, 1, "")]


def test_untouched_reservations_of_others_count_on_every_node_as_far_as_pages_are_free():
    assert found((8, 2), reserved=3) == [(0, 3, ""), (1, 8, "")]
    granted = {"db": use(1, 0, promised=3)}
    assert found((7, 8), granted, [grant("db", 4)], reserved=3) == []
    assert found((7, 8), granted, [grant("db", 4)], reserved=4) == [(0, 1, ""), (1, 1, "")]


def test_where_no_kernel_tells_the_node_a_pods_pages_are_where_its_grant_is():
    unknown = {MB2: PodPages(3 * GIB, None, 0)}
    assert found((8, 4), {"db": unknown}, [grant("db", 3, "1")]) == [(1, 1, "")]
    assert found((8, 4), {"web": unknown}) == [(1, 4, "")]


def test_without_the_controller_pods_are_taken_to_use_what_they_were_granted():
    assert found((2, 8), {"db": {}}, [grant("db", 4)]) == [(0, 2, "")]
    assert found((6, 8), {"db": {}}, [grant("db", 4)]) == []


def test_more_pods_than_can_be_listed_are_summed_up():
    pods = {f"p{number}": {MB2: PodPages(2**21, {0: 2**21}, 0)} for number in range(600)}
    answer = find_pages_in_use(counts(6, 8), {}, pods, {}, topology())
    assert len(answer) == MAX_PAGES_IN_USE
    assert sum(one.size for one in answer) == 2 * GIB


AMOUNT = st.integers(0, 8)


@unhurried()
@given(
    touched=st.lists(st.tuples(AMOUNT, AMOUNT), max_size=4),
    granted=st.lists(st.tuples(st.integers(1, 8), st.sampled_from(["0", "1", "0-1"])), max_size=4),
    strangers=st.tuples(AMOUNT, AMOUNT),
)
def test_what_is_told_and_what_is_granted_is_all_that_is_used_and_nothing_twice(touched, granted, strangers):
    """Never less than what strangers use, and together with the grants all that is used."""
    pods, left = {}, [8, 8]
    for number, wanted in enumerate(touched):
        sizes = [min(size, room) for size, room in zip(wanted, left, strict=True)]
        left = [room - size for room, size in zip(left, sizes, strict=True)]
        pods[f"p{number}"] = use(*sizes)
    others = [min(size, room) for size, room in zip(strangers, left, strict=True)]
    free = [room - size for room, size in zip(left, others, strict=True)]
    grants = {f"p{number}": grant(f"p{number}", *what) for number, what in enumerate(granted)}
    answer = find_pages_in_use(counts(*free), {}, pods, grants, topology())
    told = others_pages(answer, grants, topology()).get(PAGES, {})
    for node in (0, 1):
        used_by_strangers = others[node] * GIB
        used = sum(uses[MB2].by_node[node] for uses in pods.values()) + used_by_strangers
        assert used_by_strangers <= told.get(node, 0) <= used
    everything = sum(sum(uses[MB2].by_node.values()) for uses in pods.values()) + sum(others) * GIB
    covered = sum(
        min(
            sum(uses[MB2].by_node[node] for node in nodeset.ids(grants[uid].charged[1].nodes)),
            grants[uid].charged[1].size,
        )
        for uid, uses in pods.items()
        if uid in grants
    )
    assert sum(told.values()) == everything - covered


@pytest.fixture
def node(bench, tmp_path):
    """A bench whose kernel counts pages: `pages(node, free)` and `pod(uid, current, stat)`."""

    class Node:
        reader = HugePageUse(tmp_path / "sys", bench.reader)

        def put(self, path, text):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")

        def pages(self, at, free, nr=4096, surplus=0):
            folder = tmp_path / f"sys/devices/system/node/node{at}/hugepages/hugepages-2048kB"
            for name, count in (("nr", nr), ("free", free), ("surplus", surplus)):
                self.put(folder / f"{name}_hugepages", count)

        def reserved(self, count):
            self.put(tmp_path / "sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", count)

        def pod(self, uid, current, stat, reserved=None, qos=Qos.GUARANTEED):
            folder = bench.root / bench.layout.pod(bench.pod(uid, qos))
            self.put(folder / "hugetlb.2MB.current", current)
            if stat is not None:
                self.put(folder / "hugetlb.2MB.numa_stat", stat)
            if reserved is not None:
                self.put(folder / "hugetlb.2MB.rsvd.current", reserved)

        def read(self, *grants):
            answer = self.reader.read(topology(), {one.uid: one for one in grants})
            return [(one.node, one.resource, one.size, one.pod_uid) for one in answer]

    return Node()


def test_files_of_the_kernel_are_read(node):
    node.pages(0, free=1024)
    node.pages(1, free=4096)
    node.pod("db", 4 * GIB, f"total={4 * GIB} N0={4 * GIB} N1=0", 5 * GIB)
    node.pod("web", GIB, f"total={GIB} N0={GIB} N1=0", qos=Qos.BURSTABLE)
    node.reserved(512)
    assert node.read(grant("db", 5)) == [(0, PAGES, GIB, ""), (0, PAGES, GIB, "web")]


def test_surplus_pages_are_no_pages_of_the_node(node):
    node.pages(0, free=96, nr=4196, surplus=100)
    assert node.read() == [(0, PAGES, 4000 * 2**21, "")]


def test_a_node_without_huge_pages_is_not_read_at_all(bench, tmp_path):
    reader = HugePageUse(tmp_path / "sys", bench.reader)
    assert reader.read(machine().topology, {}) == ()


@pytest.mark.parametrize("text", ["", "x", "-1", "9" * 30, "total=N0"])
def test_files_that_make_no_sense_are_files_that_are_not_there(node, text):
    node.pages(0, free=4096)
    node.pages(1, free=4095)
    node.pod("db", text, text, text)
    assert node.read(grant("db", 1)) == [(1, PAGES, 2**21, "")]
