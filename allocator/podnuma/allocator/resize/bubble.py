"""The CPUs of a budget after a resize, and who in the pod has which.

    keep      each exclusive container its slice, a shrunken one the part that is packed first; the pod shared
              pool what it had, as far as it is still as large
    gather    what these gave up
    add       CPUs from the node, if that is not enough for those that grow
    hand out  to the growing slices in container order, then to the pool
    give up   what is left over goes back to the node

So a CPU changes hands only where somebody grows and somebody else shrinks. Init containers hold nothing
for longer than they run: one keeps its CPUs where no sidecar before it has them now.
"""

from collections.abc import Iterable

from podnuma.allocator import refusal
from podnuma.allocator.attempt import AdmissionAttempt
from podnuma.allocator.counts import AssignmentType
from podnuma.allocator.cpu.pick import check_smt
from podnuma.allocator.decision import PodGrant
from podnuma.allocator.device_hints import pod_device_hints
from podnuma.allocator.eligibility import ExclusiveRequests, empty_cpu_pool
from podnuma.allocator.request import ContainerKind
from podnuma.allocator.resize.growth import more_cpus
from podnuma.allocator.rules import Rules


def resize_bubble(
    rules: Rules, free: int, requests: ExclusiveRequests, held: PodGrant, attempt: AdmissionAttempt
) -> None:
    """Fill in the CPUs of a pod with a budget. Raises Refusal.

    `free` are the node's free CPUs, without what the pod holds and without reserved ones.
    """
    problem = empty_cpu_pool(requests)
    if problem:
        raise refusal.empty_pool(problem)
    bubble = _Bubble(rules, free, requests, held)
    bubble.add()
    bubble.hand_out()
    bubble.assign(attempt)


class _Bubble:
    """The bubble on its way from the old shape to the new; a CPU is in one place at a time."""

    def __init__(self, rules: Rules, free: int, requests: ExclusiveRequests, held: PodGrant) -> None:
        self.rules = rules
        self.free = free
        self.requests = requests
        self.old = held.cpus or 0
        self.memory_nodes = held.memory_nodes
        self.init_cpus = {
            place: container.cpus or 0
            for place, container in enumerate(held.containers)
            if container.cpu_assignment is AssignmentType.POD_EXCLUSIVE
        }
        lasting = [
            place
            for place, container in enumerate(requests.pod.containers)
            if container.kind is not ContainerKind.INIT
        ]
        taken = _union(self.init_cpus.get(place, 0) for place in lasting)
        self.slices = {
            place: _kept(rules, self.init_cpus.get(place, 0), requests.cpus[place])
            for place in lasting
            if requests.cpus[place]
        }
        wanted = sum(requests.cpus[place] for place in self.slices)
        count = requests.pod_cpus
        if wanted > count:
            raise refusal.not_enough_cpus(wanted, count)
        if count != self.old.bit_count():
            mine = (free | self.old) & ~rules.withheld_cores
            check_smt(rules.options, count, rules.topology.per_core, mine)
        self.pool_size = count - wanted
        pool = self.old & ~taken
        # Growing slices have the first choice of what the pool gives up, for the sake of whole cores.
        given = min(max(0, pool.bit_count() - self.pool_size), sum(map(self.missing, self.slices)))
        self.pool = _kept(rules, pool & ~rules.picker.take(pool, given), self.pool_size)
        self.spare = self.old & ~self.pool & ~_union(self.slices.values())

    def missing(self, place: int) -> int:
        """Return how many CPUs a slice has to grow by."""
        return self.requests.cpus[place] - self.slices[place].bit_count()

    def add(self) -> None:
        """Take from the node what nobody in the pod gave up."""
        isolated = self.rules.isolated_in_use
        wanted = sum(self.missing(place) for place in self.slices)
        grows = self.pool_size - self.pool.bit_count()
        if isolated and grows:
            # The kernel balances no load on isolated CPUs: the pool grows by others, and first.
            mine = self.spare & ~isolated
            mine = self.rules.picker.take(mine, min(grows, mine.bit_count()))
            mine |= self._take(self.free & ~isolated, grows - mine.bit_count())
            self.pool |= mine
            self.spare &= ~mine
            grows = 0
        self.spare |= self._take(self.free, wanted + grows - self.spare.bit_count())

    def hand_out(self) -> None:
        """Let the slices grow, each on its own NUMA nodes if it can, and then the pool."""
        rules = self.rules
        for place in self.slices:
            count = self.missing(place)
            if count:
                nodes = rules.topology.nodes_of(self.slices[place])
                close = rules.topology.cpus_on(nodes) if nodes else None
                got = rules.picker.take_aligned(self.spare, close, count, 0)
                self.slices[place] |= got
                self.spare &= ~got
        got = rules.picker.take(self.spare, self.pool_size - self.pool.bit_count())
        self.pool |= got
        self.spare &= ~got

    def assign(self, attempt: AdmissionAttempt) -> None:
        """Write down who has what."""
        bubble = self.pool | _union(self.slices.values())
        self._check_cores(bubble)
        attempt.bubble_cpus = bubble
        isolated = self.rules.isolated_in_use
        room = bubble  # what the sidecars so far leave for an init container
        for place, container in enumerate(self.requests.pod.containers):
            assignment, count = attempt.assignments[place], self.requests.cpus[place]
            if place in self.slices:
                cpus = self.slices[place]
                room &= ~cpus
            elif container.kind is not ContainerKind.INIT:
                cpus = self.pool
            elif count:
                cpus = _kept(self.rules, self.init_cpus.get(place, 0) & room, count)
                cpus |= self.rules.picker.take(room & ~cpus, count - cpus.bit_count())
            else:
                cpus = room
            assignment.cpus = cpus if count else cpus & ~isolated or cpus
            assignment.cpu_assignment = AssignmentType.POD_EXCLUSIVE if count else AssignmentType.POD_SHARED

    def _take(self, free: int, count: int) -> int:
        if count <= 0:
            return 0
        devices = pod_device_hints(self.rules.topology, self.requests.pod)
        got = more_cpus(self.rules, free, self.old, self.memory_nodes, count, devices)
        self.free &= ~got
        return got

    def _check_cores(self, bubble: int) -> None:
        """Refuse to break cores where only whole ones are given, unless they were broken before."""
        if not self.rules.options.full_pcpus_only:
            return
        topology = self.rules.topology
        if topology.whole_cores(bubble) != bubble and topology.whole_cores(self.old) == self.old:
            raise refusal.unexpected_resize(
                "only whole cores are given, and what the pod would keep and give back makes none; "
                "change the budget by whole cores, or one container at a time"
            )


def _kept(rules: Rules, cpus: int, count: int) -> int:
    """Return what somebody keeps of its CPUs who wants `count`."""
    return cpus if cpus.bit_count() <= count else rules.picker.take(cpus, count)


def _union(sets: Iterable[int]) -> int:
    union = 0
    for cpus in sets:
        union |= cpus
    return union
