"""The pods that run already for the objects of manifests: they count as pods of these objects.

A pod belongs to the object that controls it, and to what controls that; that of a Deployment, or of a
Rollout, to its ReplicaSet, whose name is the object's and a hash which the pod has as a label. It counts if
it asks for the same as a pod that would be created now and may stay on its node; with another one of the
object's pods it would be replaced, unless a rollout leaves it alone (`partition`). Containers that were added
to it at its creation (injected sidecars) are not missed in the manifest. Pods that are on no node, have
ended, or are about to end do not run.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from podnuma.allocator.request import PodRequest
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.pod import read_pod, read_pod_facts
from podnuma.api.pod_needs import Needs, read_pod_needs
from podnuma.api.stored_json import object_at
from podnuma.cli.objects.queries import Json
from podnuma.cli.objects.scheduling_view import SchedulingView
from podnuma.cli.objects.workloads import PlannedPod

_REPLICA_SETS = {"pod-template-hash": "Deployment", "rollouts-pod-template-hash": "Rollout"}

Owner = tuple[str, str, str]
"""Namespace, kind and name of the object that makes pods; a pod by itself is its own."""


@dataclass(frozen=True, slots=True)
class RunningPod:
    """A pod on a node. `needs`: its requests as written; `counted`: as the scheduler counts them."""

    pod: PodRequest
    node: str
    owners: tuple[Owner, ...]
    needs: Needs
    counted: Needs

    @property
    def name(self) -> str:
        """The name with its namespace."""
        return f"{self.pod.namespace}/{self.pod.name}"


@dataclass(frozen=True, slots=True)
class RunningCount:
    """Which running pods count as which planned pods, by their index; those that would be replaced; the rest.

    A planned pod of a DaemonSet stands for one on every node, others for one. `replaced_of`: those that would
    be replaced, by the object of the manifest that they belong to.
    """

    kept: Mapping[int, tuple[RunningPod, ...]]
    replaced_of: Mapping[Owner, tuple[RunningPod, ...]] = field(default_factory=dict)
    more: tuple[RunningPod, ...] = ()

    @property
    def replaced(self) -> tuple[RunningPod, ...]:
        """Those that would be replaced, of all objects."""
        return tuple(pod for pods in self.replaced_of.values() for pod in pods)

    @property
    def every(self) -> tuple[RunningPod, ...]:
        """All of them."""
        return (*(pod for pods in self.kept.values() for pod in pods), *self.replaced, *self.more)


NONE_RUNNING: Final = RunningCount({})
NONE_BETWEEN: Final[Mapping[Owner, Owner]] = {}


def read_running_pods(
    pods: Iterable[Json], controllers: Mapping[Owner, Owner] = NONE_BETWEEN
) -> Iterator[RunningPod]:
    """Read those pods that run; one that cannot be read counts for nothing.

    `controllers`: which object controls which.
    """
    for value in pods:
        try:
            facts = read_pod_facts(value)
            if not facts.bound or facts.finished or facts.terminating:
                continue
            pod = read_pod(value)
        except InvalidObjectError:
            continue
        needs = read_pod_needs({"spec": value.get("spec")})
        owners = tuple(_all_above(_owners(value, pod), controllers))
        yield RunningPod(pod, facts.node_name, owners, needs, read_pod_needs(value))


def count_running(
    planned: Sequence[PlannedPod], running: Iterable[RunningPod], view: SchedulingView
) -> RunningCount:
    """Tell which planned pods run already."""
    wanted: dict[Owner, list[int]] = {}
    for index, one in enumerate(planned):
        wanted.setdefault(owner_of(one), []).append(index)
    names = {one.name for one in planned}
    kept: dict[int, list[RunningPod]] = {}
    replaced: dict[Owner, list[RunningPod]] = {}
    more: list[RunningPod] = []
    for pod in sorted(running, key=lambda one: (one.name not in names, one.name)):
        owner = next((owner for owner in pod.owners if owner in wanted), None)
        if owner is None:
            continue
        indices = wanted[owner]
        alike = [
            index
            for index in indices
            if _counts_as(planned[index], pod, view)
            or (planned[index].left_alone and planned[index].name == pod.name)
        ]
        alike.sort(key=lambda index: planned[index].name != pod.name)
        free = [index for index in alike if planned[index].every_node or index not in kept]
        if not alike:
            replaced.setdefault(owner, []).append(pod)
        elif free:
            kept.setdefault(free[0], []).append(pod)
        else:
            more.append(pod)
    return RunningCount(
        {index: tuple(pods) for index, pods in kept.items()},
        {owner: tuple(pods) for owner, pods in replaced.items()},
        tuple(more),
    )


def owner_of(planned: PlannedPod) -> Owner:
    """Return the object that makes a pod."""
    kind, name = planned.owner or ("Pod", planned.pod.name)
    return planned.pod.namespace, kind, name


def _owners(value: Json, pod: PodRequest) -> Iterator[Owner]:
    metadata = object_at(value, "metadata")
    yield pod.namespace, "Pod", pod.name
    references = metadata.get("ownerReferences")
    for one in references if isinstance(references, list) else ():
        if not isinstance(one, Mapping) or one.get("controller") is not True:
            continue
        kind, name = str(one.get("kind") or ""), str(one.get("name") or "")
        yield pod.namespace, kind, name
        for label, maker in _REPLICA_SETS.items() if kind == "ReplicaSet" else ():
            digest = object_at(metadata, "labels").get(label)
            if digest and name.endswith(f"-{digest}"):
                yield pod.namespace, maker, name.removesuffix(f"-{digest}")


def _all_above(owners: Iterable[Owner], controllers: Mapping[Owner, Owner]) -> list[Owner]:
    """Return owners with what controls them, the nearest first."""
    found = list(owners)
    for one in found:
        above = controllers.get(one)
        if above is not None and above not in found:
            found.append(above)
    return found


def _counts_as(planned: PlannedPod, running: RunningPod, view: SchedulingView) -> bool:
    """Whether a pod asks for the same as one that would be created, and may stay on its node."""
    if planned.constraints.node_name not in ("", running.node):
        return False
    staying = replace(planned.constraints, node_name=running.node, requests={})
    return view.obstacle(staying, running.node) is None and _asks_alike(planned, running)


def _asks_alike(planned: PlannedPod, running: RunningPod) -> bool:
    new, old = planned.pod, running.pod
    has = {container.name: container for container in old.containers}
    if any(has.pop(container.name, None) != container for container in new.containers):
        return False
    if (new.pod_limits, new.overhead) != (old.pod_limits, old.overhead):
        return False
    # What was added to the pod has its part of the sums.
    return bool(has) or (new.pod_requests, planned.constraints.requests) == (old.pod_requests, running.needs)
