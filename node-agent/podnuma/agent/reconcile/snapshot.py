"""The result of one pass over the node, from which hooks, statuses and metrics are answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from podnuma.agent.desired.acceptance import AcceptedGrants
from podnuma.agent.discover.machine import Machine
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup, describe
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupValues
from podnuma.agent.model.containers import Container
from podnuma.agent.plan.targets import PlanInput
from podnuma.agent.reconcile.apply import WriteOutcome, WriteResult
from podnuma.agent.reconcile.isolation import Intrusion
from podnuma.allocator import cpuset
from podnuma.allocator.request import Qos
from podnuma.api.node_settings import Mode

_NAMED = 5  # containers that are named where there are many


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """What one pass saw, planned, wrote and found; never changes.

    `seen`: the values after the writes. `differences`: None where a cgroup has its target.
    `intrusions`: who is on the CPUs of others. `narrowed`: processes that may use fewer CPUs than they have.
    `throttled`: in how many percent of its periods so far its quota held a container back; read now and then.
    `ended`: UIDs of pods whose allocation is being deleted and that have no process left.
    `contended`: what somebody else keeps changing. `mode`: None while the settings are not known.
    `elsewhere`: containers that run in no cgroup of their pod, where nothing keeps them off any CPU.
    """

    machine: Machine
    accepted: AcceptedGrants
    plan_input: PlanInput
    containers: Mapping[ContainerCgroup, Container]
    targets: Mapping[CgroupRef, CgroupTarget] = field(default_factory=dict)
    seen: Mapping[CgroupRef, CgroupValues] = field(default_factory=dict)
    differences: Mapping[CgroupRef, str | None] = field(default_factory=dict)
    results: tuple[WriteResult, ...] = ()
    pause_reason: str | None = None
    mode: Mode | None = None
    ended: frozenset[str] = frozenset()
    contended: Mapping[CgroupRef, str] = field(default_factory=dict)
    intrusions: tuple[Intrusion, ...] = ()
    narrowed: Mapping[ContainerCgroup, str] = field(default_factory=dict)
    throttled: Mapping[ContainerCgroup, int] = field(default_factory=dict)
    elsewhere: tuple[Container, ...] = ()

    @property
    def unfinished(self) -> bool:
        """Whether something was refused that may work later."""
        return any(result.refused for result in self.results)

    @property
    def unsettled(self) -> bool:
        """Whether something was written that the kernel does not show yet: systemd answers a bit early."""
        return any(
            result.outcome is WriteOutcome.DONE and self.differences.get(result.write.cgroup) is not None
            for result in self.results
        )

    @property
    def enforcing(self) -> bool:
        """Whether values are written on this node."""
        return self.pause_reason is None and self.mode is Mode.ENFORCE

    def describe(self, cgroup: CgroupRef) -> str:
        """Name a cgroup for people, by the names that its pod has in the API where they are known."""
        if isinstance(cgroup, ContainerCgroup) and (found := self.containers.get(cgroup)) is not None:
            return f"container {cgroup.name} of pod {found.namespace}/{found.pod_name}"
        return describe(cgroup)

    def intruders(self) -> str:
        """Say who is on the CPUs of others, or may be, and why; empty if nobody is."""
        who = [self.explain(each, self.describe(each.owner)) for each in self.intrusions]
        if self.elsewhere and any(grant.exclusive_cpus for grant in self.accepted.grants.values()):
            names = [f"{each.namespace}/{each.pod_name}/{each.name}" for each in self.elsewhere[:_NAMED]]
            more = len(self.elsewhere) - len(names)
            who.append(
                f"{', '.join(names)}{f' and {more} more' if more else ''}: outside of the cgroups of pods,"
                " where nothing keeps them off any CPU; is their runtime up to date, and its class set up so?"
            )
        return "; ".join(who)

    def explain(self, intrusion: Intrusion, owner: str) -> str:
        """Say who is on the CPUs of `owner`, and why."""
        whys = (result.why for result in self.results if result.write.cgroup == intrusion.intruder)
        why = next(filter(None, whys), "")
        cpus, intruder = cpuset.render(intrusion.cpus), self.describe(intrusion.intruder)
        return f"{owner}: {intruder} may run on its CPUs {cpus}" + (f" ({why})" if why else "")

    def of_pod(self, uid: str) -> dict[ContainerCgroup, Container]:
        return {cgroup: found for cgroup, found in self.containers.items() if cgroup.pod.uid == uid}

    def pod(self, uid: str) -> PodCgroup | None:
        """Return where a pod's cgroup is, if it was seen."""
        cgroups = (PodCgroup(uid, qos) for qos in Qos)
        return next((cgroup for cgroup in cgroups if cgroup in self.seen), None)

    def has_burstable_holders(self, qos: Qos) -> bool:
        """Tell whether a pod in the slice of a class holds CPUs: the slice is wider than the pool then."""
        return any(
            isinstance(cgroup, PodCgroup) and cgroup.qos is qos and cgroup.uid in self.accepted.grants
            for cgroup in self.seen
        )
