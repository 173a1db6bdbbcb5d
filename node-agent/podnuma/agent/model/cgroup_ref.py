"""Which cgroup is meant, without saying where it lies.

kubepods              never written: all CPUs of the node
QosCgroup           Burstable, BestEffort: all pods below follow it, present and future
PodCgroup         named only where one of them holds CPUs: by a budget in an annotation, which the
ContainerCgroup   kubelet does not know of
PodCgroup           Guaranteed pods are directly below kubepods
ContainerCgroup   one container instance, named by the runtime's id

They are keys of every dictionary of a pass, so they are tuples, which Python hashes and compares fastest.
"""

from typing import NamedTuple, TypeAlias

from podnuma.allocator.request import Qos


class QosCgroup(NamedTuple):
    """The slice of all Burstable or all BestEffort pods."""

    qos: Qos


class PodCgroup(NamedTuple):
    """One pod; `uid` is the one that names its cgroup."""

    uid: str
    qos: Qos


class ContainerCgroup(NamedTuple):
    """One container instance: `name` is the container's name in the pod, `id` the runtime's."""

    pod: PodCgroup
    name: str
    id: str


CgroupRef: TypeAlias = QosCgroup | PodCgroup | ContainerCgroup


def parent(cgroup: CgroupRef) -> CgroupRef | None:
    """Return the cgroup above; None stands for kubepods."""
    if isinstance(cgroup, ContainerCgroup):
        return cgroup.pod
    return QosCgroup(cgroup.qos) if isinstance(cgroup, PodCgroup) and depth(cgroup) else None


def depth(cgroup: CgroupRef) -> int:
    """Return how many cgroups are above."""
    if isinstance(cgroup, ContainerCgroup):
        return 1 + (cgroup.pod.qos is not Qos.GUARANTEED)
    return int(isinstance(cgroup, PodCgroup) and cgroup.qos is not Qos.GUARANTEED)


def describe(cgroup: CgroupRef) -> str:
    """Name the cgroup for people: the log, outcomes, conditions."""
    match cgroup:
        case QosCgroup(qos=qos):
            return f"the {qos.value.lower()} slice"
        case PodCgroup(uid=uid):
            return f"pod {uid}"
        case ContainerCgroup(pod=pod, name=name, id=container_id):
            return f"container {name} ({container_id[:12]}) of pod {pod.uid}"
