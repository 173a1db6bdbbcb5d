"""Whether a pod may go to a node: its profile manages such pods, and the scheduler would accept the node.

What is requested of a node includes the pods that have something reserved there: the scheduler keeps room
for them as soon as they are nominated. So it does for those that it has nominated itself, to which others
make way there, against all of their priority or a lower one.

Which extended resources are devices of claims, DeviceClasses say: they are read at most every ten seconds,
while a pod waits that asks for such a resource. Where the volumes of a pod can be attached, PersistentVolumes
say: they are read at most every half a minute while it waits, so many for all pods together at once.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from podnuma.api.asked_devices import CLASS_RESOURCE
from podnuma.api.placement import is_karpenters
from podnuma.api.pod_needs import add
from podnuma.api.scheduling import obstacle
from podnuma.operator.cache.objects import ObjectKey
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from podnuma.api.node_settings import PodPolicy
    from podnuma.api.pod_needs import Needs
    from podnuma.api.scheduling import Obstacle
    from podnuma.api.volumes import VolumeTerms
    from podnuma.operator.cache.cluster import ClusterCache
    from podnuma.operator.cache.objects import CachedPod
    from podnuma.operator.node.reconciler import NodeReconciler
    from podnuma.operator.watch.lister import Reader

logger = logging.getLogger(__name__)

_CLASSES_FOR = 10.0  # seconds
_VOLUMES_FOR = 30.0  # seconds
_VOLUMES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class _Volume:
    """On which nodes a volume can be, None for all or while there is none, and when that was read."""

    terms: VolumeTerms | None
    read: float


class SchedulerView:
    """Nodes as the scheduler sees them, from the cache; `nodes` returns the reconciler of a node."""

    def __init__(
        self,
        cache: ClusterCache,
        reader: Reader,
        nodes: Callable[[str], NodeReconciler | None],
        clock: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._reader = reader
        self._reconciler = nodes
        self._clock = clock
        self._classes: Mapping[str, str] = {}
        self._classes_read = float("-inf")
        self._volumes: dict[ObjectKey, _Volume] = {}
        self._nominated: dict[str, list[CachedPod]] = {}

    async def learn(self, waiting: Collection[CachedPod]) -> None:
        """Learn what nodes do not say of where these pods may go."""
        self._nominated = {}
        for pod in self._cache.unbound_pods().values():
            if pod.scheduling is not None and pod.scheduling.nominated:
                self._nominated.setdefault(pod.scheduling.nominated, []).append(pod)
        await self._learn_volumes(waiting)
        await self._learn_classes(waiting)

    async def _learn_volumes(self, waiting: Iterable[CachedPod]) -> None:
        now = self._clock()
        asked = dict.fromkeys(claim for pod in waiting for claim in _claims(pod))
        self._volumes = {claim: one for claim, one in self._volumes.items() if claim in asked}
        old = [claim for claim in asked if not self._is_known(claim, now)][:_VOLUMES_AT_ONCE]
        for claim, terms in zip(old, await asyncio.gather(*map(self._terms, old)), strict=True):
            self._volumes[claim] = _Volume(terms, now)

    async def _terms(self, claim: ObjectKey) -> VolumeTerms | None:
        try:
            return await self._reader.volume_terms(claim)
        except errors.KubeError as error:
            logger.warning("the volume of PersistentVolumeClaim %s cannot be read: %s", claim, error)
            return None

    def _is_known(self, claim: ObjectKey, now: float) -> bool:
        known = self._volumes.get(claim)
        return known is not None and now - known.read < _VOLUMES_FOR

    async def _learn_classes(self, waiting: Iterable[CachedPod]) -> None:
        now = self._clock()
        if now - self._classes_read < _CLASSES_FOR or not any(map(asks_for_extended, waiting)):
            return
        self._classes_read = now
        try:
            self._classes = await self._reader.extended_resources()
        except errors.NotFoundError:
            self._classes = {}
        except errors.KubeError as error:
            logger.warning("DeviceClasses cannot be read: %s", error)

    def claimed(self, pod: CachedPod, name: str) -> Mapping[str, str]:
        """Return the extended resources that a pod would get by claims on a node, with their classes."""
        node = self._cache.node(name)
        schedulable = None if node is None else node.schedulable
        has = {} if schedulable is None else schedulable.allocatable or {}
        return {
            one: device_class
            for one in pod.needs
            if (device_class := self._classes.get(one)) is not None and not has.get(one)
        }

    def manages(self, policy: PodPolicy, pod: CachedPod) -> bool:
        """Tell whether a policy is for a pod."""
        return policy.manages(pod.labels, self._cache.namespace_labels(pod.key.namespace))

    def added_by_karpenter(self, name: str) -> bool:
        """Tell whether Karpenter has added a node."""
        node = self._cache.node(name)
        return node is not None and is_karpenters(node.labels)

    def obstacle(self, pod: CachedPod, name: str, expected: Iterable[CachedPod] = ()) -> Obstacle | None:
        """Return what keeps a pod from a node, where pods are `expected` too; None if it may go there."""
        requested = self._requested(name)
        for one in (*expected, *self._preferred(pod, name)):
            requested = add(requested, one.needs)
        return self._look(pod, name, requested)

    def lasting_obstacle(self, pod: CachedPod, name: str) -> Obstacle | None:
        """Return what keeps a pod from a node on which it has something reserved."""
        return self._look(pod, name, {})

    def _look(self, pod: CachedPod, name: str, requested: Needs) -> Obstacle | None:
        node = self._cache.node(name)
        if pod.scheduling is None or node is None or node.schedulable is None:
            return None
        constraints = pod.scheduling.constraints
        known = filter(None, map(self._volumes.get, _claims(pod)))
        volumes = tuple(one.terms for one in known if one.terms is not None)
        if volumes:
            constraints = replace(constraints, attachable=volumes)
        return obstacle(constraints, node.schedulable, requested, self._classes)

    def _preferred(self, pod: CachedPod, name: str) -> Iterator[CachedPod]:
        """Yield the pods for which the scheduler keeps room on a node, against this one, by itself."""
        node = self._reconciler(name)
        reserved = {} if node is None else node.state.decisions
        for one in self._nominated.get(name, ()):
            waits = self._cache.pod(one.key, one.uid)
            if waits is None or waits.node or one.uid == pod.uid or one.uid in reserved:
                continue
            if _priority(one) >= _priority(pod):
                yield one

    def _requested(self, name: str) -> Needs:
        total = self._cache.requested(name)
        node = self._reconciler(name)
        for decision in node.state.decisions.values() if node is not None else ():
            if decision.decision.reserved:
                pod = self._cache.pod(decision.key, decision.uid)
                if pod is not None and not pod.node:
                    total = add(total, pod.needs)
        return total


def _priority(pod: CachedPod) -> int:
    return pod.scheduling.priority if pod.scheduling is not None else 0


def _claims(pod: CachedPod) -> Iterator[ObjectKey]:
    """Yield the PersistentVolumeClaims of a pod that is not bound."""
    if pod.scheduling is not None:
        yield from (ObjectKey(pod.key.namespace, name) for name in pod.scheduling.claims)


def asks_for_extended(pod: CachedPod) -> bool:
    """Tell whether a pod asks for a resource that a DeviceClass may serve."""
    return bool(pod.extended) or any(one.startswith(CLASS_RESOURCE) for one in pod.needs)
