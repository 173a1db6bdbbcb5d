"""NUMA nodes: their CPUs, memory, huge pages and distances.

Ids may have gaps, and column i of a distance file belongs to the i-th online node, not to node i.
A node's CPU list may name CPUs that are offline or do not exist: only online ones count. Nodes without
CPUs (persistent memory, GPUs) and nodes without memory are nodes. A CPU is local to a node only if the node
or the CPU itself says so. CPUs of which nobody does (their node is offline) are in no node: like the kubelet,
podnuma uses them for nothing. Of several nodes that list a CPU, as fakes of one real node do, it is in the
one that it names itself.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from podnuma.agent.discover.huge_pages import MACHINE_PAGES, page_counts, totals
from podnuma.agent.discover.tree import Tree
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.topology import NumaNode

_NODE = "devices/system/node"
_CPU = "devices/system/cpu"
_TOTAL = re.compile(r"MemTotal:\s*([0-9]{1,16}) kB")
# By the ACPI specification (SLIT) 10 is "here" and 20 is what the kernel itself assumes for "elsewhere".
_HERE, _ELSEWHERE = 10, 20
_KIB = 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """The nodes in id order, and the node of every online CPU that is in one.

    `possible`: the ids that the kernel takes in a set of memory nodes, those of nodes that are offline too.
    """

    nodes: tuple[NumaNode, ...]
    node_of_cpu: Mapping[int, int]
    possible: NodeSet


def read_memory(tree: Tree, proc: Tree, online: CpuSet) -> Memory:
    """Read the nodes; a kernel without NUMA has one, node 0, with all CPUs and the memory of procfs."""
    ids = _online_nodes(tree)
    if not ids:
        memory = _total(proc.text("meminfo"))
        if memory is None:
            proc.add(
                "meminfo", "gives no MemTotal; memory taken as 0", "mount the host's /proc for the agent"
            )
        node = NumaNode(0, memory or 0, totals(page_counts(tree, 0, MACHINE_PAGES)), (_HERE,))
        return Memory((node,), dict.fromkeys(cpuset.ids(online), 0), nodeset.of((0,)))
    node_of_cpu = _listed(tree, ids, online)
    _place_unlisted(tree, ids, online, node_of_cpu)
    nodes = tuple(
        NumaNode(node_id, _memory(tree, node_id), totals(page_counts(tree, node_id)), distances)
        for node_id, distances in zip(ids, _distances(tree, ids), strict=True)
    )
    return Memory(nodes, node_of_cpu, NodeSet((tree.cpus(f"{_NODE}/possible") or 0) | nodeset.of(ids)))


def _listed(tree: Tree, ids: tuple[int, ...], online: CpuSet) -> dict[int, int]:
    """Return the nodes of the CPUs that are in the lists of nodes."""
    node_of_cpu: dict[int, int] = {}
    again = 0
    for node in ids:
        for cpu in cpuset.ids(CpuSet(_members(tree, node) & online)):
            if node_of_cpu.setdefault(cpu, node) != node:
                again |= 1 << cpu
    for cpu in cpuset.ids(CpuSet(again)):
        node_of_cpu[cpu] = _own_node(tree, ids, cpu, node_of_cpu[cpu])
    if again:
        problem = (
            f"lists CPUs {cpuset.render(CpuSet(again))} in several nodes; each counts to the one that it"
            " names itself, and nodes that are left without CPUs are memory alone"
        )
        tree.add(_NODE, problem, "boot without numa=fake=, or report the machine if that is not there")
    return node_of_cpu


def _own_node(tree: Tree, ids: tuple[int, ...], cpu: int, otherwise: int) -> int:
    """Return the node that a CPU names itself."""
    return next((node for node in tree.folders(f"{_CPU}/cpu{cpu}", "node") if node in ids), otherwise)


def _place_unlisted(tree: Tree, ids: tuple[int, ...], online: CpuSet, node_of_cpu: dict[int, int]) -> None:
    unlisted = [cpu for cpu in cpuset.ids(online) if cpu not in node_of_cpu]
    for cpu in unlisted:
        if (node := _own_node(tree, ids, cpu, -1)) >= 0:
            node_of_cpu[cpu] = node
    if len(ids) == 1 and not node_of_cpu:
        # There is no other node that they could be in.
        node_of_cpu.update(dict.fromkeys(unlisted, ids[0]))
    if left := cpuset.of(cpu for cpu in unlisted if cpu not in node_of_cpu):
        problem = f"has no online node with CPUs {cpuset.render(left)}, which are online; they are not used"
        tree.add(_NODE, problem, "check that the whole of /sys is mounted, or bring their node online")


def _online_nodes(tree: Tree) -> tuple[int, ...]:
    folders = tree.folders(_NODE, "node")
    online = tree.cpus(f"{_NODE}/online")
    return folders if online is None else tuple(node for node in folders if online >> node & 1)


def _members(tree: Tree, node: int) -> int:
    return tree.cpus(f"{_NODE}/node{node}/cpulist", f"{_NODE}/node{node}/cpumap") or 0


def _memory(tree: Tree, node: int) -> int:
    path = f"{_NODE}/node{node}/meminfo"
    total = _total(tree.text(path))
    if total is None:
        tree.add(path, "gives no MemTotal; memory taken as 0", "check that the whole of /sys is mounted")
    return total or 0


def _total(text: str | None) -> int | None:
    match = _TOTAL.search(text or "")
    return int(match[1]) * _KIB if match else None


def _distances(tree: Tree, ids: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return a row per node, columns in node order; where the kernel's do not fit, 10 here, 20 elsewhere."""
    rows = []
    for position, node in enumerate(ids):
        path = f"{_NODE}/node{node}/distance"
        text = tree.text(path)
        words = (text or "").split()
        if len(words) == len(ids) and all(re.fullmatch(r"[0-9]{1,4}", word) for word in words):
            rows.append(tuple(int(word) for word in words))
            continue
        if text is not None or len(ids) > 1:
            problem = (
                f"holds {text!r:.80}, not {len(ids)} distances; taken as {_HERE} here, {_ELSEWHERE} elsewhere"
            )
            tree.add(path, problem, "report the machine if the kernel really writes this")
        rows.append(tuple(_HERE if column == position else _ELSEWHERE for column in range(len(ids))))
    return tuple(rows)
