"""Decide which CPUs and which NUMA nodes' memory a pod gets, as the kubelet's managers would.

The model. A *node* is a machine (topology), its manager settings, and what its pods
hold. `decide` looks at one pod and answers Admitted with a grant, or Rejected with a reason;
it changes nothing. `resize` does the same for a pod that runs with other resources than it was
decided for. `hold` makes an admitted grant part of the node, `release` takes it away,
`adopt` and `NodeAllocator.restore` give a node grants that were decided earlier: a restart never
decides again.

    topology + settings + held grants + pod  ->  Admitted(grant) | Rejected(reason, message)

A Guaranteed pod with a budget of its own (spec.resources) and topology scope "pod" gets a
*bubble*: one NUMA-aligned set of CPUs and memory. Its exclusive containers get slices of the
bubble, the others share the rest, the pod shared pool. Any other Guaranteed pod gets separate
sets for its containers. All other containers run in the node shared pool, which never is
empty.

How a bubble is found: the CPU side and the memory side each say which sets of NUMA nodes can
serve the request (hints), the topology policy merges them into one node set, CPUs are picked
core by core inside it, memory is charged to it.

Reading order: quantities, request, cpuset, nodeset, hardware, topology, manager_settings, check, rules,
eligibility, topology_hint, numa_candidates, merge, cpu/, memory/, device_hints, refusal, partition, reuse,
attempt, scope_pod, scope_container, isolation, decision, counts, resize/, lifecycle, adoption, answers,
node_allocator, placement/, explain/.

`In the kubelet` names the code that a module has to agree with: a file below pkg/kubelet/cm of Kubernetes
v1.37, and functions in it. CPU sets and node sets are integers used as masks. Nothing here does I/O, reads a
clock, or imports anything outside the standard library; what other parts may use is in `__all__` or in a
module of its own. `__all__` has the values that decisions are made of and nothing that decides: to draw what
was decided loads no more than these. Who decides imports `node_allocator`, who asks why
`explain.explanation`.
"""

from podnuma.allocator.check import SettingsError, SettingsProblem, check
from podnuma.allocator.counts import AssignmentCounts, AssignmentType, Counts, count_assignments
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.decision import (
    Admitted,
    ContainerGrant,
    GrantedDevice,
    Isolation,
    MemoryBlock,
    PodGrant,
    Reason,
    Rejected,
)
from podnuma.allocator.manager_settings import (
    CpuManagerPolicy,
    IsolatedCpuPolicy,
    KubeletRelease,
    ManagerSettings,
    MemoryManagerPolicy,
    MemoryOnlyNodePolicy,
    ReservedMemory,
    TopologyManagerPolicy,
    TopologyManagerScope,
)
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.quantities import Quantity
from podnuma.allocator.request import ContainerKind, ContainerRequest, PodRequest, Qos
from podnuma.allocator.topology import Cpu, NumaNode, Topology, TopologyError
from podnuma.allocator.topology_hint import TopologyHint

__all__ = [
    "Admitted",
    "AssignmentCounts",
    "AssignmentType",
    "ContainerGrant",
    "ContainerKind",
    "ContainerRequest",
    "Counts",
    "Cpu",
    "CpuManagerPolicy",
    "CpuSet",
    "GrantedDevice",
    "IsolatedCpuPolicy",
    "Isolation",
    "KubeletRelease",
    "ManagerSettings",
    "MemoryBlock",
    "MemoryManagerPolicy",
    "MemoryOnlyNodePolicy",
    "NodeSet",
    "NumaNode",
    "PodGrant",
    "PodRequest",
    "Qos",
    "Quantity",
    "Reason",
    "Rejected",
    "ReservedMemory",
    "SettingsError",
    "SettingsProblem",
    "Topology",
    "TopologyError",
    "TopologyHint",
    "TopologyManagerPolicy",
    "TopologyManagerScope",
    "check",
    "count_assignments",
]
