"""The cgroups a plan speaks of, and the values they have or shall have.

    kubepods                 never written: all CPUs of the node
      QosPlace               Burstable, BestEffort: all pods below follow it, present and future
        PodPlace             named only where one of them is a guest: it holds CPUs by a budget that the
          ContainerPlace     kubelet does not know of (an annotation)
      PodPlace               Guaranteed pods hang directly below kubepods
        ContainerPlace       one container instance, named by the runtime's id

In cgroup v2 a set is a wish and the effective set is what the kernel made of it: own CPUs within the
parent's effective ones, or all of the parent's where nothing is left or nothing was written.
"""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.nodeset import NodeSet


class Qos(Enum):
    """Quality-of-service class, as cgroup names spell it."""

    GUARANTEED = "guaranteed"
    BURSTABLE = "burstable"
    BEST_EFFORT = "besteffort"


@dataclass(frozen=True, slots=True)
class QosPlace:
    """The slice of all Burstable or all BestEffort pods."""

    qos: Qos


@dataclass(frozen=True, slots=True)
class PodPlace:
    """One pod; `uid` is the one that names its cgroup."""

    uid: str
    qos: Qos


@dataclass(frozen=True, slots=True)
class ContainerPlace:
    """`name` is the container's name in the pod, `id` the runtime's."""

    pod: PodPlace
    name: str
    id: str


Place: TypeAlias = QosPlace | PodPlace | ContainerPlace


def parent(place: Place) -> Place | None:
    """Return the place above; None stands for kubepods."""
    match place:
        case ContainerPlace(pod=pod):
            return pod
        case PodPlace(qos=Qos.GUARANTEED) | QosPlace():
            return None
        case PodPlace(qos=qos):
            return QosPlace(qos)


def depth(place: Place) -> int:
    """Return how many places are above."""
    above = parent(place)
    return 0 if above is None else 1 + depth(above)


def describe(place: Place) -> str:
    """Name the place for people: the log, outcomes, conditions."""
    match place:
        case QosPlace(qos=qos):
            return f"the {qos.value} slice"
        case PodPlace(uid=uid):
            return f"pod {uid}"
        case ContainerPlace(pod=pod, name=name, id=container_id):
            return f"container {name} ({container_id[:12]}) of pod {pod.uid}"


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """cpu.max: at most `quota` microseconds in each `period`; None is no limit ("max")."""

    quota: int | None
    period: int


@dataclass(frozen=True, slots=True)
class Values:
    """What was read. None: nothing written there, or the file does not exist. `resident` is in bytes."""

    cpus: CpuSet | None
    mems: NodeSet | None = None
    bandwidth: Bandwidth | None = None
    effective_cpus: CpuSet | None = None
    effective_mems: NodeSet | None = None
    resident: int = 0


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted. None: leave it as it is. `cpus` is never the empty set."""

    cpus: CpuSet | None = None
    mems: NodeSet | None = None
    bandwidth: Bandwidth | None = None
    deferred_mems: NodeSet | None = None  # wanted, but only when the container starts anew
    memory_limit: int | None = None  # bytes; given at the start only, where the kubelet gave none


@dataclass(frozen=True, slots=True)
class Step:
    """One write, all fields at once. `gains` and `losses`: CPUs that this place gets and gives up by it."""

    place: Place
    cpus: CpuSet | None = None
    mems: NodeSet | None = None
    bandwidth: Bandwidth | None = None
    gains: CpuSet = cpuset.EMPTY
    losses: CpuSet = cpuset.EMPTY
