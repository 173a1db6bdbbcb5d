"""What `podnuma explain` found out about a pod, before it is written as text or as JSON."""

from dataclasses import dataclass

from podnuma.allocator import Admitted, PodGrant, PodRequest
from podnuma.allocator.explain.brief import brief
from podnuma.allocator.explain.explanation import Explanation
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.nodeset import NodeSet
from podnuma.api import pod_allocation
from podnuma.api.pod_allocation import PodAllocation
from podnuma.api.pod_allocation_status import Phase, Verdict


@dataclass(frozen=True, slots=True)
class PodExplanation:
    """A pod on a node: what is stored about it (None: nothing), and what would be decided there now.

    `managed`: the node's profile selects the pod. `allocated`: what the kubelet has allocated, where that is
    not what the spec asks for, and `held_back` the kubelet's words why. `unknown`: why what is stored of the
    kernel is old.
    `allocator`: the node without the pod, for `now`; both are None if the reader may not see the node, which
    only happens where something is stored.
    """

    pod: PodRequest
    managed: bool
    stored: PodAllocation | None
    node_name: str
    allocated: PodRequest | None = None
    held_back: str = ""
    unknown: str = ""
    allocator: NodeAllocator | None = None
    now: Explanation | None = None

    @property
    def admitted_now(self) -> bool:
        """Whether the pod would be admitted now."""
        return self.now is not None and isinstance(self.now.decision, Admitted)

    @property
    def healthy(self) -> bool:
        """Whether the pod fits and, if it is applied, the kernel has what was decided."""
        if self.stored is None or self.stored.decision.undecided:
            return not self.managed or self.admitted_now
        wrong = (Phase.REJECTED, Phase.DRIFTED, Phase.RESIZE_PENDING)
        status = self.stored.status
        unpinned = any(one.verdict is Verdict.NOT_PINNED for one in status.containers)
        wrong_now = (
            status.phase in wrong or (unpinned and status.phase is not Phase.AUDIT) or bool(self.unknown)
        )
        return self.stored.decision.admitted and not wrong_now

    @property
    def only_shares(self) -> bool:
        """Whether it would hold nothing: nobody has to decide then."""
        decision = self.now.decision if self.now is not None else None
        return isinstance(decision, Admitted) and not decision.grant.holds_anything

    @property
    def grant(self) -> PodGrant | None:
        """What the pod holds, or would hold if nothing is stored; None if it is refused."""
        if self.stored is not None:
            return self.stored.grant if self.stored.decision.admitted else None
        decision = self.now.decision if self.now is not None else None
        return decision.grant if isinstance(decision, Admitted) else None

    @property
    def cause(self) -> str:
        """Why it would be refused now, and what would fit; empty if it would not."""
        if self.allocator is None or self.now is None:
            return ""
        return brief(self.allocator, self.pod, self.now)

    @property
    def numa(self) -> NodeSet | None:
        """The NUMA nodes of what it holds; None if they are not known."""
        if self.grant is None:
            return None
        if self.allocator is not None:
            return pod_allocation.numa_nodes(self.grant, self.allocator.topology)
        return pod_allocation.numa_in(self.stored.summary) if self.stored is not None else None
