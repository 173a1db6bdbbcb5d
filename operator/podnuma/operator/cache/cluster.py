"""What is known of the cluster right now: one shelf of records per kind.

Nothing is decided here. `Inventory` is the only place that holds records; it hands out
values. Each change is answered with the names of the nodes that it may concern, so that
whoever feeds it can mark them dirty; `EVERY_NODE` among them stands for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import (
    CachedAllocation,
    CachedNamespace,
    CachedNode,
    CachedObject,
    CachedPod,
    CachedProfile,
    CachedTopology,
    ObjectKey,
    ObjectVersion,
)
from podnuma.operator.cache.store import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Iterable

EVERY_NODE = "*"
"""Stands for all nodes where names of nodes are returned; no node can have this name."""

AffectedNodes = frozenset[str]
NO_NODES: AffectedNodes = frozenset()
ALL_NODES: AffectedNodes = frozenset({EVERY_NODE})

T = TypeVar("T", bound=CachedObject)


def _shelf(_: type[T]) -> ObjectStore[ObjectKey, T]:
    return ObjectStore(lambda record: record.key, lambda record: record.node)


class ClusterCache:
    """The records of all kinds."""

    def __init__(self) -> None:
        self.pods = _shelf(CachedPod)
        self.nodes = _shelf(CachedNode)
        self.namespaces = _shelf(CachedNamespace)
        self.profiles = _shelf(CachedProfile)
        self.topologies = _shelf(CachedTopology)
        self.allocations = _shelf(CachedAllocation)
        self._shelves: dict[Kind, ObjectStore[ObjectKey, Any]] = {
            Kind.POD: self.pods,
            Kind.NODE: self.nodes,
            Kind.NAMESPACE: self.namespaces,
            Kind.PROFILE: self.profiles,
            Kind.TOPOLOGY: self.topologies,
            Kind.ALLOCATION: self.allocations,
        }

    def see(self, record: CachedObject) -> AffectedNodes:
        """Take in one state of one object."""
        before, news = self._shelves[record.kind].see(record)
        return _concerned(before, record) if news else NO_NODES

    def lose(self, kind: Kind, key: ObjectKey, stamp: ObjectVersion) -> AffectedNodes:
        """Note the end of one object."""
        return _concerned(self._shelves[kind].lose(key, stamp), None)

    def replace(self, kind: Kind, records: Iterable[CachedObject], version: int) -> AffectedNodes:
        """Take in a full list of one kind, taken at a version."""
        changes = self._shelves[kind].replace(records, version)
        return frozenset().union(*(_concerned(before, after) for before, after in changes))


def _concerned(before: CachedObject | None, after: CachedObject | None) -> AffectedNodes:
    """Name the nodes for which something may be different now."""
    if before is not None and after is not None and before.tells == after.tells:
        return NO_NODES
    records = [record for record in (before, after) if record is not None]
    if any(record.kind in {Kind.PROFILE, Kind.NAMESPACE} for record in records):
        return ALL_NODES
    return frozenset(record.node for record in records)
