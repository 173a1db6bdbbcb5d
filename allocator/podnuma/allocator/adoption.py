"""What is wrong with a grant that was decided earlier, perhaps under other settings or on other hardware.

A running pod keeps what it holds; settings and hardware may have changed around it, down to which CPUs are
threads of one core, or which NUMA node they are in: firmware that is set otherwise numbers them anew. Each
finding is a SettingsProblem that names the field of the grant, the value and what follows from it. Only
an overlap with another held grant makes a grant unusable.
"""

from collections.abc import Iterable, Iterator

from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.check import SettingsProblem
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.decision import PodGrant
from podnuma.allocator.manager_settings import TopologyManagerPolicy
from podnuma.allocator.memory.memory_map import NumaMemoryMap
from podnuma.allocator.quantities import format_bytes
from podnuma.allocator.rules import Rules
from podnuma.allocator.topology import Topology

# Policies under which memory is on the NUMA nodes that a container has its CPUs on.
_ALIGNED = (TopologyManagerPolicy.SINGLE_NUMA_NODE, TopologyManagerPolicy.RESTRICTED)


def overlap(grant: PodGrant, held: Iterable[PodGrant]) -> SettingsProblem | None:
    """Return the problem of a grant that shares CPUs with a held one."""
    for other in held:
        both = grant.exclusive_cpus & other.exclusive_cpus
        if both:
            return SettingsProblem(
                "cpus",
                cpuset.render(grant.exclusive_cpus),
                f"CPUs {cpuset.render(both)} are held by pod {other.namespace}/{other.name}; "
                f"pod {grant.namespace}/{grant.name} is not held, delete one of the two",
            )
    return None


def adoption_problems(grant: PodGrant, rules: Rules, tables: NumaMemoryMap) -> list[SettingsProblem]:
    """Return what does not fit today; the grant can be held all the same."""
    return [
        *_cpu_misfits(grant, rules),
        *_layout_misfits(grant, rules),
        *_memory_misfits(grant, rules, tables),
    ]


def _cpu_misfits(grant: PodGrant, rules: Rules) -> Iterator[SettingsProblem]:
    pod, cpus = f"pod {grant.namespace}/{grant.name}", grant.exclusive_cpus
    text = cpuset.render(cpus)
    missing = cpus & ~rules.machine.all_cpus
    if missing:
        yield SettingsProblem("cpus", text, f"{pod} holds CPUs {cpuset.render(missing)}, which are offline")
    isolated = cpus & rules.machine.isolated & ~rules.topology.isolated
    if isolated:
        yield SettingsProblem(
            "cpus",
            text,
            f"{pod} keeps CPUs {cpuset.render(isolated)}, which are isolated and unused now, until it ends",
        )
    outside = cpus & rules.machine.outside
    if outside:
        yield SettingsProblem(
            "cpus",
            text,
            f"{pod} holds CPUs {cpuset.render(outside)}, which kubepods lacks; it runs on what is left",
        )
    other = cpus & rules.other_kinds
    if other:
        yield SettingsProblem(
            "cpus",
            text,
            f"{pod} keeps CPUs {cpuset.render(other)} until it ends, which are shared now: "
            f"their cores are not {rules.settings.exclusive_core_kind}",
        )
    reserved = cpus & rules.reserved
    if reserved:
        yield SettingsProblem(
            "cpus", text, f"{pod} keeps CPUs {cpuset.render(reserved)}, which are reserved now, until it ends"
        )
    if cpus and not rules.static_cpu:
        yield SettingsProblem(
            "cpus", text, f"{pod} keeps CPUs of its own until it ends; cpuManagerPolicy is none now"
        )


def _layout_misfits(grant: PodGrant, rules: Rules) -> Iterator[SettingsProblem]:
    """Yield what is wrong with the cores and NUMA nodes that the CPUs of a grant are in."""
    topology, policy = rules.topology, rules.settings.topology_manager_policy
    pod, cpus = f"pod {grant.namespace}/{grant.name}", grant.exclusive_cpus
    parted = topology.whole_cores(cpus) & ~cpus
    # Where cores are of several sizes, the option promises nothing, here as in the kubelet.
    if parted and rules.static_cpu and rules.options.full_pcpus_only and topology.equal_cores:
        yield SettingsProblem(
            "cpus",
            cpuset.render(cpus),
            f"{pod} keeps a part of cores until it ends, whose other threads are CPUs"
            f" {cpuset.render(CpuSet(parted))}; full-pcpus-only would give it whole ones",
        )
    own = [container.cpus for container in grant.containers if container.cpus is not None]
    spread = [topology.nodes_of(each) for each in ([cpus] if rules.pod_scope else own)]
    if policy is TopologyManagerPolicy.SINGLE_NUMA_NODE and any(nodes & nodes - 1 for nodes in spread):
        yield SettingsProblem(
            "cpus",
            cpuset.render(cpus),
            f"{pod} keeps CPUs of {nodeset.named(topology.nodes_of(cpus))} until it ends;"
            " single-numa-node would give it those of one",
        )
    if policy in _ALIGNED and rules.static_memory:
        yield from _far_memory(grant, topology)


def _far_memory(grant: PodGrant, topology: Topology) -> Iterator[SettingsProblem]:
    for container in grant.containers:
        nodes = topology.nodes_of(container.cpus or cpuset.EMPTY)
        if container.memory_nodes and nodes & ~container.memory_nodes:
            yield SettingsProblem(
                "memoryNodes",
                nodeset.render(container.memory_nodes),
                f"pod {grant.namespace}/{grant.name} keeps memory on {nodeset.named(container.memory_nodes)}"
                f" for container {container.name} until it ends; its CPUs are on {nodeset.named(nodes)} now",
            )
            return


def _memory_misfits(grant: PodGrant, rules: Rules, tables: NumaMemoryMap) -> Iterator[SettingsProblem]:
    pod = f"pod {grant.namespace}/{grant.name}"
    unused = grant.memory_nodes & rules.topology.unused
    if unused:
        yield SettingsProblem(
            "memoryNodes",
            nodeset.render(grant.memory_nodes),
            f"{pod} keeps memory on {nodeset.named(unused)} until it ends: "
            "no CPUs are there, and memoryOnlyNodePolicy is Unused now",
        )
    outside = grant.memory_nodes & rules.machine.outside_memory
    if outside:
        yield SettingsProblem(
            "memoryNodes",
            nodeset.render(grant.memory_nodes),
            f"{pod} holds memory on {nodeset.named(outside)}, whose memory kubepods does not have",
        )
    unknown = grant.memory_nodes & ~rules.topology.listed_nodes
    if unknown:
        yield SettingsProblem(
            "memoryNodes",
            nodeset.render(grant.memory_nodes),
            f"{pod} holds memory on {nodeset.named(unknown)}, which the machine lacks",
        )
    if grant.charged and not rules.static_memory:
        yield SettingsProblem(
            "memoryNodes",
            nodeset.render(grant.memory_nodes),
            f"{pod} keeps its memory nodes until it ends; memoryManagerPolicy is None now",
        )
        return
    for block in grant.charged:
        free = tables.uncharged_on(block.nodes & rules.topology.all_nodes, block.resource)
        if free < block.size:
            yield SettingsProblem(
                "memory",
                format_bytes(block.size),
                f"{pod} keeps {format_bytes(block.size)} of {block.resource} on "
                f"{nodeset.named(block.nodes)}, where only {format_bytes(max(free, 0))} are free",
            )
