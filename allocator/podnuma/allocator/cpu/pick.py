"""The one way in which a node picks CPUs, chosen once from its settings.

A `Picker` is used everywhere: for the reserved CPUs, for containers, for bubbles and for the slices of a
bubble. `take_aligned` picks for an affinity: first from its NUMA nodes, and what is missing from anywhere.
Over how many NUMA nodes the affinity goes matters to distribution only. `check_smt` is the test that
full-pcpus-only adds for what is taken from the node (never for slices).

In the kubelet: cpumanager/policy_static.go, `allocateCPUs`, `takeByTopology` and `enforceSMTAlignment`.
"""

from podnuma.allocator.cpu.distribute import Dealing, distributed, distributed_within
from podnuma.allocator.cpu.order import Order
from podnuma.allocator.cpu.pack import Style, packed
from podnuma.allocator.manager_settings import CpuOptions, KubeletRelease
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.refusal import not_enough_cores, uneven_smt
from podnuma.allocator.topology import Topology


class Picker:
    """Picks CPUs of one machine with the options of its CPU manager, as one kubelet release does."""

    __slots__ = ("dealing", "order", "style")

    def __init__(self, topology: Topology, options: CpuOptions, release: KubeletRelease) -> None:
        older = release is KubeletRelease.V1_37
        self.order = Order.of(topology)
        self.style = Style(
            spread=options.distribute_cpus_across_cores,
            caches=options.prefer_align_cpus_by_uncorecache,
            before_v1_38=older,
        )
        self.dealing: Dealing | None = None
        if options.distribute_cpus_across_numa:
            group = topology.per_core if options.full_pcpus_only else 1
            self.dealing = Dealing(group, by_socket=options.align_by_socket, before_v1_38=older)

    def take(self, available: int, count: int, nodes: int = 0) -> int:
        """Return `count` of the available CPUs. Raises Refusal if there are fewer.

        `nodes` is over how many NUMA nodes the affinity goes, 0 without one.
        """
        if self.dealing is None:
            return packed(self.order, available, count, self.style)
        return distributed(self.order, available, count, self.dealing, nodes)

    def take_near(self, available: int, count: int, nodes: int) -> int:
        """Do the same among the CPUs of an affinity: distribution then uses every NUMA node of it."""
        dealing = self.dealing
        if dealing is not None and dealing.before_v1_38 and not dealing.by_socket:
            return distributed_within(self.order, available, count, dealing)
        return self.take(available, count, nodes)

    def take_aligned(self, available: int, near: int | None, count: int, nodes: int) -> int:
        """Take `count` CPUs, those in the set `near` first (None: no affinity)."""
        got = 0
        if near is not None:
            close = available & near
            got = self.take_near(close, min(count, close.bit_count()), nodes)
        return got | self.take(available & ~got, count - got.bit_count())


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
