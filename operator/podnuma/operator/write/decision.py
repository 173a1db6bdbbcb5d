"""A decision about one pod on one node, and whether a PodAllocation says the same.

A PodAllocation shows a decision when its spec, its owner and its summary equal it; anything
else is a difference, which can be named. A PodAllocation that differs still has the effect of the decision if
every node would act on it in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from podnuma.allocator import nodeset
from podnuma.api import names
from podnuma.api.pod_allocation import numa_in, render_pod_allocation, render_spec, render_summary

if TYPE_CHECKING:
    from podnuma.allocator.decision import PodGrant
    from podnuma.allocator.nodeset import NodeSet
    from podnuma.api.pod_allocation import Decision
    from podnuma.operator.cache.objects import CachedAllocation, ObjectKey

_DEVICES_SHOWN = 3
_SHOWN = 120  # characters of a field's value in a message


@dataclass(frozen=True, slots=True)
class PodDecision:
    """A decision about one pod on one node: a grant; or with an empty grant a rejection, or that it waits.

    `static_uid` as in `ClusterCache`; `numa` are the NUMA nodes of what it holds, for the summary.
    """

    key: ObjectKey
    node: str
    grant: PodGrant
    decision: Decision
    static_uid: str = ""
    numa: NodeSet | None = None

    @property
    def uid(self) -> str:
        """Return the UID of the pod."""
        return self.grant.uid

    @property
    def owner(self) -> str | None:
        """Return the UID of the pod that owns the PodAllocation; None for that of a static pod."""
        return None if self.static_uid else self.uid

    @property
    def admitted(self) -> bool:
        """Tell whether the pod was admitted."""
        return self.decision.admitted

    @property
    def refused(self) -> bool:
        """Tell whether the pod does not fit."""
        return self.decision.refused

    @property
    def undecided(self) -> bool:
        """Tell whether it says only that the pod's devices are not known yet."""
        return self.decision.undecided

    def of_mirror(self, uid: str) -> PodDecision:
        """Return the same decision about a static pod whose mirror pod has this UID now."""
        return replace(self, grant=replace(self.grant, uid=uid))

    def under(self, key: ObjectKey) -> PodDecision:
        """Return the same decision as a PodAllocation of another name shows it."""
        return replace(self, key=key, grant=replace(self.grant, name=key.name))

    def render(self) -> dict[str, Any]:
        """Render the PodAllocation that shows this decision."""
        return render_pod_allocation(self.grant, self.node, self.decision, self.static_uid, self.numa)

    def shown_by(self, allocation: CachedAllocation) -> bool:
        """Tell whether a PodAllocation says just this."""
        model = allocation.model
        return (
            model is not None
            and not allocation.problem
            and allocation.node == self.node
            and allocation.owner == self.owner
            and not self._unguarded(allocation)
            and model.grant == self.grant
            and model.decision == self.decision
            and model.static_uid == self.static_uid
            and model.summary == render_summary(self.grant, self.numa)
        )

    def has_its_effect(self, allocation: CachedAllocation) -> bool:
        """Tell whether a node would do by a PodAllocation, checksum aside, just what was decided."""
        model = allocation.model
        return (
            model is not None
            and allocation.node == self.node
            and _effect(model.grant) == _effect(self.grant)
            and model.static_uid == self.static_uid
            and (model.decision.admitted, model.decision.reason)
            == (self.decision.admitted, self.decision.reason)
            and model.decision.pending_resize == self.decision.pending_resize
        )

    def _unguarded(self, allocation: CachedAllocation) -> bool:
        """Tell whether a PodAllocation would go with its pod, though processes may hold what it says."""
        return self.grant.holds_anything and not allocation.deleting and not allocation.finalized

    def difference(self, allocation: CachedAllocation) -> str:
        """Name the first field of a PodAllocation that is not as decided, its value and the right one."""
        model = allocation.model
        if model is None:
            return allocation.problem or "unreadable"
        if allocation.owner != self.owner:
            owners = [f"pod {uid}" if uid else "no pod" for uid in (allocation.owner, self.owner)]
            return f"metadata.ownerReferences names {owners[0]} instead of {owners[1]}"
        if self._unguarded(allocation):
            return f"metadata.finalizers lacks {names.CGROUP_FINALIZER}"
        wanted = render_spec(self.grant, self.node, self.decision, self.static_uid, self.numa)
        found = render_spec(model.grant, allocation.node, model.decision, model.static_uid)
        found["summary"] = dict(model.summary)
        for spec in (wanted, found):
            del spec["decision"]["checksum"]  # it follows from the other fields
        # The summary follows from the other fields: it is named only if they are as decided.
        for field in sorted(wanted.keys() | found.keys(), key=lambda field: (field == "summary", field)):
            if wanted.get(field) != found.get(field):
                return f"spec.{field} says {_short(found.get(field))} instead of {_short(wanted.get(field))}"
        return allocation.problem or "spec"


def _effect(grant: PodGrant) -> PodGrant:
    """Return a grant without what is only a record: shares are the kubelet's to write."""
    containers = tuple(replace(container, cpu_shares=0) for container in grant.containers)
    return replace(grant, pod_shares=0, containers=containers)


def decision_in(allocation: CachedAllocation) -> PodDecision | None:
    """Return the decision that a PodAllocation shows; of an unreadable one that on which the agent acts."""
    found = allocation.decided
    if found is None:
        return None
    numa = numa_in(found.summary)
    return PodDecision(allocation.key, found.node_name, found.grant, found.decision, found.static_uid, numa)


def allocated_text(decision: PodDecision) -> str:
    """Say in a sentence what a pod got."""
    summary = render_summary(decision.grant, decision.numa)
    cpus, numa, exclusive, shared = (summary[key] for key in ("cpus", "numa", "exclusive", "shared"))
    what = "memory" if cpus == names.NOTHING else f"CPUs {cpus}"
    where = f" on NUMA node{'s' if not numa.isdigit() else ''} {numa}" if numa != names.NOTHING else ""
    text = f"Allocated {what}{where}{_for_devices(decision.grant)}"
    match shared:
        case names.NOTHING:
            return text
        case "node" if exclusive == names.NOTHING:
            return f"{text}; its containers run in the node's shared pool"
        case "node":
            return f"{text}; other containers run in the node's shared pool"
        case _ if exclusive == names.NOTHING:
            return f"{text}; its containers share them"
        case _:
            return f"{text}: {exclusive} exclusive to a container, {shared} shared by the others"


def _for_devices(grant: PodGrant) -> str:
    devices = grant.devices
    if not devices:
        return ""
    more = f" and {len(devices) - _DEVICES_SHOWN} more" if len(devices) > _DEVICES_SHOWN else ""
    named = ", ".join(
        f"{device.resource} {device.name}"
        + (f" ({nodeset.named(device.nodes)})" if device.nodes else " (NUMA node not known)")
        for device in devices[:_DEVICES_SHOWN]
    )
    return f" for {named}{more}"


def _short(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
