"""What became of the pods of a workload: those that exist, and refusals of those that are gone.

A workload is named as in kubectl: `deploy/web`, `sts/db`, `job/train`. Its pods belong to it, or to a
ReplicaSet or Job of its own. What was refused is told by their PodAllocations while they exist, afterwards
by events about their controllers (`api.kept_refusals`), which the API server keeps for an hour.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from podnuma.api.decoding import InvalidObjectError
from podnuma.api.kept_refusals import KeptRefusal, read_kept_refusal, read_own_refusal
from podnuma.api.pod_allocation import PodAllocation, read_pod_allocation
from podnuma.api.pod_allocation_status import Phase
from podnuma.api.resource_types import (
    CRON_JOB,
    DAEMON_SET,
    DEPLOYMENT,
    JOB,
    REPLICA_SET,
    ResourceType,
)
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import queries
from podnuma.cli.objects.queries import Json, ObjectQuery
from podnuma.cli.objects.sources import ObjectSource, read_if_allowed

_BETWEEN: Final = {DEPLOYMENT: REPLICA_SET, CRON_JOB: JOB}
_ENDED: Final = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class WorkloadPod:
    """A pod of a workload, and what is stored about it; None: nothing."""

    name: str
    node: str
    allocation: PodAllocation | None

    @property
    def refused(self) -> bool:
        """Whether it does not fit where it is."""
        return self.allocation is not None and self.allocation.decision.refused

    @property
    def state(self) -> str:
        """The word for it."""
        if self.allocation is None:
            return "not decided" if self.node else "on no node yet"
        return Phase.REJECTED.value if self.refused else self.allocation.status.phase.value


@dataclass(frozen=True, slots=True)
class WorkloadPods:
    """The pods of a workload that exist, by name, and refusals of its pods that are gone, latest first.

    `wanted`: how many it is to have; None where that depends on the nodes or on time.
    """

    kind: str
    namespace: str
    name: str
    wanted: int | None
    pods: tuple[WorkloadPod, ...]
    refusals: tuple[KeptRefusal, ...]

    @property
    def healthy(self) -> bool:
        """Whether no pod is refused, and none is missing that was."""
        missing = self.wanted is not None and len(self.pods) < self.wanted
        return not any(pod.refused for pod in self.pods) and not (missing and self.refusals)


def workload_pods(source: ObjectSource, asked: ObjectQuery) -> tuple[WorkloadPods, list[str]]:
    """Read what became of a workload's pods, with remarks on what could not be read.

    Failure(NOT_FOUND) if there is no such workload.
    """
    remarks: list[str] = []
    workload = source.fetch(asked)[0][0]
    owners = {_uid(workload)}
    if between := _BETWEEN.get(asked.type):
        found = _allowed(source, ObjectQuery(between, asked.namespace), remarks)
        owners |= {_uid(one) for one in found if _controller(one) in owners}
    pods = [
        one
        for one in _allowed(source, queries.pods(asked.namespace), remarks)
        if _controller(one) in owners and (one.get("status") or {}).get("phase") not in _ENDED
    ]
    allocations = dict(_allocations(source, asked.namespace, remarks))
    present = {_uid(one) for one in pods}
    kept = map(read_kept_refusal, _allowed(source, queries.operator_events(asked.namespace), remarks))
    refusals = [one for one in kept if one and one.controller_uid in owners and one.pod_uid not in present]
    return WorkloadPods(
        kind=asked.type.kind,
        namespace=asked.namespace,
        name=asked.name,
        wanted=_wanted(asked.type, workload),
        pods=tuple(
            WorkloadPod(
                one["metadata"]["name"],
                (one.get("spec") or {}).get("nodeName") or "",
                allocations.get(_uid(one)),
            )
            for one in sorted(pods, key=lambda one: str(one["metadata"]["name"]))
        ),
        refusals=tuple(sorted(refusals, key=lambda one: one.last_seen, reverse=True)),
    ), remarks


def refusals_of_pod(source: ObjectSource, namespace: str, name: str) -> list[KeptRefusal]:
    """Return what is kept of refusals of a pod that is gone, latest first; none if that may not be read.

    Events about its controller have the kubelet's words too; a pod without one has events of its own only.
    """
    events = read_if_allowed(source, queries.operator_events(namespace))[0] or ()
    of_controller, of_pod = (
        [one for one in map(read, events) if one is not None and one.pod == name]
        for read in (read_kept_refusal, read_own_refusal)
    )
    return sorted(of_controller or of_pod, key=lambda one: one.last_seen, reverse=True)


def _allocations(
    source: ObjectSource, namespace: str, remarks: list[str]
) -> Iterator[tuple[str, PodAllocation]]:
    for value in _allowed(source, queries.pod_allocations(namespace=namespace), remarks):
        try:
            allocation = read_pod_allocation(value)
        except InvalidObjectError as error:
            remarks.append(f"left out: {error}")
        else:
            yield allocation.pod_uid, allocation


def _allowed(source: ObjectSource, query: ObjectQuery, remarks: list[str]) -> list[Json]:
    try:
        found, why = read_if_allowed(source, query)
    except Failure as failure:
        # A cluster without podnuma's kinds still has pods and events to tell of.
        if failure.code is not Exit.NOT_SERVED:
            raise
        found, why = None, failure.lines[0]
    if found is None:
        remarks.append(f"{why}: what depends on it is left out")
    return found or []


def _wanted(kind: ResourceType, workload: Json) -> int | None:
    spec = workload.get("spec") or {}
    if kind in (DAEMON_SET, CRON_JOB):
        return None
    if kind == JOB:
        done = (workload.get("status") or {}).get("succeeded") or 0
        at_once: int = spec.get("parallelism", 1)
        whole: int | None = spec.get("completions")
        if whole is None:  # a queue of work: nobody is replaced once one of them has found that it is empty
            return 0 if done else at_once
        return max(0, min(at_once, whole - done))
    replicas: int = spec.get("replicas", 1)
    return replicas


def _uid(value: Mapping[str, Any]) -> str:
    return str((value.get("metadata") or {}).get("uid") or "")


def _controller(value: Mapping[str, Any]) -> str:
    owners = (value.get("metadata") or {}).get("ownerReferences") or []
    return next((str(one.get("uid")) for one in owners if one.get("controller")), "-")
