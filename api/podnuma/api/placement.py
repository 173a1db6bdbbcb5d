"""What a pod that is not bound yet says about its placement, and what is written to it then.

The scheduling gate ``podnuma.dev/placement`` holds a pod back until a node is found that can hold it. Gates
can only be set when a pod is created, and only be removed afterwards; those of others are theirs. Nothing is
decided about a pod before ours is its last one.

    nominate      status.nominatedNodeName: the scheduler tries that node first, and keeps room there
    lift          our gate goes; the scheduler takes over
    release       the same, with a required node affinity against nodes that were found unfit; Karpenter adds
                  no node for such a pod, since it ignores pods that name nodes in their affinity

Each patch names the pod's UID, so that it never meets another pod of the name, and may be sent twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from podnuma.api import names
from podnuma.api.scheduling import POD_GROUP, VOLUMES, PodConstraints, read_pod_constraints
from podnuma.api.stored_json import object_at, objects_at
from podnuma.api.volumes import read_claim_names

_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_LONGEST: Final = 253

MOST_EXCLUDED: Final = 500
"""Nodes that one affinity excludes; with more, the first by name."""

_WAITS: Final = {VOLUMES: 600.0, POD_GROUP: 300.0}
"""For a volume to be made there (bindTimeoutSeconds), for enough pods of the group to have a node."""

_FAILED: Final = ("Unschedulable", "SchedulerError")
_KARPENTERS: Final = "karpenter.sh/nodepool"


@dataclass(frozen=True, slots=True)
class SchedulingState:
    """Where a pod without a node stands: its gates, its priority, what it demands, who is nominated.

    `claims`: the names of its PersistentVolumeClaims.
    `failed`: the scheduler has tried it and bound it to no node. It says nothing while it binds one.
    """

    gates: tuple[str, ...]
    priority: int
    constraints: PodConstraints
    nominated: str = ""
    failed: bool = False
    claims: tuple[str, ...] = ()

    @property
    def gated(self) -> bool:
        """Whether it waits for podnuma."""
        return names.PLACEMENT_GATE in self.gates

    @property
    def last_gate(self) -> bool:
        """Whether it waits for nobody else."""
        return self.gates == (names.PLACEMENT_GATE,)

    @property
    def binding_takes(self) -> float:
        """Seconds for which the scheduler may wait for something once it has chosen a node for the pod."""
        waits = (_WAITS.get(what, 0.0) for what in self.constraints.not_considered)
        return 0.0 if self.failed else max(waits, default=0.0)


def read_gates(value: Any) -> tuple[str, ...]:
    """Return the scheduling gates of a pod; never raises."""
    gates = object_at(value, "spec").get("schedulingGates")
    found = (one.get("name") for one in gates if isinstance(one, Mapping)) if isinstance(gates, list) else ()
    return tuple(name for name in found if isinstance(name, str))


def read_scheduling_state(value: Any) -> SchedulingState:
    """Read a pod that is not bound; never raises."""
    priority = object_at(value, "spec").get("priority")
    nominated = object_at(value, "status").get("nominatedNodeName")
    return SchedulingState(
        gates=read_gates(value),
        priority=priority if isinstance(priority, int) else 0,
        constraints=read_pod_constraints(value),
        nominated=nominated[:_LONGEST] if isinstance(nominated, str) else "",
        failed=any(
            one.get("type") == "PodScheduled" and one.get("reason") in _FAILED
            for one in objects_at(object_at(value, "status"), "conditions")
        ),
        claims=read_claim_names(value),
    )


def is_karpenters(labels: Mapping[str, str]) -> bool:
    """Tell by its labels whether Karpenter has added a node."""
    return _KARPENTERS in labels


def render_nomination(uid: str, node: str) -> dict[str, Any]:
    """Render the merge patch of a pod's status that nominates a node; empty: none any more."""
    return {"metadata": {"uid": uid}, "status": {"nominatedNodeName": node or None}}


def render_lifted_gate(uid: str) -> dict[str, Any]:
    """Render the strategic merge patch that removes our gate and no other."""
    gate = {"name": names.PLACEMENT_GATE, "$patch": "delete"}
    return {"metadata": {"uid": uid}, "spec": {"schedulingGates": [gate]}}


def render_release(uid: str, pod: Any, unfit: Iterable[str]) -> dict[str, Any]:
    """Render the strategic merge patch that removes our gate and keeps the pod off nodes found unfit.

    ``pod`` is its present JSON. Required terms are alternatives, so every one is narrowed; what they say
    already stays in front, as the API server demands of a gated pod.
    """
    patch = render_lifted_gate(uid)
    fields = [
        {"key": "metadata.name", "operator": "NotIn", "values": [name]}
        for name in sorted(unfit)[:MOST_EXCLUDED]
    ]
    if not fields:
        return patch
    affinity = object_at(object_at(object_at(pod, "spec"), "affinity"), "nodeAffinity")
    terms = object_at(affinity, _REQUIRED).get("nodeSelectorTerms")
    narrowed = (
        [_narrowed(term, fields) for term in terms if isinstance(term, Mapping)]
        if isinstance(terms, list) and terms
        else [{"matchFields": fields}]
    )
    patch["spec"]["affinity"] = {"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": narrowed}}}
    return patch


def _narrowed(term: Mapping[str, Any], fields: list[dict[str, Any]]) -> Mapping[str, Any]:
    if not any(term.values()):
        return term  # an empty one matches nothing, and may not be changed
    return {**term, "matchFields": [*(term.get("matchFields") or ()), *fields]}
