"""Whether and when a rejected pod is evicted. Pure.

A rejected pod keeps its PodAllocation with the reason, and is decided again whenever it may
fit. With onRejection Evict it is evicted as well, unless that would not help:

  * a static pod or one of a daemon set would come back to the same node at once;
  * a pod from before podnuma managed the node, which is older than the NodeProfile, has been running
    without a grant and may go on: taking over a node must not empty it;
  * a pod that is being deleted anyway;
  * mode Audit changes nothing at all.

A controller replaces an evicted pod, and the scheduler knows nothing of NUMA nodes, so the
replacement may well be rejected again. Evictions for one controller are therefore spaced by a
growing delay: neither side can drive the other into a storm.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podnuma.api.node_settings import Mode, OnRejection

if TYPE_CHECKING:
    import random

    from podnuma.api.node_settings import PodPolicy
    from podnuma.operator.cache.objects import CachedPod
    from podnuma.plumbing.backoff import Backoff

_CONTROLLERS = 10_000  # whose last evictions are remembered


class EvictionExemption(enum.Enum):
    """Why a rejected pod is not evicted; the value says it to a user."""

    AUDIT = "mode is Audit: nothing is changed"
    SHARE = "onRejection is Share: it runs in the node shared pool"
    STAYS = "it would come back to this node at once: it runs in the node shared pool"
    WAS_THERE = "it ran here before podnuma managed the node: it keeps running in the node shared pool"
    ENDING = "it is being deleted"


def eviction_exemption(pod: CachedPod, pod_policy: PodPolicy, managed_since: str) -> EvictionExemption | None:
    """Return why a rejected pod is not evicted, None if it is; the node is managed since `managed_since`."""
    if pod_policy.mode is Mode.AUDIT:
        return EvictionExemption.AUDIT
    if pod_policy.on_rejection is OnRejection.SHARE:
        return EvictionExemption.SHARE
    if pod.stays:
        return EvictionExemption.STAYS
    if pod.created and managed_since and pod.created < managed_since:
        return EvictionExemption.WAS_THERE
    if pod.terminating:
        return EvictionExemption.ENDING
    return None


@dataclass(frozen=True, slots=True)
class _Pace:
    evictions: int
    not_before: float


class EvictionBackoff:
    """When the next pod of a controller may be evicted; each eviction within a while doubles the delay."""

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
        # After a pause of twice the longest delay the next eviction counts as the first again.
        paused = now - pace.not_before > 2 * self._backoff.limit
        evictions = 1 if paused else pace.evictions + 1
        self._paces[controller] = _Pace(evictions, now + self._backoff.delay(evictions, self._rng))
        while len(self._paces) > _CONTROLLERS:
            self._paces.popitem(last=False)
