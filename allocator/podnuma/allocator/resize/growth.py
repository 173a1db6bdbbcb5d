"""More CPUs for somebody who holds some: on its own NUMA nodes, or as far as the topology policy goes.

    own nodes have enough       taken there
    none, best-effort           there first, and what is missing from anywhere, as in an admission
    restricted                  a wider set of nodes, if an admission of that size would need as many, and
                                no memory binds the holder to its own
    single-numa-node            nothing

Who holds nothing yet is placed as by an admission, near its devices, on the nodes of its memory if it
has some.
"""

from podnuma.allocator import nodeset, refusal
from podnuma.allocator.cpu.hints import CpuHints
from podnuma.allocator.cpu.pick import near
from podnuma.allocator.device_hints import DeviceHints
from podnuma.allocator.manager_settings import TopologyManagerPolicy
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.rules import Rules

_SPANNING = (TopologyManagerPolicy.NONE, TopologyManagerPolicy.BEST_EFFORT)


def more_cpus(
    rules: Rules, free: int, held: int, memory_nodes: int, count: int, devices: tuple[DeviceHints, ...]
) -> int:
    """Return `count` of the free CPUs, to be held beside `held`. Raises Refusal.

    `memory_nodes` are the NUMA nodes of the holder's memory, 0 without any; `devices` those of the holder.
    """
    nodes = NodeSet(rules.topology.nodes_of(held) | memory_nodes)
    if nodes:
        close = near(rules.topology, rules.options, nodes) or 0
        there = (free & close).bit_count()
        if there >= count or rules.settings.topology_manager_policy in _SPANNING:
            if count > free.bit_count():
                raise _no_room(count, NodeSet(rules.topology.all_nodes), free.bit_count())
            return rules.picker.take_aligned(free, close, count, nodes.bit_count())
        if memory_nodes or rules.settings.topology_manager_policy is TopologyManagerPolicy.SINGLE_NUMA_NODE:
            raise _no_room(count, nodes, there)
    hints = CpuHints(rules.topology, rules.options, free, held, held.bit_count() + count)
    hint = rules.merger.merge(hints, None, impossible=False, devices=devices)
    if hint is None:
        nodes = nodes or NodeSet(rules.topology.all_nodes)
        raise _no_room(count, nodes, (free & rules.topology.cpus_on(nodes)).bit_count())
    close_to_hint = near(rules.topology, rules.options, hint.nodes)
    return rules.picker.take_aligned(free, close_to_hint, count, (hint.nodes or 0).bit_count())


def _no_room(count: int, nodes: NodeSet, there: int) -> refusal.Refusal:
    what = "1 more CPU" if count == 1 else f"{count} more CPUs"
    where = "NUMA nodes" if nodes & (nodes - 1) else "NUMA node"
    return refusal.unexpected_resize(
        f"needs {what} on {where} {nodeset.render(nodes)}, where {there} {'is' if there == 1 else 'are'} free"
    )
