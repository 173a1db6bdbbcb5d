"""Which NUMA node set an allocation of memory finally uses.

The merged hint of the topology manager, when it names nodes and they have enough free; else
the narrowest wider set that has; without a hint, the best set of the memory side itself. A
hint that was preferred is never replaced by a set that is not.

Nodes that are only a part of a group are widened as well, to the group: what is on them could not be
kept apart from what the group holds. (The kubelet would put it on a single node alone, and from then
on the members of the group disagree about it; kubernetes/kubernetes#113035. Several nodes it refuses, or
widens, as the memory of the group happens to lie on its members.)
In the kubelet: memorymanager/policy_static.go, `getDefaultHint` and `extendTopologyManagerHint`.
"""

from podnuma.allocator import refusal
from podnuma.allocator.eligibility import Bytes
from podnuma.allocator.memory.hints import MemoryHints, Reusable
from podnuma.allocator.memory.memory_map import NumaMemoryMap
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.topology_hint import TopologyHint


def resolve(tables: NumaMemoryMap, request: Bytes, hint: TopologyHint, reusable: Reusable) -> NodeSet:
    """Return the node set for a request. Raises Refusal with the memory manager's words."""
    nodes, preferred = hint.nodes, hint.preferred
    if nodes is None:
        found = MemoryHints(tables, request, reusable).best()
        if found is None:
            raise refusal.memory(
                "failed to get the default NUMA affinity, no NUMA nodes with enough memory is available"
            )
        if preferred and not found[1]:
            raise refusal.memory("failed to find the default preferred hint")
        nodes, preferred = found
    if _tied(tables, nodes) or any(tables.free_on(nodes, name) < size for name, size in request.items()):
        found = MemoryHints(tables, request, reusable).best(around=nodes)
        if found is None:
            raise refusal.memory("failed to find NUMA nodes to extend the current topology hint")
        if preferred and not found[1]:
            raise refusal.memory("failed to find the extended preferred hint")
        nodes = found[0]
    if nodes & (nodes - 1) and not tables.usable_group(nodes):
        raise refusal.memory("preferred hint violates NUMA node allocation")
    return nodes


def _tied(tables: NumaMemoryMap, nodes: int) -> bool:
    """Say whether these nodes are only a part of those that they share blocks with."""
    group = tables.groups.get(nodes.bit_length() - 1, 0)
    return group != nodes and not nodes & ~group
