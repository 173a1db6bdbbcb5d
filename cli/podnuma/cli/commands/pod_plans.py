"""What would happen to pods on nodes, decided in turn.

Pods are decided in the order in which they come. A pod may go where the scheduler would let it go
(`api.scheduling`), and of those nodes gets the first, by name, that admits it; the scheduler may prefer
another one. With a packing it gets the best one instead (`allocator.placement`). What it gets is held
against the later pods. Decisions are the allocator's own. Pods that run count as pods of their manifest
(`objects.running_pods`); what those have that would be replaced is free. Of what is rolled out those new
pods come first that have to be ready before old ones go (`objects.rolling_updates`), of a DaemonSet with
`maxSurge` on the same node; where they fit nowhere these stay.

    running       on its node already, with what it holds there
    admitted      on the node that is named
    refused       every node that it may go to refuses it
    pending       there is no node that it may go to; the scheduler would leave it pending, or the kubelet
                  fail it (for another operating system, or what its node lacks)
    not managed   the nodes that it may go to do not manage it
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from podnuma.allocator import Admitted, NodeSet, PodGrant, Rejected
from podnuma.allocator.explain.brief import brief
from podnuma.allocator.explain.explanation import explain as explain_decision
from podnuma.allocator.explain.remarks import why_not_guaranteed
from podnuma.allocator.placement.fleet import Candidate, Fleet
from podnuma.allocator.placement.packing import Packing
from podnuma.api import pod_allocation
from podnuma.api.scheduling import Obstacle
from podnuma.cli.commands.asked_nodes import NamespaceLabels
from podnuma.cli.objects.candidate_nodes import CandidateNode
from podnuma.cli.objects.running_pods import NONE_RUNNING, RunningCount, RunningPod, owner_of
from podnuma.cli.objects.scheduling_view import SchedulingView
from podnuma.cli.objects.workloads import PlannedPod


@dataclass(frozen=True, slots=True)
class NodeRefusal:
    """Why one node refuses a pod: the kubelet's reason and message, and the cause with what would fit."""

    node: str
    reason: str
    message: str
    explanation: str


@dataclass(frozen=True, slots=True)
class PodPlan:
    """What would happen to one pod. `grant` None: no node admits it, or none manages it (`managed` False).

    `numa`: the NUMA nodes of the CPUs and memory it would hold. `left_out`: nodes that it may not go to.
    `candidates`: where a packing was asked for, the nodes that admit it, best first. `stalled`: it does not
    fit beside the pods that it is to replace, which stay until it is ready.
    """

    planned: PlannedPod
    node: str
    grant: PodGrant | None
    refusals: tuple[NodeRefusal, ...]
    managed: bool = True
    numa: NodeSet | None = None
    left_out: Mapping[str, Obstacle] = field(default_factory=dict)
    candidates: tuple[Candidate, ...] = ()
    running: bool = False
    stalled: bool = False

    @property
    def pending(self) -> bool:
        """Whether there is no node that it may go to."""
        return self.managed and self.grant is None and not self.refusals and not self.running

    @property
    def refused(self) -> bool:
        """Whether every node that it may go to and that manages it refuses it."""
        return self.managed and self.grant is None and bool(self.refusals)

    @property
    def note(self) -> str:
        """What its author should know although it is admitted."""
        if self.grant is None:
            return ""
        devices = self.planned.devices if self.grant.holds_anything else ""
        return "; ".join(filter(None, (why_not_guaranteed(self.planned.pod), devices)))

    @property
    def result(self) -> str:
        """The word for it."""
        if self.running:
            return "running"
        if not self.managed:
            return "not managed"
        return "refused" if self.refused else "pending" if self.pending else "admitted"


def plan_pods(
    pods: Sequence[PlannedPod],
    nodes: Sequence[CandidateNode],
    labels: NamespaceLabels,
    view: SchedulingView | None = None,
    packing: Packing | None = None,
    running: RunningCount = NONE_RUNNING,
) -> list[PodPlan]:
    """Decide the pods in turn; `labels` are those of namespaces, for profiles that select by them.

    `packing` None: a pod gets the first node by name. `running`: which of the pods run already.
    """
    view = view or SchedulingView()
    by_name = {one.name: one for one in nodes}
    fleet = PackedNodes(packing, nodes) if packing is not None else None

    def end(gone: RunningPod) -> None:
        view.free(gone.counted, gone.node)
        if gone.node in by_name:
            by_name[gone.node].allocator.release(gone.pod.uid)
            if fleet is not None:
                fleet.changed(by_name[gone.node])

    def begin(pod: PlannedPod, where: Sequence[CandidateNode] = nodes) -> PodPlan:
        return _place(pod, list(where), labels.get(pod.pod.namespace, {}), view, fleet)

    def begin_beside(pod: PlannedPod, old: RunningPod) -> PodPlan | None:
        return begin(pod, [by_name[old.node]]) if old.node in by_name else None

    early = _replace(pods, running, begin, begin_beside, end)
    plans: list[PodPlan] = []
    for index, pod in enumerate(pods):
        namespace = labels.get(pod.pod.namespace, {})
        kept = running.kept.get(index, ())
        plans += [_running(pod, one, by_name.get(one.node)) for one in kept]
        plans += early.get(index, {}).values()
        if (kept or index in early) and not pod.every_node:
            continue
        taken = {one.node for one in kept} | early.get(index, {}).keys()
        # A DaemonSet's pods are one per node; where it may not go it has none.
        places = (
            [[one] for one in nodes if one.name not in taken and not view.obstacle(pod.constraints, one.name)]
            if pod.every_node
            else []
        )
        everywhere = [] if kept or index in early else [list(nodes)]
        plans += [_place(pod, place, namespace, view, fleet) for place in places or everywhere]
    return plans


def _replace(
    pods: Sequence[PlannedPod],
    running: RunningCount,
    begin: Callable[[PlannedPod], PodPlan],
    begin_beside: Callable[[PlannedPod, RunningPod], PodPlan | None],
    end: Callable[[RunningPod], None],
) -> dict[int, dict[str, PodPlan]]:
    """End the pods that would be replaced; return the plans of new pods that have to be ready before.

    They are by index and node. The old ones of an object whose new pod does not fit beside them do not end.
    """
    found: dict[int, dict[str, PodPlan]] = {}
    for owner, replaced in running.replaced_of.items():
        indices = [index for index, pod in enumerate(pods) if owner_of(pod) == owner]
        first = pods[indices[0]]
        if first.every_node and first.kept_ready:
            for gone in replaced:
                plan = begin_beside(first, gone)
                if plan is not None and (plan.refused or plan.pending):
                    found.setdefault(indices[0], {})[gone.node] = dataclasses.replace(plan, stalled=True)
                    continue
                if plan is not None:
                    found.setdefault(indices[0], {})[gone.node] = plan
                end(gone)
            continue
        new = [index for index in indices if index not in running.kept]
        old, ready = list(replaced), len(indices) - len(new)
        while old:
            if ready + len(old) > first.kept_ready or not new:
                end(old.pop())
                continue
            index, *new = new
            plan = begin(pods[index])
            if plan.refused or plan.pending:
                found[index] = {"": dataclasses.replace(plan, stalled=True)}
                break
            found[index] = {plan.node: plan}
            ready += 1
    return found


def _running(planned: PlannedPod, running: RunningPod, node: CandidateNode | None) -> PodPlan:
    """Tell what a pod that runs holds, on a node of the plan; nothing is known of others."""
    grant = node.allocator.grants.get(running.pod.uid) if node else None
    numa = pod_allocation.numa_nodes(grant, node.allocator.topology) if node and grant else None
    return PodPlan(
        dataclasses.replace(planned, pod=running.pod), running.node, grant, (), numa=numa, running=True
    )


class PackedNodes:
    """The nodes of a plan, in the order of a packing for each pod."""

    def __init__(self, packing: Packing, nodes: Sequence[CandidateNode]) -> None:
        self._packing = packing
        self._fleet = Fleet()
        for one in nodes:
            self._fleet.update(one.name, one.allocator)

    def ranked(self, planned: PlannedPod, nodes: Sequence[CandidateNode]) -> tuple[Candidate, ...]:
        """Return those of the nodes that admit a pod, best first."""
        names = {one.name for one in nodes}
        return self._fleet.ranking(planned.pod, self._packing, names.__contains__).candidates

    def changed(self, node: CandidateNode) -> None:
        """Take a node as it is after a pod was placed there, or has gone."""
        self._fleet.update(node.name, node.allocator)


def _place(
    planned: PlannedPod,
    nodes: Sequence[CandidateNode],
    namespace: Mapping[str, str],
    view: SchedulingView,
    fleet: PackedNodes | None,
) -> PodPlan:
    obstacles = {one.name: view.obstacle(planned.constraints, one.name) for one in nodes}
    left_out = {name: found for name, found in obstacles.items() if found is not None}
    open_to = [one for one in nodes if one.name not in left_out]
    managing = [one for one in open_to if one.settings.pod_policy.manages(planned.labels, namespace)]
    refusals: list[NodeRefusal] = []
    candidates = fleet.ranked(planned, managing) if fleet is not None else ()
    if candidates:
        best = candidates[0].node
        managing = [one for one in managing if one.name == best]
    for candidate in managing:
        match candidate.allocator.decide(planned.pod):
            case Admitted() as admitted:
                candidate.allocator.hold(admitted)
                view.bind(planned.constraints, candidate.name)
                if fleet is not None:
                    fleet.changed(candidate)
                numa = pod_allocation.numa_nodes(admitted.grant, candidate.allocator.topology)
                return PodPlan(
                    planned,
                    candidate.name,
                    admitted.grant,
                    tuple(refusals),
                    numa=numa,
                    left_out=left_out,
                    candidates=candidates,
                )
            case Rejected() as rejected:
                found = explain_decision(candidate.allocator, planned.pod)
                cause = brief(candidate.allocator, planned.pod, found)
                refusals.append(NodeRefusal(candidate.name, rejected.reason.value, rejected.message, cause))
    managed = bool(managing) or not open_to
    return PodPlan(planned, "", None, tuple(refusals), managed=managed, left_out=left_out)


@dataclass(frozen=True, slots=True)
class WorkloadPlan:
    """What would happen to the pods of one workload together."""

    kind: str
    namespace: str
    name: str
    results: Mapping[str, int]

    @property
    def pods(self) -> int:
        """How many pods it makes."""
        return sum(self.results.values())


def workload_plans(plans: Sequence[PodPlan]) -> list[WorkloadPlan]:
    """Count the results per workload, in the order of the manifests; pods by themselves are none."""
    found: dict[tuple[str, str, str, str], Counter[str]] = {}
    for plan in plans:
        if plan.planned.owner is not None:
            key = (
                plan.planned.place,
                plan.planned.owner[0],
                plan.planned.pod.namespace,
                plan.planned.owner[1],
            )
            found.setdefault(key, Counter())[plan.result] += 1
    return [WorkloadPlan(*key[1:], results=results) for key, results in found.items()]
