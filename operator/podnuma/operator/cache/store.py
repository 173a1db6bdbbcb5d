"""The present objects of one kind, whatever order news of them arrives in.

Events, full lists and answers to own writes come in any order and any number of times;
the newest state of each object wins:

  * of one object, an older version never replaces a newer one;
  * an object that ended stays ended (its UID is remembered for a while), so that a late
    event cannot bring it back; only a fresh look at the API server can, because it is proof;
  * a full list replaces everything, except what changed after it was taken;
  * of one name there is one object at a time; of two, the one seen with the higher version.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from podnuma.operator.cache.objects import ObjectVersion

REMEMBERED = 20_000
"""Ended objects of one kind whose late events are recognised."""


class Versioned(Protocol):
    """A record that knows which state of which object it is."""

    @property
    def stamp(self) -> ObjectVersion:
        """Return the object's UID and the version of this state."""
        ...


R = TypeVar("R", bound=Versioned)
N = TypeVar("N", bound=Hashable)

_NONE: Mapping[Any, Any] = MappingProxyType({})


class ObjectStore(Generic[N, R]):
    """Records by name, and by the group (node) they belong to."""

    def __init__(self, name_of: Callable[[R], N], group_of: Callable[[R], str] = lambda _: "") -> None:
        self._name_of = name_of
        self._group_of = group_of
        self._records: dict[N, R] = {}
        self._groups: dict[str, dict[N, R]] = {}
        self._ended: OrderedDict[str, int] = OrderedDict()
        self._floor = 0

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[R]:
        return iter(tuple(self._records.values()))

    def get(self, name: N) -> R | None:
        """Return the present object of a name."""
        return self._records.get(name)

    def group(self, group: str) -> Mapping[N, R]:
        """Return the records of a group, by name."""
        return self._groups.get(group, _NONE)

    def ended(self, uid: str) -> bool:
        """Tell whether the end of this object was seen."""
        return uid in self._ended

    def see(self, record: R) -> tuple[R | None, bool]:
        """Take in a state; return what was there before, and whether the state was news."""
        name, stamp = self._name_of(record), record.stamp
        known = self._records.get(name)
        if stamp.uid in self._ended or self._old_news(known, stamp):
            return known, False
        self._put(name, record)
        return known, True

    def prove(self, record: R) -> R | None:
        """Take in a fresh look at one object, which proves that it is there; return what was there before."""
        name = self._name_of(record)
        known = self._records.get(name)
        self._ended.pop(record.stamp.uid, None)
        if known is None or known.stamp.uid != record.stamp.uid or known.stamp.version < record.stamp.version:
            self._put(name, record)
        return known

    def lose(self, name: N, stamp: ObjectVersion) -> R | None:
        """Note the end of an object; return its last record if it was present."""
        self._remember(stamp)
        known = self._records.get(name)
        if known is None or known.stamp.uid != stamp.uid:
            return None
        self._drop(name)
        return known

    def replace(self, records: Iterable[R], version: int) -> list[tuple[R | None, R | None]]:
        """Take in a full list of a version; return each difference as (before, after)."""
        listed = {self._name_of(record): record for record in records}
        changes: list[tuple[R | None, R | None]] = []
        for name, known in tuple(self._records.items()):
            # What is newer than the list was created after it was taken.
            if name not in listed and known.stamp.version <= version:
                self._remember(known.stamp)
                self._drop(name)
                changes.append((known, None))
        for name, record in listed.items():
            before = self._records.get(name)
            if self._ended.get(record.stamp.uid, -1) > record.stamp.version or (
                before is not None and before.stamp.version >= record.stamp.version
            ):
                continue
            self._ended.pop(record.stamp.uid, None)
            self._put(name, record)
            changes.append((before, record))
        self._floor = max(self._floor, version)
        return changes

    def _old_news(self, known: R | None, stamp: ObjectVersion) -> bool:
        if known is None:
            # Had it still been there, the last full list would have shown it.
            return stamp.version <= self._floor
        return stamp.version <= known.stamp.version

    def _put(self, name: N, record: R) -> None:
        self._drop(name)
        self._records[name] = record
        self._groups.setdefault(self._group_of(record), {})[name] = record

    def _drop(self, name: N) -> None:
        known = self._records.pop(name, None)
        if known is None:
            return
        group = self._group_of(known)
        members = self._groups[group]
        del members[name]
        if not members:
            del self._groups[group]

    def _remember(self, stamp: ObjectVersion) -> None:
        self._ended[stamp.uid] = max(stamp.version, self._ended.get(stamp.uid, 0))
        self._ended.move_to_end(stamp.uid)
        while len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
