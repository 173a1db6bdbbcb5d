"""A node: its machine, its rules, and the grants it holds.

Decide, then hold. `decide` looks at a pod and changes nothing; between it and `hold` the
decision can be written somewhere, and if that fails there is nothing to undo. A decision is
stamped with the node's generation; `hold` refuses one that is no longer fresh. `resize` decides about a pod
whose resources have changed while it runs.

Always true: what is free is the machine less what the held grants take, and less the huge pages that
others have in use (`others_have`), so releasing a grant is forgetting it. No CPU is in two grants. A pod that
is already held gets its grant again; it is never decided anew, and a resize moves nothing that it keeps. The
shared pool is never empty, and reserved CPUs are not in it if they are strictly reserved or outside the
cgroup of all pods: a pod that would leave no other CPU is refused. Where adopted pods hold all of them, the
shared pool is the reserved CPUs, since a kernel reads an empty set as "all".
"""

from collections.abc import Hashable, Iterable, Mapping
from itertools import chain
from types import MappingProxyType

from podnuma.allocator import isolation
from podnuma.allocator.adoption import adoption_problems, overlap
from podnuma.allocator.answers import Answer, Answers, Fits, question
from podnuma.allocator.attempt import AdmissionAttempt
from podnuma.allocator.check import SettingsProblem
from podnuma.allocator.counts import AssignmentCounts, count_assignments, tally
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.decision import Admitted, PodGrant, Rejected
from podnuma.allocator.eligibility import exclusive_requests
from podnuma.allocator.isolation import leave_some_for_others
from podnuma.allocator.lifecycle import after_start, without_container
from podnuma.allocator.manager_settings import ManagerSettings
from podnuma.allocator.memory.memory_map import MemoryTable, NumaMemoryMap
from podnuma.allocator.memory.others import OthersPages
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.refusal import Refusal
from podnuma.allocator.request import PodRequest
from podnuma.allocator.resize.decide import ResizeRefused, resized_grant
from podnuma.allocator.rules import Rules
from podnuma.allocator.scope_container import place_containers
from podnuma.allocator.scope_pod import place_pod
from podnuma.allocator.topology import Topology

_ANSWERS = Answers()


class StaleDecisionError(RuntimeError):
    """The node changed after the decision was made; decide again."""


class NodeAllocator:
    """One node. Not safe for concurrent use."""

    __slots__ = ("_default", "_grants", "_rules", "_tables", "generation")

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._default = int(rules.managed_cpus)
        self._tables = NumaMemoryMap(rules.layout)
        self._grants: dict[str, PodGrant] = {}
        self.generation = 0

    @staticmethod
    def empty(settings: ManagerSettings, topology: Topology) -> "NodeAllocator":
        """Return a node without pods. Raises SettingsError with everything that is wrong."""
        return NodeAllocator(Rules(settings, topology))

    @staticmethod
    def restore(
        settings: ManagerSettings, topology: Topology, grants: Iterable[PodGrant]
    ) -> tuple["NodeAllocator", list[SettingsProblem]]:
        """Return a node that holds these grants, and what is wrong with them.

        Grants are adopted in the order given; see `adopt`. Raises SettingsError.
        """
        node = NodeAllocator.empty(settings, topology)
        problems = [problem for grant in grants for problem in node.adopt(grant)]
        return node, problems

    @property
    def settings(self) -> ManagerSettings:
        """The settings of this node's managers."""
        return self._rules.settings

    @property
    def topology(self) -> Topology:
        """The machine, isolated CPUs included."""
        return self._rules.machine

    @property
    def tables(self) -> NumaMemoryMap:
        """The memory tables themselves, to look at; changing them is the node's own business."""
        return self._tables

    @property
    def rules(self) -> Rules:
        """Settings and machine made ready; equal nodes can share them."""
        return self._rules

    @property
    def reserved_cpus(self) -> CpuSet:
        """The CPUs that are kept for the system."""
        return CpuSet(self._rules.reserved)

    @property
    def default_set(self) -> CpuSet:
        """The kubelet's default CPU set: what no grant takes. Can be empty under strict reservation."""
        return CpuSet(self._default)

    @property
    def free_cpus(self) -> CpuSet:
        """The CPUs that can still be given exclusively."""
        return CpuSet(self._default & ~self._rules.withheld)

    @property
    def shared_pool(self) -> CpuSet:
        """The CPUs of every container that has none of its own. Never empty."""
        rules = self._rules
        return CpuSet(self._default & ~rules.isolated_in_use) or rules.last_pool

    @property
    def grants(self) -> Mapping[str, PodGrant]:
        """What is held, by pod UID; only grants that take something."""
        return MappingProxyType(self._grants)

    def others_have(self, pages: OthersPages) -> None:
        """Leave the huge pages alone that others have in use; what is held or decided stays so."""
        self._tables.others_have(pages)

    def free_memory(self, node: int, resource: str) -> int:
        """Return the free bytes of a memory resource on a NUMA node, 0 if it has none of it."""
        return self._tables.free_on(1 << node, resource)

    def memory_rows(self, node: int) -> dict[str, MemoryTable]:
        """Return the memory table of a NUMA node, by resource; empty for one that is not used."""
        return self._tables.rows(node)

    def memory_group(self, node: int) -> NodeSet:
        """Return the group a NUMA node is in: itself alone, or the nodes it shares blocks with."""
        return NodeSet(self._tables.groups.get(node, 1 << node))

    def memory_assignments(self, node: int) -> int:
        """Return how many blocks a NUMA node carries."""
        return self._tables.assignments.get(node, 0)

    def assignment_counts(self) -> AssignmentCounts:
        """Count the containers of held grants by assignment type."""
        return count_assignments(chain.from_iterable(grant.assigned() for grant in self._grants.values()))

    def without(self, uid: str) -> "NodeAllocator":
        """Return another node in the same state, but without one pod; this one stays as it is."""
        twin = NodeAllocator(self._rules)
        twin._default = self._default
        twin._tables = self._tables.copy()
        twin._grants = self._grants.copy()
        twin.generation = self.generation
        twin.release(uid)
        return twin

    def state(self) -> Hashable:
        """Return what a decision depends on; nodes whose states are equal decide a pod that is new alike."""
        return self._rules, self._default, self._tables.state()

    def decide(self, pod: PodRequest) -> Admitted | Rejected:
        """Decide about one pod; the node stays as it is."""
        held = self._grants.get(pod.uid)
        if held is not None:
            return Admitted(held, self.generation)
        asked = question(self.state(), pod)
        answer = _ANSWERS.get(asked)
        if answer is None:
            answer = self._answer(pod)
            _ANSWERS.keep(asked, answer, pod)
        if isinstance(answer, Rejected):
            return answer
        return Admitted(answer.grant_to(pod), self.generation, answer.hints)

    def _answer(self, pod: PodRequest) -> Answer:
        rules = self._rules
        attempt = AdmissionAttempt(len(pod.containers))
        wanted = exclusive_requests(pod, pod_level_managers=rules.settings.pod_level_managers)
        try:
            if rules.pod_scope and rules.has_budget(pod):
                place_pod(rules, self._default, self._tables, wanted, attempt)
            else:
                place_containers(rules, self._default, self._tables, wanted, attempt)
            grant = isolation.pod_grant(rules, pod, attempt)
            leave_some_for_others(rules, self._default, grant)
        except Refusal as refused:
            return Rejected(refused.reason, refused.message, tally(attempt.assigned(), attempt.serving))
        return Fits(grant, attempt.hints)

    def resize(self, pod: PodRequest) -> Admitted | ResizeRefused:
        """Decide what a pod holds after its resources have changed; the node stays as it is.

        A pod that holds nothing is decided as a new one. The answer is to be held like any other.
        """
        grant = self._resized(pod)
        if isinstance(grant, PodGrant):
            return Admitted(grant, self.generation)
        alone = NodeAllocator(self._rules)
        held = self._grants.get(pod.uid)
        if held is not None:
            alone._add(held)
        return ResizeRefused(grant, isinstance(alone._resized(pod), PodGrant))

    def _resized(self, pod: PodRequest) -> PodGrant | str:
        """Return what a pod would hold, or why it cannot."""
        held = self._grants.get(pod.uid)
        if held is None:
            answer = self.decide(pod)
            return answer.grant if isinstance(answer, Admitted) else answer.message
        try:
            return resized_grant(self._rules, self._default, self._tables, held, pod)
        except Refusal as refused:
            return refused.message

    def hold(self, decision: Admitted) -> None:
        """Hold what was decided. Raises StaleDecisionError if the node changed since.

        A grant that takes nothing is not kept; one that is held already changes nothing; one of a resized
        pod takes the place of the former.
        """
        if decision.generation != self.generation:
            raise StaleDecisionError(
                f"pod {decision.grant.namespace}/{decision.grant.name} was decided at generation "
                f"{decision.generation}, the node is at {self.generation}; decide again"
            )
        if decision.grant != self._grants.get(decision.grant.uid):
            self.release(decision.grant.uid)
            self._add(decision.grant)

    def adopt(self, grant: PodGrant) -> list[SettingsProblem]:
        """Hold a grant that was decided earlier, and say what about it does not fit any more.

        A grant that shares CPUs with a held one is not held; every other is, however little it
        fits today's settings. Adopting a held UID again replaces its grant.
        """
        self.release(grant.uid)
        shared = overlap(grant, self._grants.values())
        if shared is not None:
            return [shared]
        problems = adoption_problems(grant, self._rules, self._tables)
        self._add(grant)
        return problems

    def release(self, uid: str) -> bool:
        """Forget a pod's grant; say whether there was one."""
        grant = self._grants.pop(uid, None)
        if grant is None:
            return False
        self._default |= grant.exclusive_cpus & self._rules.managed_cpus
        for block in grant.charged:
            self._tables.give_back(block.nodes, block.resource, block.size)
        self.generation += 1
        return True

    def container_started(self, uid: str, name: str) -> None:
        """Drop the memory records of the init containers that ended before this container started."""
        if uid in self._grants:
            self._shrink(self._grants[uid], after_start(self._grants[uid], name))

    def remove_container(self, uid: str, name: str) -> None:
        """Take away what one container holds. Raises KeyError if a held pod lacks the container."""
        if uid in self._grants:
            self._shrink(self._grants[uid], without_container(self._grants[uid], name))

    def _add(self, grant: PodGrant) -> None:
        if not grant.holds_anything:
            return
        self._grants[grant.uid] = grant
        self._default &= ~grant.exclusive_cpus
        for block in grant.charged:
            self._tables.charge(block.nodes, block.resource, block.size)
        self.generation += 1

    def _shrink(self, old: PodGrant, new: PodGrant) -> None:
        if new == old:
            return
        self._grants[old.uid] = new
        self._default |= old.exclusive_cpus & ~new.exclusive_cpus & self._rules.managed_cpus
        if old.memory:
            gone = () if new.memory else old.memory
        else:
            gone = tuple(
                block
                for before, after in zip(old.containers, new.containers, strict=True)
                if not after.memory
                for block in before.memory
            )
        for block in gone:
            self._tables.give_back(block.nodes, block.resource, block.size)
        if not new.holds_anything:
            del self._grants[old.uid]
        self.generation += 1
