"""Huge pages that are in use on this node and that no pod was granted.

    in use = pages that are not free, less those that pods with a grant use within it

A page that a pod was granted and has touched is missing from the free ones and is in the operator's books;
one that it has not touched is free and in the books. So only pages that are touched are taken off, each once,
and never more of a pod than its grant covers: what is left is in the way of others, whoever has it. Pods
without a grant are named, so that what one uses is not in its own way when it is decided.

Whoever else has reserved pages by a mapping and not touched them can touch them on any NUMA node, since the
kernel counts reservations for the whole machine. They count on each node, as far as it has free pages.

The kernel's counts are not taken at one moment. What pods use is read before and after the free pages, and
the smaller value counts: pages that are touched or given back meanwhile seem to be somebody else's, until the
next pass. Where the kernel does not tell on which NUMA node a pod's pages are (before 5.17), they are taken
to be where its grant is. Where the hugetlb controller is missing, pods are taken to use all they were
granted: the only case in which others may have more than is said here.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from podnuma.agent.cgroups.huge_page_use import PodPages, pod_pages
from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.discover.huge_pages import MACHINE_PAGES, PageCount, page_counts, promised
from podnuma.agent.discover.tree import Tree
from podnuma.allocator.decision import PodGrant
from podnuma.allocator.memory.others import Pages, PagesInUse, uncovered
from podnuma.allocator.request import Qos
from podnuma.allocator.topology import Topology
from podnuma.api.node_topology import MAX_PAGES_IN_USE

PodUse = Mapping[int, PodPages]
"""What a pod uses, by size of the page in KiB."""


@dataclass(frozen=True, slots=True)
class HugePageUse:
    """Reads the kernel's counts of huge pages below `sys_root`, and of pods through `reader`."""

    sys_root: Path
    reader: CgroupReader

    def read(self, topology: Topology, grants: Mapping[str, PodGrant]) -> tuple[PagesInUse, ...]:
        """Return what is in use; `grants` are all of the node's, by the UID that names the pod's cgroup."""
        if not any(node.hugepages for node in topology.nodes):
            return ()
        tree = Tree(self.sys_root)
        sizes = sorted({count.page for count in self._counts(tree, topology)})
        before = self._pods(sizes)
        counts = self._counts(tree, topology)
        reserved = {page: promised(tree, page) for page in sizes}
        after = self._pods(sizes)
        pods = {
            uid: {page: use.at_least(after[uid][page]) for page, use in uses.items() if page in after[uid]}
            for uid, uses in before.items()
            if uid in after
        }
        return find_pages_in_use(counts, reserved, pods, grants, topology)

    @staticmethod
    def _counts(tree: Tree, topology: Topology) -> tuple[PageCount, ...]:
        found = tuple(count for node in topology.nodes for count in page_counts(tree, node.id))
        if not found and len(topology.nodes) == 1:
            return page_counts(tree, topology.nodes[0].id, MACHINE_PAGES)
        return found

    def _pods(self, sizes: Iterable[int]) -> dict[str, PodUse]:
        reader = self.reader
        return {
            pod.uid: pod_pages(reader.root / reader.layout.pod(pod), sizes)
            for qos in Qos
            for pod in reader.pods(qos)
        }


def find_pages_in_use(
    counts: Iterable[PageCount],
    reserved: Mapping[int, int],
    pods: Mapping[str, PodUse],
    grants: Mapping[str, PodGrant],
    topology: Topology,
) -> tuple[PagesInUse, ...]:
    """Return what is in use without a grant. `reserved`: untouched reservations of the machine, by size."""
    counts = tuple(counts)
    left: Pages = {(count.node, count.resource): count.total - count.free for count in counts}
    named: list[PagesInUse] = []
    for page in sorted({count.page for count in counts}):
        resource = next(count.resource for count in counts if count.page == page)
        for uid, uses in sorted(pods.items()):
            grant, use = grants.get(uid), uses.get(page)
            if use is not None and use.by_node is not None:
                own = {
                    (node, resource): min(size, left.get((node, resource), 0))
                    for node, size in use.by_node.items()
                }
                beyond = {} if grant is None else uncovered(own, grant.charged, topology)
                for place, size in own.items():
                    if size:
                        left[place] -= size - beyond.get(place, 0)
                named += _named(uid, own) if grant is None else ()
            elif grant is not None:
                _take_off_where_granted(left, resource, grant, None if use is None else use.used, topology)
        untouched = sum(uses[page].promised for uid, uses in pods.items() if uid in grants and page in uses)
        others = max(reserved.get(page, 0) - untouched, 0)
        for count in counts:
            if count.page == page:
                left[count.node, resource] += min(others, count.free)
    rest = {place: size for place, size in left.items() if size > 0}
    return _bounded(named, rest)


def _named(uid: str, pages: Pages) -> Iterator[PagesInUse]:
    for (node, resource), size in sorted(pages.items()):
        if size:
            yield PagesInUse(node, resource, size, uid)


def _take_off_where_granted(
    left: Pages, resource: str, grant: PodGrant, used: int | None, topology: Topology
) -> None:
    """Take a pod's pages off where its grant is; `used` None: as many as it was granted."""
    rest = used
    for block in grant.charged:
        if block.resource != resource:
            continue
        size = block.size if rest is None else min(block.size, rest)
        rest = None if rest is None else rest - size
        for node in topology.members(block.nodes & topology.all_nodes):
            taken = min(left.get((node, resource), 0), size)
            if taken:
                left[node, resource] -= taken
                size -= taken


def _bounded(named: list[PagesInUse], rest: Pages) -> tuple[PagesInUse, ...]:
    """Return an entry per NUMA node and size for what no pod uses, and those of pods while there is room."""
    room = MAX_PAGES_IN_USE - len({*rest, *((one.node, one.resource) for one in named)})
    ranked = sorted(named, key=lambda one: (-one.size, one.pod_uid))
    for one in ranked[max(room, 0) :]:
        rest[one.node, one.resource] = rest.get((one.node, one.resource), 0) + one.size
    nobodys = [PagesInUse(node, resource, size) for (node, resource), size in rest.items()]
    kept = [*nobodys, *ranked[: max(room, 0)]]
    return tuple(sorted(kept, key=lambda one: (one.node, one.resource, one.pod_uid))[:MAX_PAGES_IN_USE])
