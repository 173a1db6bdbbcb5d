"""Which containers exist, as the runtime last told. One owner of that knowledge, two ways to learn it.

NRI tells everything once when it synchronizes and every change after that. CRI is asked. Only containers
that were created and have not ended are in it: values are never written to an id of an old status.
"""

from collections.abc import Callable, Iterable

from podnuma.agent.containers import Container


class Inventory:
    """See the module. `changed` is called after every difference."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._containers: dict[str, Container] = {}

    def all(self) -> tuple[Container, ...]:
        return tuple(self._containers.values())

    def replace(self, containers: Iterable[Container]) -> None:
        """Take a complete list."""
        now = {container.id: container for container in containers}
        if now != self._containers:
            self._containers = now
            self._changed()

    def add(self, container: Container) -> None:
        """Take note of one that exists now."""
        if self._containers.get(container.id) != container:
            self._containers[container.id] = container
            self._changed()

    def remove(self, container_id: str) -> None:
        """Take note of one that ended."""
        if self._containers.pop(container_id, None) is not None:
            self._changed()
