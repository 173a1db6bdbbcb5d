"""Settings made ready for one machine: everything a decision asks about policies, as functions and masks.

Rules never change and hold nothing of any pod; equal nodes can share one object. Making them
fails with SettingsError when `check` finds problems.

Isolated CPUs are for a decision as if they were offline, or, with isolatedCPUPolicy Exclusive, like
others but for the shared pool. CPUs of another kind than exclusiveCoreKind are for a decision as if they were
offline, and always shared. NUMA nodes without CPUs are in no decision, unless memoryOnlyNodePolicy
is Allocatable. What the cgroup of all pods lacks is as if it were not there; with full-pcpus-only the other
threads of such a core are always shared. So `topology` is what decisions are made on, and `machine` what
there is.
"""

from podnuma.allocator import cpuset
from podnuma.allocator.check import SettingsError, SettingsProblem, check
from podnuma.allocator.cpu.pick import Picker
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.manager_settings import (
    CpuManagerPolicy,
    IsolatedCpuPolicy,
    ManagerSettings,
    MemoryManagerPolicy,
    MemoryOnlyNodePolicy,
    TopologyManagerPolicy,
    TopologyManagerScope,
    cpu_options,
    topology_options,
)
from podnuma.allocator.memory.memory_map import MemoryCapacity
from podnuma.allocator.merge import Merger
from podnuma.allocator.refusal import Refusal
from podnuma.allocator.request import PodRequest
from podnuma.allocator.topology import Topology


class Rules:
    """What a node follows. `reserved` is 0 unless the CPU policy is static, and has online CPUs only.

    `other_kinds` are the CPUs that are shared for the kind of their cores, `half_cores` those whose sibling
    threads pods cannot have. `withheld` is all that is given to nobody exclusively, `withheld_cores` with the
    sibling threads of what is reserved.
    """

    __slots__ = (
        "aligned",
        "half_cores",
        "layout",
        "machine",
        "merger",
        "options",
        "other_kinds",
        "picker",
        "pod_scope",
        "reserved",
        "settings",
        "static_cpu",
        "static_memory",
        "topology",
        "withheld",
        "withheld_cores",
    )

    def __init__(self, settings: ManagerSettings, topology: Topology) -> None:
        problems = check(settings, topology)
        if problems:
            raise SettingsError(problems)
        self.settings = settings
        self.machine = topology
        topology = topology.within_kubepods()
        if settings.isolated_cpu_policy is IsolatedCpuPolicy.UNUSED:
            topology = _balanced(topology)
        self.static_cpu = settings.cpu_manager_policy is CpuManagerPolicy.STATIC
        self.other_kinds = cpuset.EMPTY
        if self.static_cpu and settings.exclusive_core_kind:
            others = CpuSet(topology.all_cpus & ~dict(topology.kinds)[settings.exclusive_core_kind])
            self.other_kinds = CpuSet(others & ~topology.isolated)
            topology = topology.without(others)
        self.options = cpu_options(settings)
        self.half_cores = cpuset.EMPTY
        if self.static_cpu and self.options.full_pcpus_only:
            split = self.machine.whole_cores(self.machine.outside)
            self.half_cores = CpuSet(split & topology.all_cpus & ~topology.isolated)
            if topology.all_cpus & ~split:
                topology = topology.without(split)
        if settings.memory_only_node_policy is MemoryOnlyNodePolicy.UNUSED:
            # CPUs that are isolated or of another kind do not make their NUMA node one without CPUs.
            topology = topology.without_nodes(self.machine.memory_only_nodes)
        self.topology = topology
        self.picker = Picker(topology, self.options, settings.kubelet_release)
        self.static_memory = settings.memory_manager_policy is MemoryManagerPolicy.STATIC
        self.aligned = settings.topology_manager_policy is not TopologyManagerPolicy.NONE
        self.pod_scope = self.aligned and settings.topology_manager_scope is TopologyManagerScope.POD
        self.layout = MemoryCapacity(settings, topology)
        self.merger = Merger(
            topology,
            settings.topology_manager_policy,
            closest=topology_options(settings).prefer_closest_numa_nodes,
        )
        self.reserved = self._reserved()
        self.withheld = CpuSet(self.reserved | self.other_kinds | self.half_cores)
        self.withheld_cores = CpuSet(self.machine.whole_cores(self.reserved) | self.withheld)

    @property
    def managed_cpus(self) -> CpuSet:
        """The default set of a node without pods: all CPUs, without reserved ones if these are strict."""
        every = CpuSet(self.topology.all_cpus | self.other_kinds | self.half_cores)
        return CpuSet(every & ~self.reserved) if self.options.strict_cpu_reservation else every

    @property
    def isolated_in_use(self) -> CpuSet:
        """The isolated CPUs that can be given exclusively; the shared pool never has them."""
        return self.topology.isolated

    @property
    def scope(self) -> TopologyManagerScope:
        """The scope in force; without a topology policy every container stands alone."""
        return TopologyManagerScope.POD if self.pod_scope else TopologyManagerScope.CONTAINER

    @property
    def last_pool(self) -> CpuSet:
        """The shared pool where pods hold all that could be shared: the reserved CPUs that pods can have."""
        return CpuSet(self.reserved & ~self.machine.outside) or self.topology.all_cpus

    def has_budget(self, pod: PodRequest) -> bool:
        """Say whether the budget of a pod counts here: it has one, and pod-level managers are on."""
        return pod.pod_level and self.settings.pod_level_managers

    def _reserved(self) -> CpuSet:
        settings = self.settings
        if not self.static_cpu:
            return CpuSet(0)
        if settings.reserved_system_cpus is not None:
            return CpuSet(settings.reserved_system_cpus & self.machine.all_cpus)
        count = settings.reserved_cpu.units if settings.reserved_cpu else 0
        try:
            return CpuSet(self.picker.take(self.topology.all_cpus & ~self.topology.isolated, count))
        except Refusal as refused:
            raise SettingsError([SettingsProblem("reservedCPU", str(count), refused.message)]) from refused


def _balanced(topology: Topology) -> Topology:
    """Return the machine without its isolated CPUs; if there are no others (policy none), all of it."""
    if not topology.isolated or topology.isolated == topology.all_cpus:
        return topology
    return topology.without(topology.isolated)
