"""Where a pod may go: the filters of kube-scheduler that look at one node, for one pod. Pure.

    nodeName        that node and no other; the scheduler, its taints and cordons are passed by, but the
                    kubelet still looks at NoExecute taints, the selector and the resources
    system          spec.os.name and the pod's label kubernetes.io/os, where it has them, are the node's
                    system; the scheduler does not look at it, the kubelet refuses the pod
    feature         the node has what the pod's spec rests on (``node_features``); at some of that only the
                    kubelet looks, too
    selector        every label of spec.nodeSelector
    affinity        one of the terms of requiredDuringSchedulingIgnoredDuringExecution
    volume          those that are there already can be attached (``volumes`` reads where)
    cordon          spec.unschedulable, unless tolerated as the taint of that name
    taint           every NoSchedule and NoExecute taint is tolerated
    resources       allocatable, less what all pods of the node request; extended resources and the
                    number of pods as well

What needs several nodes or pods (pod affinity, topology spread, groups that start together), ports, volumes
that are yet to be made and what another scheduler would do are not looked at; ``not_considered`` names those
that a pod asks for.
Extended resources that a DeviceClass serves are devices of claims, which the scheduler makes when it binds
the pod: they are looked for only at nodes that have some of a device plugin.
Amounts count as the scheduler counts them (``pod_needs``).

Reading never fails: what the API server would not have stored matches nothing and requests nothing.
"""

import enum
import re
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from podnuma.api.node_features import features_for_pod, features_of_node
from podnuma.api.pod_needs import Needs, read_amounts, read_pod_needs
from podnuma.api.stored_json import object_at, objects_at, text_at

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,64}", re.ASCII)  # what Go reads, and Python less strictly
_DEFAULT_SCHEDULER: Final = "default-scheduler"
UNSCHEDULABLE: Final = "node.kubernetes.io/unschedulable"
SYSTEM_LABEL: Final = "kubernetes.io/os"
VOLUMES: Final = "volumes"
"""What ``not_considered`` calls volumes that a node may have to get first."""

POD_GROUP: Final = "pod group"
"""What it calls a group of pods that are bound together."""


class Obstacle(enum.StrEnum):
    """Why a pod may not go to a node; the first one, in this order."""

    NODE_NAME = "node name"
    SYSTEM = "operating system"
    FEATURE = "node features"
    SELECTOR = "selector"
    AFFINITY = "affinity"
    VOLUME = "volume"
    CORDON = "cordoned"
    TAINT = "taint"
    RESOURCES = "resources"


@dataclass(frozen=True, slots=True)
class Taint:
    """A taint of a node."""

    key: str
    value: str
    effect: str

    @property
    def repels(self) -> bool:
        """Whether it keeps pods away; PreferNoSchedule does not."""
        return self.effect in ("NoSchedule", "NoExecute")


@dataclass(frozen=True, slots=True)
class Toleration:
    """A toleration of a pod. Empty ``key`` and ``effect`` mean any."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""

    def tolerates(self, taint: Taint) -> bool:
        if self.effect not in ("", taint.effect) or self.key not in ("", taint.key):
            return False
        if self.operator == "Exists":
            return True
        if not self.key:
            return False
        if self.operator in ("Gt", "Lt"):
            return _compare(self.operator, taint.value, self.value)
        return self.operator == "Equal" and self.value == taint.value


@dataclass(frozen=True, slots=True)
class NodeRequirement:
    """One requirement of a node selector term, about a label or the field ``metadata.name``."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, found: Mapping[str, str]) -> bool:
        value = found.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "Gt" | "Lt":
                return (
                    value is not None
                    and len(self.values) == 1
                    and _compare(self.operator, value, self.values[0])
                )
            case _:
                return False


@dataclass(frozen=True, slots=True)
class NodeTerm:
    """One term of a node affinity: all of it has to match, and an empty one matches nothing."""

    labels: tuple[NodeRequirement, ...]
    fields: tuple[NodeRequirement, ...]

    def matches(self, name: str, labels: Mapping[str, str]) -> bool:
        return (
            bool(self.labels or self.fields)
            and all(one.matches(labels) for one in self.labels)
            and all(one.matches({"metadata.name": name}) for one in self.fields)
        )


@dataclass(frozen=True, slots=True)
class SchedulableNode:
    """A node as the scheduler sees it, the version of its kubelet, and its operating system.

    ``allocatable`` None: not known, so that anything fits; so it is for ``features`` and an empty ``system``.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    cordoned: bool = False
    allocatable: Needs | None = None
    kubelet_version: str = ""
    system: str = ""
    features: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class PodConstraints:
    """What a pod demands of its node. ``terms`` None: no required node affinity.

    ``not_considered``: demands that ``obstacle`` does not look at. ``systems``: each is that of its node.
    ``attachable``: of each volume that is there already, terms of which one has to match. ``features``: what
    its node has to have of ``node_features``.
    """

    node_name: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    terms: tuple[NodeTerm, ...] | None = None
    tolerations: tuple[Toleration, ...] = ()
    requests: Needs = field(default_factory=dict)
    not_considered: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    attachable: tuple[tuple[NodeTerm, ...], ...] = ()
    features: frozenset[str] = frozenset()

    @property
    def alike(self) -> Hashable:
        """What those pods have in common that may go to the same nodes."""
        return (
            self.node_name,
            frozenset(self.node_selector.items()),
            self.terms,
            self.tolerations,
            frozenset(self.requests.items()),
            self.systems,
            self.features,
        )

    def runs_on(self, system: str) -> bool:
        """Whether the kubelet of a node with this operating system takes it."""
        return not system or all(one == system for one in self.systems)

    def tolerates(self, taint: Taint) -> bool:
        return any(one.tolerates(taint) for one in self.tolerations)

    def tolerating(self, more: Iterable[Toleration]) -> "PodConstraints":
        """Return the same with more tolerations."""
        return replace(self, tolerations=(*self.tolerations, *more))


DAEMON_TOLERATIONS: Final = (
    Toleration("node.kubernetes.io/not-ready", "Exists", effect="NoExecute"),
    Toleration("node.kubernetes.io/unreachable", "Exists", effect="NoExecute"),
    Toleration("node.kubernetes.io/disk-pressure", "Exists", effect="NoSchedule"),
    Toleration("node.kubernetes.io/memory-pressure", "Exists", effect="NoSchedule"),
    Toleration("node.kubernetes.io/pid-pressure", "Exists", effect="NoSchedule"),
    Toleration(UNSCHEDULABLE, "Exists", effect="NoSchedule"),
)
"""What the controller of DaemonSets adds to their pods."""


def obstacle(
    pod: PodConstraints, node: SchedulableNode, requested: Needs, claimed: Container[str] = ()
) -> Obstacle | None:
    """Return what keeps a pod from a node whose pods request this much together; None: it may go there.

    `claimed`: extended resources that DeviceClasses serve.
    """
    if pod.node_name not in ("", node.name):
        return Obstacle.NODE_NAME
    if not pod.runs_on(node.system):
        return Obstacle.SYSTEM
    if node.features is not None and pod.features - node.features:
        return Obstacle.FEATURE
    if any(node.labels.get(key) != value for key, value in pod.node_selector.items()):
        return Obstacle.SELECTOR
    if pod.terms is not None and not any(term.matches(node.name, node.labels) for term in pod.terms):
        return Obstacle.AFFINITY
    if not all(any(term.matches(node.name, node.labels) for term in terms) for terms in pod.attachable):
        return Obstacle.VOLUME
    repelling = [taint for taint in node.taints if taint.repels and not pod.tolerates(taint)]
    if pod.node_name:
        repelling = [taint for taint in repelling if taint.effect == "NoExecute"]
    elif any(taint.key == UNSCHEDULABLE for taint in repelling) or (
        node.cordoned and not pod.tolerates(Taint(UNSCHEDULABLE, "", "NoSchedule"))
    ):
        return Obstacle.CORDON
    if repelling:
        return Obstacle.TAINT
    return Obstacle.RESOURCES if next(insufficient_resources(pod, node, requested, claimed), None) else None


def insufficient_resources(
    pod: PodConstraints, node: SchedulableNode, requested: Needs, claimed: Container[str] = ()
) -> Iterator[tuple[str, int]]:
    """Yield each resource that a node has too little of for a pod, and what is left of it."""
    if node.allocatable is None:
        return
    for resource, amount in pod.requests.items():
        if resource in claimed and not node.allocatable.get(resource):
            continue
        left = node.allocatable.get(resource, 0) - requested.get(resource, 0)
        if amount > max(left, 0):
            yield resource, left


def read_schedulable_node(value: Any) -> SchedulableNode:
    """Read a Node."""
    metadata, spec, status = (object_at(value, name) for name in ("metadata", "spec", "status"))
    return SchedulableNode(
        name=text_at(metadata, "name"),
        labels=_texts(metadata, "labels"),
        taints=tuple(
            Taint(text_at(one, "key"), text_at(one, "value"), text_at(one, "effect"))
            for one in objects_at(spec, "taints")
        ),
        cordoned=spec.get("unschedulable") is True,
        allocatable=read_amounts(status, "allocatable")
        if isinstance(status.get("allocatable"), Mapping)
        else None,
        kubelet_version=text_at(object_at(status, "nodeInfo"), "kubeletVersion"),
        system=text_at(object_at(status, "nodeInfo"), "operatingSystem")
        or text_at(object_at(metadata, "labels"), SYSTEM_LABEL),
        features=features_of_node(status),
    )


def read_pod_constraints(value: Any) -> PodConstraints:
    """Read what a pod, its defaults filled in, demands of its node."""
    spec = object_at(value, "spec")
    affinity = object_at(spec, "affinity")
    required = object_at(affinity, "nodeAffinity").get("requiredDuringSchedulingIgnoredDuringExecution")
    return PodConstraints(
        node_name=text_at(spec, "nodeName"),
        node_selector=_texts(spec, "nodeSelector"),
        terms=None if required is None else read_node_terms(required),
        tolerations=tuple(
            Toleration(
                text_at(one, "key"),
                text_at(one, "operator") or "Equal",
                text_at(one, "value"),
                text_at(one, "effect"),
            )
            for one in objects_at(spec, "tolerations")
        ),
        requests=read_pod_needs(value),
        not_considered=tuple(_not_considered(spec, affinity)),
        features=features_for_pod(spec),
        systems=tuple(
            filter(
                None,
                (
                    text_at(object_at(spec, "os"), "name"),
                    text_at(object_at(object_at(value, "metadata"), "labels"), SYSTEM_LABEL),
                ),
            )
        ),
    )


def _not_considered(spec: Mapping[str, Any], affinity: Mapping[str, Any]) -> Iterator[str]:
    for name, text in (("podAffinity", "pod affinity"), ("podAntiAffinity", "pod anti-affinity")):
        if object_at(affinity, name).get("requiredDuringSchedulingIgnoredDuringExecution"):
            yield text
    if any(
        one.get("whenUnsatisfiable") != "ScheduleAnyway"
        for one in objects_at(spec, "topologySpreadConstraints")
    ):
        yield "topology spread"
    if spec.get("resourceClaims"):
        yield "resource claims"
    if any(_takes_host_ports(spec)):
        yield "host ports"
    if any("persistentVolumeClaim" in one or "ephemeral" in one for one in objects_at(spec, "volumes")):
        yield VOLUMES
    if spec.get("schedulingGroup") or spec.get("workloadRef"):  # v1.36 and later; v1.35
        yield POD_GROUP
    scheduler = text_at(spec, "schedulerName") or _DEFAULT_SCHEDULER
    if scheduler != _DEFAULT_SCHEDULER:
        yield f"scheduler {scheduler}"


def _takes_host_ports(spec: Mapping[str, Any]) -> Iterator[bool]:
    """Yield for each port of what runs as long as the pod whether it is one of the node's.

    In the network of the node each port is; the API server writes that down when it stores the pod.
    """
    sidecars = [one for one in objects_at(spec, "initContainers") if one.get("restartPolicy") == "Always"]
    for one in (*sidecars, *objects_at(spec, "containers")):
        for port in objects_at(one, "ports"):
            yield bool(port.get("hostPort")) or (spec.get("hostNetwork") is True and "containerPort" in port)


def read_node_terms(selector: Any) -> tuple[NodeTerm, ...]:
    """Read a node selector, as a required node affinity is one."""
    return tuple(map(_term, objects_at(selector, "nodeSelectorTerms")))


def _term(term: Mapping[str, Any]) -> NodeTerm:
    read = [
        tuple(
            NodeRequirement(
                text_at(one, "key"),
                text_at(one, "operator"),
                tuple(value for value in one.get("values") or () if isinstance(value, str)),
            )
            for one in objects_at(term, name)
        )
        for name in ("matchExpressions", "matchFields")
    ]
    return NodeTerm(*read)


def _compare(operator: str, found: str, bound: str) -> bool:
    if not (_INTEGER.fullmatch(found) and _INTEGER.fullmatch(bound)):
        return False
    left, right = int(found), int(bound)
    if not all(-(2**63) <= number < 2**63 for number in (left, right)):
        return False
    return left > right if operator == "Gt" else left < right


def _texts(parent: Mapping[str, Any], name: str) -> dict[str, str]:
    return {key: value for key, value in object_at(parent, name).items() if isinstance(value, str)}
