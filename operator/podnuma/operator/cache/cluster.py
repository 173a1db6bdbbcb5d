"""What the operator knows of the cluster: one object store per kind.

Each change returns the names of the nodes that it may affect, so that the caller can queue
them; `EVERY_NODE` among them stands for all. A change that no decision could depend on
affects none.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeVar

from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import (
    NO_LABELS,
    CachedAllocation,
    CachedNamespace,
    CachedNode,
    CachedObject,
    CachedPod,
    CachedProfile,
    CachedTopology,
    ObjectKey,
    ObjectVersion,
    RequestingPod,
)
from podnuma.operator.cache.store import REMEMBERED, ObjectStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from podnuma.api.pod_needs import Needs

EVERY_NODE = "*"
"""Stands for all nodes where names of nodes are returned; no node can have this name."""

AffectedNodes = frozenset[str]
NO_NODES: AffectedNodes = frozenset()
ALL_NODES: AffectedNodes = frozenset({EVERY_NODE})

T = TypeVar("T", bound=CachedObject)


def _store(_: type[T]) -> ObjectStore[ObjectKey, T]:
    return ObjectStore(lambda cached: cached.key, lambda cached: cached.node)


class ClusterCache:
    """The present objects of all kinds, the only copy that the operator keeps."""

    def __init__(self) -> None:
        self.pods = _store(CachedPod)
        self.requesting_pods = _store(RequestingPod)
        self.nodes = _store(CachedNode)
        self.namespaces = _store(CachedNamespace)
        self.profiles = _store(CachedProfile)
        self.topologies = _store(CachedTopology)
        self.allocations = _store(CachedAllocation)
        self._stores: dict[Kind, ObjectStore[ObjectKey, Any]] = {
            Kind.POD: self.pods,
            Kind.NODE: self.nodes,
            Kind.NAMESPACE: self.namespaces,
            Kind.PROFILE: self.profiles,
            Kind.TOPOLOGY: self.topologies,
            Kind.ALLOCATION: self.allocations,
        }
        self._requested: dict[str, Needs] = {}  # by node, until a pod there changes
        self._never_bound: OrderedDict[str, None] = OrderedDict()

    def unreadable(self) -> dict[str, int]:
        """Return how many objects of each own kind have something that cannot be read."""
        return {
            kind.value.kind: sum(bool(found.problems) for found in self._stores[kind])
            for kind in (Kind.PROFILE, Kind.TOPOLOGY, Kind.ALLOCATION)
        }

    def node(self, name: str) -> CachedNode | None:
        """Return a node."""
        return self.nodes.get(ObjectKey("", name))

    def topology(self, name: str) -> CachedTopology | None:
        """Return the NodeTopology of a node."""
        return self.topologies.get(ObjectKey("", name))

    def static_uid(self, pod: CachedPod) -> str:
        """Return the UID of a static pod on its node, of which this pod is the mirror; "" if of none.

        Only a mirror that its own Node made is one: anybody can write the annotations.
        """
        node = self.node(pod.node)
        return pod.mirror.uid if node is not None and node.uid == pod.mirror.node_uid else ""

    def pod(self, key: ObjectKey, uid: str) -> CachedPod | None:
        """Return the pod of this name if it has this UID."""
        pod = self.pods.get(key)
        return pod if pod is not None and pod.uid == uid else None

    def allocation(self, key: ObjectKey, pod_uid: str) -> CachedAllocation | None:
        """Return the PodAllocation of this name if it is about the pod with this UID."""
        allocation = self.allocations.get(key)
        return allocation if allocation is not None and allocation.pod_uid == pod_uid else None

    def allocation_on(self, node: str, pod_uid: str) -> CachedAllocation | None:
        """Return the PodAllocation on a node that is about the pod with this UID, whatever its name."""
        found = self.allocations.group(node).values()
        return next((one for one in found if one.pod_uid == pod_uid), None)

    def is_cached(self, kind: Kind, key: ObjectKey, version: ObjectVersion) -> bool:
        """Tell whether exactly this state of an object is cached."""
        known = self._stores[kind].get(key)
        return known is not None and known.version == version

    def unbound_pods(self) -> Mapping[ObjectKey, CachedPod]:
        """Return the pods that have no node yet; none unless the operator places pods."""
        return self.pods.group("")

    def never_bound(self, uid: str) -> bool:
        """Tell whether it is certain of a deleted pod that it never had a node."""
        return uid in self._never_bound

    def requested(self, node: str) -> Needs:
        """Return what all pods of a node request together."""
        known = self._requested.get(node)
        if known is None:
            total: dict[str, int] = {}
            for pods in (self.pods.group(node), self.requesting_pods.group(node)):
                for pod in pods.values():
                    for resource, amount in pod.needs.items():
                        total[resource] = total.get(resource, 0) + amount
            known = self._requested[node] = total
        return known

    def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        """Return the labels of a namespace; none while it is not known."""
        found = self.namespaces.get(ObjectKey("", namespace))
        return found.labels if found is not None else NO_LABELS

    def update(self, cached: CachedObject) -> AffectedNodes:
        """Store a state of an object unless a newer one is known; return the affected nodes."""
        if isinstance(cached, RequestingPod):
            known = self.pods.get(cached.key)
            if known is not None and known.uid == cached.uid:  # it waited for a node
                self.pods.delete(cached.key, cached.version)
            self.requesting_pods.update(cached)
            self._requested.pop(cached.node, None)
            return NO_NODES
        before, is_new = self._stores[cached.kind].update(cached)
        if isinstance(cached, CachedPod):
            self._requested.pop(cached.node, None)
        return _affected(before, cached) if is_new else NO_NODES

    def delete(self, kind: Kind, key: ObjectKey, version: ObjectVersion) -> AffectedNodes:
        """Remove an object; return the affected nodes."""
        if kind is Kind.POD:
            self._forget_requests(key, version)
        return _affected(self._stores[kind].delete(key, version), None)

    def replace(self, kind: Kind, objects: Iterable[CachedObject], version: int) -> AffectedNodes:
        """Replace all objects of a kind by a list that was taken at `version`; return the affected nodes."""
        if kind is Kind.POD:
            self._requested.clear()
            found = tuple(objects)
            others = [one for one in found if isinstance(one, RequestingPod)]
            if others or len(self.requesting_pods):
                self.requesting_pods.replace(others, version)
            objects = (one for one in found if isinstance(one, CachedPod))
        changes = self._stores[kind].replace(objects, version)
        return frozenset().union(*(_affected(before, after) for before, after in changes))

    def _forget_requests(self, key: ObjectKey, version: ObjectVersion) -> None:
        other = self.requesting_pods.get(key)
        if other is not None:
            self.requesting_pods.delete(key, version)
            self._requested.pop(other.node, None)
        pod = self.pods.get(key)
        if pod is None or pod.uid != version.uid:
            return
        self._requested.pop(pod.node, None)
        # The watch hands on the last state first: only that one proves that there was no node in the end.
        if not pod.node and pod.version.resource_version == version.resource_version:
            self._never_bound[version.uid] = None
            while len(self._never_bound) > REMEMBERED:
                self._never_bound.popitem(last=False)


def _affected(before: CachedObject | None, after: CachedObject | None) -> AffectedNodes:
    """Return the nodes for which a decision may be different now."""
    if before is not None and after is not None and before.relevant_state == after.relevant_state:
        return NO_NODES
    objects = [cached for cached in (before, after) if cached is not None]
    if any(cached.kind in {Kind.PROFILE, Kind.NAMESPACE} for cached in objects):
        return ALL_NODES
    return frozenset(cached.node for cached in objects)
