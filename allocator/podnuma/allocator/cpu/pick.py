"""The one way in which a node picks CPUs, chosen once from its settings.

`picker` gives the pick function that is used everywhere: for the reserved CPUs, for
containers, for bubbles and for the slices of a bubble. `take_aligned` picks for an affinity:
first from its NUMA nodes, and what is missing from anywhere. `check_smt` is the test that
full-pcpus-only adds for what is taken from the node (never for slices).

Specification: sections 2.6, 3.4, 3.5.
"""

from collections.abc import Callable
from functools import partial

from podnuma.allocator.cpu.distribute import distributed, distributed_within
from podnuma.allocator.cpu.order import Order
from podnuma.allocator.cpu.pack import packed
from podnuma.allocator.manager_settings import CpuOptions
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.refusal import not_enough_cores, uneven_smt
from podnuma.allocator.topology import Topology

Pick = Callable[[int, int], int]
"""(available CPUs, count) -> CPUs. Raises Refusal when there are fewer."""


def picker(topology: Topology, options: CpuOptions) -> Pick:
    """Return the pick function of a machine with these options."""
    order = Order.of(topology)
    if options.distribute_cpus_across_numa:
        group = topology.per_core if options.full_pcpus_only else 1
        return partial(distributed, order, group=group, by_socket=options.align_by_socket)
    return partial(
        packed,
        order,
        spread=options.distribute_cpus_across_cores,
        caches=options.prefer_align_cpus_by_uncorecache,
    )


def near_picker(topology: Topology, options: CpuOptions) -> Pick:
    """Return the pick function among the CPUs of an affinity; only distribution has one of its own."""
    if options.distribute_cpus_across_numa and not options.align_by_socket:
        group = topology.per_core if options.full_pcpus_only else 1
        return partial(distributed_within, Order.of(topology), group=group)
    return picker(topology, options)


def take_aligned(pick: Pick, pick_near: Pick, available: int, near: int | None, count: int) -> int:
    """Pick `count` CPUs, those in the set `near` first (None: no affinity)."""
    got = 0
    if near is not None:
        close = available & near
        got = pick_near(close, min(count, close.bit_count()))
    return got | pick(available & ~got, count - got.bit_count())


def near(topology: Topology, options: CpuOptions, nodes: NodeSet | None) -> int | None:
    """Return the CPUs that count as aligned with a node set: its own, or all of its sockets."""
    if nodes is None:
        return None
    return topology.sockets_on(nodes) if options.align_by_socket else topology.cpus_on(nodes)


def check_smt(options: CpuOptions, count: int, per_core: int, free: int) -> None:
    """Raise Refusal when whole cores are asked for and `count` is not a number of free ones.

    `free` is the default set without reserved CPUs and their siblings.
    """
    if not options.full_pcpus_only:
        return
    if count % per_core:
        raise uneven_smt(count, per_core)
    if count > free.bit_count():
        raise not_enough_cores(count, free.bit_count(), per_core)
