"""The whole machine: topology for the allocator, and what else the node's status shows.

`discover` reads everything anew and is pure but for the files; hardware changes (CPU hotplug) are found
by comparing two answers.
"""

from dataclasses import dataclass
from pathlib import Path

from podnuma.agent.discover import cpus, memory
from podnuma.agent.discover.core_kinds import read_core_kinds
from podnuma.agent.discover.tree import Finding, Tree, summary
from podnuma.agent.model.cgroup_values import Available
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.topology import Cpu, Topology, TopologyError


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine at one moment. `topology` has the online CPUs, less those in no NUMA node.

    `possible_cpus`: those that may come online, besides those that are; unplugged ones are among them.
    `kubepods`: the cgroup of all pods, which may have less than the machine; "" where that is not known.
    `possible_nodes`: the NUMA nodes that may come online, besides those that are.
    """

    topology: Topology
    in_no_node: CpuSet = cpuset.EMPTY
    possible_cpus: CpuSet = cpuset.EMPTY
    kubepods: str = ""
    possible_nodes: NodeSet = nodeset.EMPTY

    @property
    def cpus_for_pods(self) -> CpuSet:
        """The online CPUs that pods can have."""
        return CpuSet(self.topology.all_cpus & ~self.topology.outside) or self.topology.all_cpus

    @property
    def known_cpus(self) -> CpuSet:
        """The CPUs that the kernel knows; it refuses a set with any other."""
        topology = self.topology
        return CpuSet(topology.all_cpus | topology.offline | self.in_no_node | self.possible_cpus)

    @property
    def known_nodes(self) -> NodeSet:
        """The NUMA nodes that the kernel knows; it refuses a set of memory nodes with any other."""
        return NodeSet(self.possible_nodes | self.topology.listed_nodes)

    @property
    def available(self) -> Available:
        """What the kernel makes of any set that is written in a cgroup of pods: no more than this."""
        without = nodeset.of(node.id for node in self.topology.nodes if not node.memory)
        return Available(self.cpus_for_pods, NodeSet(without | self.topology.outside_memory))


@dataclass(frozen=True, slots=True)
class Discovered:
    """`machine` is None only if a finding is fatal. One finding stands for all CPUs with the same one."""

    machine: Machine | None
    findings: tuple[Finding, ...]


def discover(sys_root: Path, proc_root: Path) -> Discovered:
    """Read the machine below `sys_root` (mounted /sys) and `proc_root` (mounted /proc)."""
    tree, proc = Tree(sys_root), Tree(proc_root)
    processors = cpus.read_cpus(tree)
    nodes = memory.read_memory(tree, proc, processors.online)
    machine = None
    if processors.online:
        machine = _machine(tree, processors, nodes)
    return Discovered(machine, (*summary(tree.findings), *summary(proc.findings)))


def _machine(tree: Tree, processors: cpus.Processors, nodes: memory.Memory) -> Machine | None:
    described = [
        Cpu(
            id=cpu,
            core=core,
            socket=processors.socket[cpu],
            node=nodes.node_of_cpu[cpu],
            uncore=processors.uncore[cpu],
        )
        for cpu, core in sorted(processors.core.items())
        if cpu in nodes.node_of_cpu
    ]
    try:
        kinds = read_core_kinds(tree, cpuset.of(cpu.id for cpu in described))
        topology = Topology.build(
            described, nodes.nodes, processors.isolated, processors.unknown, kinds, processors.offline
        )
    except TopologyError as error:
        tree.add("devices/system", str(error), "report the machine with `podnuma discover`", fatal=True)
        return None
    return Machine(
        topology=topology,
        in_no_node=CpuSet(processors.online & ~topology.all_cpus),
        possible_cpus=processors.possible,
        possible_nodes=nodes.possible,
    )
