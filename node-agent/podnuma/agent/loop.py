"""One running agent: streams in, passes over the node, statuses out.

`app` builds the parts; this module only runs them in order. A burst of events costs one
pass, and passes take a fifth of a processor at most: what a pass waits for others does not count, or reports
would be late just when much is going on. A pass that failed, was refused something or does not find what it
wrote comes again after a back-off; without events there is one every `check_seconds`, because cgroups change
without telling.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from podnuma.agent.apiserver.watch import Watch
from podnuma.agent.devices.waiting import WaitingDevices
from podnuma.agent.discover.current import HardwareUnknown
from podnuma.agent.model.cgroup_ref import PodCgroup
from podnuma.agent.reconcile.pages_in_use import HugePageUse
from podnuma.agent.reconcile.reconciler import Reconciler
from podnuma.agent.reconcile.snapshot import NodeSnapshot
from podnuma.agent.status.metrics import GaugeValues
from podnuma.agent.status.node_status import NodeStatus
from podnuma.agent.status.reporter import StatusReporter
from podnuma.plumbing.backoff import Backoff

logger = logging.getLogger(__name__)

_BACKOFF = Backoff(0.1, 5.0)
_BATCH = 0.005  # seconds in which events are taken together
_BATCH_AFTER_FAILURE = 0.1
_REST = 4.0  # times the processor time that a pass took
_LONGEST_REST = 1.0  # seconds
_STILL = 600.0  # seconds without an answer or a failure before a watch counts as stuck
_STUCK = 120.0  # seconds without a finished pass


@dataclass(slots=True)
class AgentLoop:
    """Runs passes until cancelled, when something changed and every `check_seconds`, and reports on each."""

    reconciler: Reconciler
    reporter: StatusReporter
    node_status: NodeStatus
    watches: Sequence[Watch]
    dirty: asyncio.Event
    check_seconds: float
    rng: random.Random
    devices: WaitingDevices
    huge_pages: HugePageUse
    _pages_read_at: float = field(init=False, default=float("-inf"))
    _passed_at: float = field(init=False, default_factory=time.monotonic)
    _trouble: str | None = field(init=False, default="no pass yet")

    async def run(self) -> None:
        """Pass after pass until cancelled."""
        failures = 0
        while True:
            pause = _BACKOFF.delay(failures, self.rng) if failures else self.check_seconds
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self.dirty.wait()
            # What keeps failing must not make a busy stream of events a busy loop.
            await asyncio.sleep(_BATCH_AFTER_FAILURE if failures else _BATCH)
            self.dirty.clear()
            began = time.thread_time()
            failures = failures + 1 if await self._pass() else 0
            await asyncio.sleep(min(_REST * (time.thread_time() - began), _LONGEST_REST))

    async def _pass(self) -> bool:
        """Run one pass and report on it; return whether it is to be repeated soon."""
        try:
            self.reporter.recall(self.reconciler.verdicts)
            snapshot = await self.reconciler.run_pass()
        except HardwareUnknown as error:
            self._failed(f"hardware unknown: {error}")
            self.node_status.publish()
            return True
        except OSError as error:
            self._failed(f"the pass over the node failed: {error}")
            self.node_status.runtime_lost(str(error))
            self.node_status.publish()
            return True
        except Exception:
            logger.exception("a pass over the node failed")
            self._failed("a pass over the node failed; see the log")
            return True
        if self._trouble is not None:
            logger.info("passes over the node succeed")
        self._trouble = None
        self._passed_at = time.monotonic()
        self._look_at_huge_pages(snapshot)
        await self.reporter.report(snapshot, self.reconciler.verdicts)
        self.devices.saw({cgroup.uid for cgroup in snapshot.seen if isinstance(cgroup, PodCgroup)})
        return snapshot.unfinished or snapshot.unsettled or bool(snapshot.intrusions)

    def _look_at_huge_pages(self, snapshot: NodeSnapshot) -> None:
        """Find who has huge pages, once in `check_seconds`, however many passes there are."""
        desired = self.reporter.desired
        if not desired.allocations_known or self._passed_at - self._pages_read_at < self.check_seconds:
            return
        self._pages_read_at = self._passed_at
        grants = (each.grant for each in desired.allocations())
        by_uid = {grant.uid: grant for grant in grants if grant is not None}
        try:
            pages = self.huge_pages.read(snapshot.machine.topology, by_uid)
        except OSError as error:
            logger.warning("huge pages in use could not be read: %s", error)
        else:
            self.node_status.found_pages(pages)

    def _failed(self, why: str) -> None:
        if self._trouble != why:
            logger.warning("%s", why)
        self._trouble = why

    def gauges(self) -> GaugeValues:
        """Return what gauges are computed from."""
        snapshot = self.reconciler.snapshot
        return GaugeValues() if snapshot is None else self.reporter.gauges(snapshot)

    def healthy(self) -> str | None:
        """Return why this process should be replaced, or None."""
        now = time.monotonic()
        if now - self._passed_at > _STUCK and self._trouble is None:
            return f"no pass over the node for {now - self._passed_at:.0f} s"
        # An API server that is away is no reason: what is applied is better kept by a process that knows it.
        still = max((now - watch.moved for watch in self.watches), default=0.0)
        return None if still < _STILL else f"a watch has not moved for {still:.0f} s"

    def ready(self) -> str | None:
        """Return what is missing before this agent does its work, or None."""
        for watch in self.watches:
            if watch.trouble is not None:
                return watch.trouble
        return self._trouble
