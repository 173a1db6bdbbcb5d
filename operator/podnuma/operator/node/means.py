"""What every step of the loop works with."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podnuma.operator.cache.objects import NO_LABELS, ObjectKey, ObjectVersion

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping

    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.metrics import Metrics
    from podnuma.operator.node.eviction_policy import EvictionBackoff
    from podnuma.operator.watch.lister import Reader
    from podnuma.operator.write.allocation_store import AllocationStore
    from podnuma.operator.write.event_recorder import EventRecorder
    from podnuma.operator.write.writer import Writer

_PODS = 20_000  # pods whose waiting time is measured; of more, the latest


class Waits:
    """Since when pods have been waiting for their decision."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: OrderedDict[str, float] = OrderedDict()

    def begin(self, uid: str) -> None:
        """Note that a pod is there; the first time counts."""
        self._since.setdefault(uid, self._clock())
        while len(self._since) > _PODS:
            self._since.popitem(last=False)

    def end(self, uid: str) -> float | None:
        """Return how many seconds it took; None when the beginning is not known."""
        since = self._since.pop(uid, None)
        return None if since is None else self._clock() - since


@dataclass(frozen=True, slots=True)
class Means:
    """The cache, the ways to and from the API server, and what is told and counted.

    `clock` counts seconds from anywhere, for durations; `now` is the time of day, for texts.
    `mark` asks for another run of a node after some seconds.
    """

    cache: ClusterCache
    reader: Reader
    writer: Writer
    checkpoint: AllocationStore
    announcer: EventRecorder
    metrics: Metrics
    pacer: EvictionBackoff
    clock: Callable[[], float]
    now: Callable[[], dt.datetime]
    mark: Callable[[str, float], None]
    status_interval: float
    waits: Waits

    async def gone(self, key: ObjectKey, uid: str | None) -> bool:
        """Tell for certain whether a pod that is not in the cache has ended.

        An event may have been missed or be on its way: only an end that was seen, or a fresh
        look, counts.
        """
        pods = self.cache.pods
        if uid is not None and pods.was_deleted(uid):
            return True
        found = await self.reader.pod(key)
        if found is not None and (uid is None or found.uid == uid):
            pods.confirm(found)
            self.mark(found.node, 0.0)
            return False
        if uid is not None:
            pods.delete(key, ObjectVersion(uid, 0))
        return True

    def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        """Return the labels of a namespace; none while it is not known."""
        record = self.cache.namespaces.get(ObjectKey("", namespace))
        return record.labels if record is not None else NO_LABELS
