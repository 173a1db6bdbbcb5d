"""What follows when a pod does not fit its node. Pure.

The pod keeps its PodAllocation with the reason, and is decided again whenever there could
be room. Besides, with onRejection Evict, it is evicted, unless that would help nobody:

  * a static pod or one of a daemon set would come back to the same node at once;
  * a pod from before podnuma took over the node has been running without a grant and may
    go on: taking over a node must not empty it;
  * a pod that is being deleted anyway;
  * with mode Audit nothing is changed at all.

A controller replaces what is evicted, and the scheduler knows nothing of NUMA nodes, so the
replacement may well be refused again. Evictions for one controller are therefore spaced by
a growing delay: neither side can drive the other into a storm.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podnuma.api.node_settings import Mode, OnRejection

if TYPE_CHECKING:
    import random

    from podnuma.api.node_settings import Handling
    from podnuma.operator.cache.objects import CachedPod
    from podnuma.plumbing.backoff import Backoff

_CONTROLLERS = 10_000  # whose last evictions are remembered


class EvictionExemption(enum.Enum):
    """Why a refused pod is not evicted."""

    AUDIT = "mode is Audit: nothing is changed"
    SHARE = "onRejection is Share: it runs in the node shared pool"
    STAYS = "it would come back to this node at once: it runs in the node shared pool"
    WAS_THERE = "it ran here before podnuma took over the node: it goes on in the node shared pool"
    ENDING = "it is being deleted"


def eviction_exemption(pod: CachedPod, handling: Handling, taken_over: str) -> EvictionExemption | None:
    """Say why a refused pod is not evicted; None: it is. `taken_over` is when the NodeTopology was made."""
    if handling.mode is Mode.AUDIT:
        return EvictionExemption.AUDIT
    if handling.on_rejection is OnRejection.SHARE:
        return EvictionExemption.SHARE
    if pod.stays:
        return EvictionExemption.STAYS
    if pod.created and taken_over and pod.created < taken_over:
        return EvictionExemption.WAS_THERE
    if pod.terminating:
        return EvictionExemption.ENDING
    return None


@dataclass(frozen=True, slots=True)
class _Pace:
    evictions: int
    not_before: float


class EvictionBackoff:
    """When the next pod of a controller may be evicted, in seconds of the caller's clock."""

    def __init__(self, backoff: Backoff, rng: random.Random) -> None:
        self._backoff = backoff
        self._rng = rng
        self._paces: OrderedDict[str, _Pace] = OrderedDict()

    def wait(self, controller: str, now: float) -> float:
        """Return how long an eviction has to wait; 0: it may go ahead."""
        pace = self._paces.get(controller)
        return 0.0 if pace is None else max(0.0, pace.not_before - now)

    def evicted(self, controller: str, now: float) -> None:
        """Note an eviction, or one that a disruption budget refused."""
        pace = self._paces.pop(controller, _Pace(0, now))
        # After a calm of twice the longest delay the next one counts as the first again.
        calm = now - pace.not_before > 2 * self._backoff.limit
        evictions = 1 if calm else pace.evictions + 1
        self._paces[controller] = _Pace(evictions, now + self._backoff.delay(evictions, self._rng))
        while len(self._paces) > _CONTROLLERS:
            self._paces.popitem(last=False)
