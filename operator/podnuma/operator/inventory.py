"""What is known of the cluster right now: one shelf of records per kind.

Nothing is decided here. `Inventory` is the only place that holds records; it hands out
values. Each change is answered with the names of the nodes that it may concern, so that
whoever feeds it can mark them dirty; `EVERY_NODE` among them stands for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from podnuma.operator.kinds import Kind
from podnuma.operator.records import (
    AllocationRecord,
    Key,
    NamespaceRecord,
    NodeRecord,
    PodRecord,
    ProfileRecord,
    Record,
    Stamp,
    TopologyRecord,
)
from podnuma.operator.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Iterable

EVERY_NODE = "*"
"""Stands for all nodes where names of nodes are returned; no node can have this name."""

Concerned = frozenset[str]
NOBODY: Concerned = frozenset()
EVERYBODY: Concerned = frozenset({EVERY_NODE})

T = TypeVar("T", bound=Record)


def _shelf(_: type[T]) -> Shelf[Key, T]:
    return Shelf(lambda record: record.key, lambda record: record.node)


class Inventory:
    """The records of all kinds."""

    def __init__(self) -> None:
        self.pods = _shelf(PodRecord)
        self.nodes = _shelf(NodeRecord)
        self.namespaces = _shelf(NamespaceRecord)
        self.profiles = _shelf(ProfileRecord)
        self.topologies = _shelf(TopologyRecord)
        self.allocations = _shelf(AllocationRecord)
        self._shelves: dict[Kind, Shelf[Key, Any]] = {
            Kind.POD: self.pods,
            Kind.NODE: self.nodes,
            Kind.NAMESPACE: self.namespaces,
            Kind.PROFILE: self.profiles,
            Kind.TOPOLOGY: self.topologies,
            Kind.ALLOCATION: self.allocations,
        }

    def see(self, record: Record) -> Concerned:
        """Take in one state of one object."""
        before, news = self._shelves[record.kind].see(record)
        return _concerned(before, record) if news else NOBODY

    def lose(self, kind: Kind, key: Key, stamp: Stamp) -> Concerned:
        """Note the end of one object."""
        return _concerned(self._shelves[kind].lose(key, stamp), None)

    def replace(self, kind: Kind, records: Iterable[Record], version: int) -> Concerned:
        """Take in a full list of one kind, taken at a version."""
        changes = self._shelves[kind].replace(records, version)
        return frozenset().union(*(_concerned(before, after) for before, after in changes))


def _concerned(before: Record | None, after: Record | None) -> Concerned:
    """Name the nodes for which something may be different now."""
    if before is not None and after is not None and before.tells == after.tells:
        return NOBODY
    records = [record for record in (before, after) if record is not None]
    if any(record.kind in {Kind.PROFILE, Kind.NAMESPACE} for record in records):
        return EVERYBODY
    return frozenset(record.node for record in records)
