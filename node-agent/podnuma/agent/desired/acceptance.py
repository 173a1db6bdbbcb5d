"""Which grants this node takes: the one owner of what is in force.

Of two allocations that overlap, the one whose pod runs on those CPUs according to the kernel stays; if
neither does, the one that was already in force. The other is refused, whatever the cause, and its pod keeps
what it had in force before, if that is still free. An allocation that names CPUs the node cannot have is
refused, too, and so is one that would leave the shared pool empty: to a kernel an empty set means "all CPUs".

Whoever may create pods can write the annotations of a mirror pod, with the UID of somebody else's pod, until
its kubelet deletes it. The kubelet gives what runs under that UID the name of its own pod: a decision about a
pod of another name is ignored.
"""

import logging
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from podnuma.agent.desired.state import DesiredAllocation, DesiredState
from podnuma.agent.discover.machine import Machine
from podnuma.allocator import cpuset
from podnuma.allocator.check import SettingsError
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.decision import PodGrant
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.api import names
from podnuma.api.node_settings import NodeSettings
from podnuma.plumbing.remembered import Remembered

logger = logging.getLogger(__name__)

NO_GRANTS: Mapping[str, PodGrant] = MappingProxyType({})
_NOBODY: Mapping[str, tuple[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class AcceptedGrants:
    """Grants by pod UID, why others were refused, by pod UID, and the shared pool.

    `sharing`: those that hold nothing. A resize may have left their pods with less than before.
    """

    grants: Mapping[str, PodGrant]
    refused: Mapping[str, str]
    pool: CpuSet
    sharing: Mapping[str, PodGrant] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeCpus:
    """CPUs of the node: `known` ones, offline included; those that can be shared; `last`: else."""

    known: CpuSet
    shareable: CpuSet
    last: CpuSet

    def pool(self, exclusive: CpuSet) -> CpuSet:
        """Return the shared pool when pods hold `exclusive`; see `NodeAllocator.shared_pool`."""
        return CpuSet(self.shareable & ~exclusive or self.last & ~exclusive)


class GrantAcceptance:
    """Remembers which grants are in force; a new process starts from what an earlier one had applied."""

    def __init__(self) -> None:
        self._applied: dict[str, CpuSet] | None = None
        self._last: Mapping[str, PodGrant] = {}
        self._cpus: tuple[NodeSettings | None, Machine, NodeCpus] | None = None
        self._accept = Remembered(accept_grants)

    def update(
        self,
        desired: DesiredState,
        machine: Machine,
        runs: Callable[[PodGrant], bool],
        in_force: Iterable[PodGrant] = (),
        running: Mapping[str, tuple[str, str]] = _NOBODY,
    ) -> AcceptedGrants:
        """Return which of the present grants can be applied.

        `runs`: whether containers of a pod have in the kernel the CPUs that the grant gives them. Asked only
        about grants that overlap. `in_force`: what pods hold whose PodAllocation could not be read yet.
        `running`: namespaces and names of the pods that run, by their UIDs on the node.
        """
        if self._applied is None and desired.allocations_known:
            self._applied = {
                each.allocation.uid_on_node: each.allocation.grant.exclusive_cpus
                for each in desired.allocations()
                if each.allocation is not None and each.allocation.status.phase.in_force
            }
        unread = {grant.uid: grant for grant in in_force}
        theirs = [each for each in desired.allocations() if not _is_of_another(each, running)]
        grants = [each.grant for each in theirs if each.grant is not None]
        grants += unread.values()
        applied = {uid: grant.exclusive_cpus for uid, grant in unread.items()} | (self._applied or {})
        on_theirs = {grant.uid for grant in _contested(grants) if grant.uid in unread or runs(grant)}
        cpus = self._node_cpus(desired.node_config.settings, machine)
        accepted = self._accept(grants, applied, cpus, running=on_theirs, last=self._last)
        self._last = accepted.grants
        if self._applied is not None:
            self._applied = {uid: grant.exclusive_cpus for uid, grant in accepted.grants.items()}
        return accepted

    def _node_cpus(self, settings: NodeSettings | None, machine: Machine) -> NodeCpus:
        """Return the CPUs of the node, worked out anew only under other settings or on another machine."""
        known = self._cpus
        if known is None or known[0] is not settings or known[1] is not machine:
            known = self._cpus = settings, machine, _cpus(settings, machine)
        return known[2]


def accept_grants(
    grants: Iterable[PodGrant],
    applied: Mapping[str, CpuSet],
    cpus: NodeCpus,
    *,
    running: Container[str] = (),
    last: Mapping[str, PodGrant] = NO_GRANTS,
) -> AcceptedGrants:
    """Sort out what can be applied; where nothing is held nothing is to be applied.

    `applied`: exclusive CPUs by pod UID that are in force now. `running`: pods that are on the CPUs of their
    grants, as the kernel says. `last`: the grants that were accepted before.
    """
    taken: dict[str, PodGrant] = {}
    refused: dict[str, str] = {}
    exclusive = cpuset.EMPTY
    grants = list(grants)
    holding = [grant for grant in grants if grant.holds_anything]

    def priority(grant: PodGrant) -> tuple[bool, bool, str]:
        return grant.uid not in running, applied.get(grant.uid) != grant.exclusive_cpus, grant.uid

    for grant in sorted(holding, key=priority):
        if grant.uid in taken:
            # The operator gives the record of a pod that is gone another name: for a moment there are two.
            continue
        why = _why_not(grant, taken.values(), exclusive, cpus)
        if why is None:
            taken[grant.uid] = grant
            exclusive = CpuSet(exclusive | grant.exclusive_cpus)
        else:
            refused[grant.uid] = why
    for uid in refused.keys() & last.keys():
        if _why_not(last[uid], taken.values(), exclusive, cpus) is None:
            taken[uid] = last[uid]
            exclusive = CpuSet(exclusive | last[uid].exclusive_cpus)
    sharing = {grant.uid: grant for grant in grants if not grant.holds_anything and grant.uid not in taken}
    return AcceptedGrants(taken, refused, cpus.pool(exclusive), sharing)


def _is_of_another(desired: DesiredAllocation, running: Mapping[str, tuple[str, str]]) -> bool:
    """Tell whether an allocation of a static pod claims the UID of a pod that has another name."""
    allocation = desired.allocation
    named = None if allocation is None else running.get(allocation.uid_on_node)
    if allocation is None or named is None or allocation.uid_on_node == allocation.pod_uid:
        return False
    namespace, name = named
    return desired.key not in {(namespace, name), (namespace, names.aside(name, allocation.pod_uid))}


def _contested(grants: Sequence[PodGrant]) -> list[PodGrant]:
    """Return the grants of whose CPUs another one has some, too."""
    once = twice = 0
    for grant in grants:
        twice |= once & grant.exclusive_cpus
        once |= grant.exclusive_cpus
    return [grant for grant in grants if grant.exclusive_cpus & twice]


def _why_not(grant: PodGrant, taken: Iterable[PodGrant], exclusive: CpuSet, cpus: NodeCpus) -> str | None:
    why = _strange(grant, cpus.known) or _overlap(grant, taken)
    if why is None and not cpus.pool(CpuSet(exclusive | grant.exclusive_cpus)):
        return (
            f"spec.cpus {cpuset.render(grant.exclusive_cpus)!r} would leave no CPU for the node shared"
            " pool; delete the pod"
        )
    return why


def _strange(grant: PodGrant, known: CpuSet) -> str | None:
    cpus = grant.exclusive_cpus
    if cpus & ~known:
        strange = cpuset.render(CpuSet(cpus & ~known))
        return f"spec.cpus {cpuset.render(cpus)!r}: this node has no CPU {strange}; delete the pod"
    return None


def _overlap(grant: PodGrant, taken: Iterable[PodGrant]) -> str | None:
    cpus = grant.exclusive_cpus
    for other in taken:
        both = CpuSet(cpus & other.exclusive_cpus)
        if both:
            return (
                f"spec.cpus {cpuset.render(cpus)!r}: CPUs {cpuset.render(both)} are already held by pod"
                f" {other.namespace}/{other.name}; delete one of the two pods"
            )
    return None


def _cpus(settings: NodeSettings | None, machine: Machine) -> NodeCpus:
    topology = machine.topology
    if settings is not None:
        try:
            node = NodeAllocator.empty(settings.managers, topology)
        except SettingsError as error:
            # The operator says so in a condition; what was granted under good settings stays.
            logger.debug("settings cannot be used: %s", error)
        else:
            shareable = CpuSet(node.default_set & ~node.rules.isolated_in_use)
            return NodeCpus(machine.known_cpus, shareable, node.rules.last_pool)
    balanced = CpuSet(machine.cpus_for_pods & ~topology.isolated)
    return NodeCpus(machine.known_cpus, balanced or machine.cpus_for_pods, cpuset.EMPTY)
