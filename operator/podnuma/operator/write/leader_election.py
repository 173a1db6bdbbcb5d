"""Leader election: one process may write, and only while its Lease is certain to be valid.

The Lease (coordination.k8s.io) names a holder and counts its changes. A process that sees the
Lease unchanged for its whole duration, by its own clock, takes it; clocks of different
machines are never compared. Each change of the holder begins a new *term* (leaseTransitions).

A former leader cannot do harm:
  * it counts from *before* its last successful renewal was sent, and stops writing `margin`
    before another process could take over;
  * a write gets what is left of that time as its deadline, and the API server knows it, so
    that a slow write is not carried out under the next leader;
  * a decision of an older term that still turns up later is compared with what the new leader
    holds, and is deleted if they overlap (see node.allocations).

The Lease shows as well that a backup of etcd was restored: versions only grow, and it has an earlier one.
Watches then go on from a version that is yet to come, and are silent, and caches take what is stored for
older than what they have. Only a process that begins anew sees the cluster as it is (`rewound`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from podnuma.api.resource_types import LEASE
from podnuma.operator.cache.decode import resource_version
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from podnuma.operator.settings import LeaseSettings
    from podnuma.plumbing.kube.client import Client, Json

logger = logging.getLogger(__name__)


class Leadership(Protocol):
    """Says whether, and for how long, this process may write."""

    @property
    def term(self) -> int:
        """Return the number of the present term."""
        ...

    def remaining(self) -> float:
        """Return for how many seconds no other process can be the leader; 0 or less: do not write."""
        ...


@dataclass(frozen=True, slots=True)
class AlwaysLeader:
    """The leadership of a process that runs without a Lease and is known to be the only one."""

    term: int = 0

    def remaining(self) -> float:
        return 3600.0


class LeaderElector:
    """Acquires, renews and releases the Lease; `remaining` never overestimates."""

    def __init__(
        self,
        client: Client,
        settings: LeaseSettings,
        *,
        namespace: str,
        identity: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._settings = settings
        self._path = LEASE.path(namespace)
        self._identity = identity
        self._clock = clock
        self._safe_until = 0.0
        self._term = 0
        self._seen: tuple[str, float] = ("", 0.0)
        self._leading = asyncio.Event()
        self._lost = asyncio.Event()
        self._lost.set()
        self._version = 0
        self._rewound = asyncio.Event()

    @property
    def term(self) -> int:
        return self._term

    @property
    def leading(self) -> bool:
        """Tell whether a write may begin now."""
        return self.remaining() > 0

    def remaining(self) -> float:
        return self._safe_until - self._clock()

    async def elected(self) -> int:
        """Wait until this process leads; return the term."""
        await self._leading.wait()
        return self._term

    async def lost(self) -> None:
        """Wait until this process no longer leads."""
        await self._lost.wait()

    async def rewound(self) -> None:
        """Wait until what the API server has stored is older than what it has shown before."""
        await self._rewound.wait()

    async def run(self) -> None:
        """Try to acquire and renew the Lease until the API server's past has changed."""
        try:
            while not self._rewound.is_set():
                began = self._clock()
                try:
                    async with asyncio.timeout(self._settings.retry * 2):
                        await self._step(began)
                except (errors.KubeError, TimeoutError) as error:
                    said = str(error) or f"no answer within {self._settings.retry * 2:g} s"
                    logger.warning("Lease %s: %s", self._settings.name, said)
                if not self.leading:
                    self._step_down()
                pause = self._settings.retry - (self._clock() - began)
                await asyncio.sleep(max(pause, self._settings.retry / 10))
        finally:
            self._safe_until = 0.0
            self._step_down()

    async def release(self) -> None:
        """Release the Lease, so that a standby takes over at once."""
        self._safe_until = 0.0
        lease = await self._client.get(f"{self._path}/{self._settings.name}", deadline=2.0)
        if (lease.get("spec") or {}).get("holderIdentity") != self._identity:
            return
        await self._put(lease, holder="", transitions=_transitions(lease))

    async def _step(self, began: float) -> None:
        try:
            lease = await self._client.get(
                f"{self._path}/{self._settings.name}", deadline=self._settings.retry
            )
        except errors.NotFoundError:
            created = await self._client.write(
                "POST", self._path, self._body({}, self._identity, 0), deadline=self._settings.retry
            )
            self._hold(created, began)
            return
        if self._went_back(lease):
            return
        spec = lease.get("spec") or {}
        holder = str(spec.get("holderIdentity") or "")
        if holder == self._identity and self._safe_until:
            self._hold(await self._put(lease, holder, _transitions(lease)), began)
            return
        version = str((lease.get("metadata") or {}).get("resourceVersion"))
        if version != self._seen[0]:
            self._seen = (version, began)
        taken = holder not in {"", self._identity}
        if taken and began - self._seen[1] < self._settings.duration:
            return
        # Its own name, found after a pause, begins a new term too: others may have led in between.
        self._hold(await self._put(lease, self._identity, _transitions(lease) + 1), began)

    async def _put(self, lease: Json, holder: str, transitions: int) -> Json:
        body = self._body(lease.get("metadata") or {}, holder, transitions)
        return await self._client.write(
            "PUT", f"{self._path}/{self._settings.name}", body, deadline=self._settings.retry
        )

    def _body(self, metadata: Json, holder: str, transitions: int) -> Json:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        kept = {key: metadata[key] for key in ("resourceVersion", "labels", "annotations") if key in metadata}
        spec: dict[str, Any] = {
            "holderIdentity": holder,
            "leaseDurationSeconds": max(1, round(self._settings.duration)),
            "leaseTransitions": transitions,
            "renewTime": now,
        }
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._settings.name, **kept},
            "spec": spec,
        }

    def _hold(self, lease: Json, began: float) -> None:
        self._term = _transitions(lease)
        self._safe_until = began + self._settings.duration - self._settings.margin
        if not self._leading.is_set():
            logger.info("leading, term %d", self._term)
            self._lost.clear()
            self._leading.set()

    def _went_back(self, lease: Json) -> bool:
        """Note the version of the Lease; tell whether it had a later one."""
        version = resource_version((lease.get("metadata") or {}).get("resourceVersion"))
        if version < self._version:
            self._safe_until = 0.0
            self._rewound.set()
        self._version = max(self._version, version)
        return self._rewound.is_set()

    def _step_down(self) -> None:
        if self._leading.is_set():
            logger.warning("no longer leading")
            self._safe_until = 0.0
            self._leading.clear()
            self._lost.set()


def _transitions(lease: Json) -> int:
    value = (lease.get("spec") or {}).get("leaseTransitions")
    return value if isinstance(value, int) else 0
