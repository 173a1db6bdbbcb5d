"""Whether a pod that is not in the cache is gone, for certain.

An event may have been missed or be on its way: only a deletion that was seen, or a live read, counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from podnuma.operator.cache.objects import ObjectVersion

if TYPE_CHECKING:
    from collections.abc import Callable

    from podnuma.operator.cache.cluster import AffectedNodes, ClusterCache
    from podnuma.operator.cache.objects import ObjectKey
    from podnuma.operator.watch.lister import Reader


@dataclass(frozen=True, slots=True)
class LivePods:
    """Reads pods from the API server; what it finds is in the cache afterwards, and its node is queued."""

    cache: ClusterCache
    reader: Reader
    enqueue: Callable[[AffectedNodes], None]

    async def is_gone(self, key: ObjectKey, uid: str | None) -> bool:
        """Tell whether the pod of this name and UID is gone; without a UID, whether the name is free.

        Raises one of plumbing.kube.errors when the API server does not say.
        """
        if uid is not None and self.cache.pods.was_deleted(uid):
            return True
        found = await self.reader.pod(key)
        if found is not None:
            self.cache.pods.confirm(found)
            if found.node:
                self.enqueue(frozenset({found.node}))
            if uid is None or found.uid == uid:
                return False
        if uid is not None:
            self.cache.pods.delete(key, ObjectVersion(uid, 0))
        return True
