"""The present objects of one kind, in whatever order their states arrive.

Watch events, lists and responses to the operator's own writes arrive in any order and any
number of times; the newest state of each object wins:

  * an older version of an object never replaces a newer one;
  * a deleted object stays deleted (its UID is remembered for a while): a late event cannot
    bring it back, only a list or a live read can;
  * a list replaces everything except what changed after it was taken;
  * there is one object per name at a time: of two, the one with the higher version.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from podnuma.operator.cache.objects import ObjectVersion

REMEMBERED = 20_000
"""Deleted objects of one kind whose late events are recognised."""


class Versioned(Protocol):
    """An object that knows its UID and version."""

    @property
    def version(self) -> ObjectVersion:
        """Return the UID and version of this state."""
        ...


R = TypeVar("R", bound=Versioned)
N = TypeVar("N", bound=Hashable)

_NONE: Mapping[Any, Any] = MappingProxyType({})


class ObjectStore(Generic[N, R]):
    """Objects by name, and by the group (the node) they belong to; one per name, the newest."""

    def __init__(self, name_of: Callable[[R], N], group_of: Callable[[R], str] = lambda _: "") -> None:
        self._name_of = name_of
        self._group_of = group_of
        self._objects: dict[N, R] = {}
        self._groups: dict[str, dict[N, R]] = {}
        self._deleted: OrderedDict[str, int] = OrderedDict()
        self._listed_at = 0

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[R]:
        return iter(tuple(self._objects.values()))

    def get(self, name: N) -> R | None:
        """Return the present object of a name."""
        return self._objects.get(name)

    def group(self, group: str) -> Mapping[N, R]:
        """Return the objects of a group, by name."""
        return self._groups.get(group, _NONE)

    def was_deleted(self, uid: str) -> bool:
        """Tell whether this object is known to be deleted."""
        return uid in self._deleted

    def update(self, obj: R) -> tuple[R | None, bool]:
        """Store a state unless a newer one is known; return the state before, and whether this one is new."""
        name, version = self._name_of(obj), obj.version
        known = self._objects.get(name)
        if version.uid in self._deleted or self._is_stale(known, version):
            return known, False
        self._put(name, obj)
        return known, True

    def confirm(self, obj: R) -> R | None:
        """Store a state from a live read, even of an object taken for deleted; return the state before.

        A read may take longer than what happens meanwhile: neither a newer object of the name nor a deletion
        after that state is undone.
        """
        name, version = self._name_of(obj), obj.version
        known = self._objects.get(name)
        if self._deleted.get(version.uid, -1) > version.resource_version:
            return known
        self._deleted.pop(version.uid, None)
        if known is None or known.version.resource_version < version.resource_version:
            self._put(name, obj)
        return known

    def delete(self, name: N, version: ObjectVersion) -> R | None:
        """Remove an object; return its last state if it was present."""
        self._remember(version)
        known = self._objects.get(name)
        if known is None or known.version.uid != version.uid:
            return None
        self._drop(name)
        return known

    def replace(self, objects: Iterable[R], version: int) -> list[tuple[R | None, R | None]]:
        """Replace everything by a list that was taken at `version`; return each change as (before, after)."""
        listed = {self._name_of(obj): obj for obj in objects}
        changes: list[tuple[R | None, R | None]] = []
        for name, known in tuple(self._objects.items()):
            # What is newer than the list was created after it was taken.
            if name not in listed and known.version.resource_version <= version:
                self._remember(known.version)
                self._drop(name)
                changes.append((known, None))
        for name, obj in listed.items():
            before = self._objects.get(name)
            if self._deleted.get(obj.version.uid, -1) > obj.version.resource_version or (
                before is not None and before.version.resource_version >= obj.version.resource_version
            ):
                continue
            self._deleted.pop(obj.version.uid, None)
            self._put(name, obj)
            changes.append((before, obj))
        self._listed_at = max(self._listed_at, version)
        return changes

    def _is_stale(self, known: R | None, version: ObjectVersion) -> bool:
        if known is None:
            # Had it still been there, the last full list would have shown it.
            return version.resource_version <= self._listed_at
        return version.resource_version <= known.version.resource_version

    def _put(self, name: N, obj: R) -> None:
        self._drop(name)
        self._objects[name] = obj
        self._groups.setdefault(self._group_of(obj), {})[name] = obj

    def _drop(self, name: N) -> None:
        known = self._objects.pop(name, None)
        if known is None:
            return
        group = self._group_of(known)
        members = self._groups[group]
        del members[name]
        if not members:
            del self._groups[group]

    def _remember(self, version: ObjectVersion) -> None:
        self._deleted[version.uid] = max(version.resource_version, self._deleted.get(version.uid, 0))
        self._deleted.move_to_end(version.uid)
        while len(self._deleted) > REMEMBERED:
            self._deleted.popitem(last=False)
