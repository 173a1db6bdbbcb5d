"""Which containers exist, as the runtime last reported. The one owner of that knowledge.

NRI reports everything once when it synchronizes and every change after that; CRI is polled. A container
exists from its creation to its end: values are never written to an id of an old status. One that ended is
kept a little longer, or a container that lived shorter than the time between two passes would never be seen.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from podnuma.agent.model.containers import Container

_NAMED_FOR = 15.0  # seconds; passes come every few
_NAMED = 256


class ContainerCache:
    """The containers that exist, and for a moment those that ended. `changed` is called on each change."""

    def __init__(self, changed: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._changed = changed
        self._clock = clock
        self._containers: dict[str, Container] = {}
        self._ended: list[tuple[float, Container]] = []

    def all(self) -> tuple[Container, ...]:
        """Return what ended a moment ago, then what exists."""
        now = self._clock()
        self._ended = [entry for entry in self._ended if now - entry[0] < _NAMED_FOR][-_NAMED:]
        return (*(container for _, container in self._ended), *self._containers.values())

    def ids(self) -> frozenset[str]:
        """Return the ids of what exists, and of what ended a moment ago."""
        return frozenset(container.id for container in self.all())

    def replace(self, containers: Iterable[Container]) -> None:
        """Take a complete list."""
        now = {container.id: container for container in containers}
        if now != self._containers:
            for gone in self._containers.keys() - now.keys():
                self._end(gone)
            self._containers = now
            self._changed()

    def add(self, container: Container) -> None:
        """Take note of one that exists now, unless it has ended: its start may be told of after that."""
        over = any(ended.id == container.id for _, ended in self._ended)
        if not over and self._containers.get(container.id) != container:
            self._containers[container.id] = container
            self._changed()

    def remove(self, container_id: str) -> None:
        """Take note of one that ended."""
        if container_id in self._containers:
            self._end(container_id)
            self._changed()

    def _end(self, container_id: str) -> None:
        self._ended.append((self._clock(), replace(self._containers.pop(container_id), ended=True)))
