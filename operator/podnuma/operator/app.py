"""Build the parts, connect them, run until told to stop.

    Kopf's thread ──► KopfSource ──► Controller ──► ApiWriter ──► API server
                                         ▲              ▲
                         starts when elected            may this process write?
                                         └ LeaderElector ┘

A process that does not lead watches as well: it stands by with a warm cache, and when it is
elected it only has to list the PodAllocations.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import random
import signal
import time
import uuid
from typing import TYPE_CHECKING, Any

from podnuma.operator.cache.kinds import Kind
from podnuma.operator.controller import Controller, ControllerTiming
from podnuma.operator.credentials import ClientCredentials
from podnuma.operator.metrics import Metrics, Snapshot
from podnuma.operator.watch.kopf_source import KopfSource
from podnuma.operator.watch.lister import ApiReader
from podnuma.operator.write.leader_election import AlwaysLeader, LeaderElector
from podnuma.operator.write.writer import ApiWriter
from podnuma.plumbing import probes, supervise
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.gc_tuning import limit_pauses
from podnuma.plumbing.kube import errors
from podnuma.plumbing.kube.client import Client
from podnuma.plumbing.metrics_readers import MetricsReaders
from podnuma.plumbing.serving_certificate import CertificateError

if TYPE_CHECKING:
    from podnuma.operator.settings import OperatorSettings

logger = logging.getLogger(__name__)

_RESTARTS = Backoff(first=0.5, limit=15.0)
_WATCH_SILENCE = 600.0  # seconds without any watch activity after which the process is not healthy
_LAG = 30.0  # seconds the loop may be late before the process is not healthy
_BEAT = 1.0
_PAUSE = 0.05  # seconds for which everything may stand still
_POLL = 0.05
_REVIEW_DEADLINE = 2.0  # seconds, twice per reader; a scrape that waits longer is given up by the port


class RewoundError(Exception):
    """What the API server has stored is older than what it has shown before."""


class OperatorProcess:
    """The parts of one process: built at once, run together, stopped together."""

    def __init__(self, settings: OperatorSettings) -> None:
        self._settings = settings
        self._rng = random.Random()
        self.metrics = Metrics()
        access = ClientCredentials(settings.kubeconfig, settings.context)
        self._client = Client(access, user_agent="podnuma-operator", observe=self.metrics.observe_request)
        self.elector = (
            LeaderElector(
                self._client,
                settings.lease,
                namespace=settings.namespace,
                # Two processes may have one name; in the Lease they must differ.
                identity=f"{settings.identity}_{uuid.uuid4().hex[:12]}",
            )
            if settings.lease is not None
            else None
        )
        leadership = self.elector if self.elector is not None else AlwaysLeader()
        self._leadership = leadership
        self.controller = Controller(
            ApiReader(self._client, page_size=settings.page_size, placing=settings.placement),
            ApiWriter(self._client, leadership, deadline=settings.write_deadline),
            metrics=self.metrics,
            timing=ControllerTiming(
                settle=settings.settle,
                status_interval=settings.status_interval,
                concurrency=settings.concurrency,
                write_deadline=settings.write_deadline,
            ),
            clock=time.monotonic,
            now=_now,
            rng=self._rng,
            export_resource_topologies=settings.export_resource_topologies,
            placement=settings.placement,
        )
        self.watches = KopfSource(
            access,
            self.controller,
            page_size=settings.page_size,
            clock=time.monotonic,
            rng=self._rng,
            placing=settings.placement,
            begins_anew=lambda kind: self.metrics.watch_relists.labels(kind.value.kind).inc(),
        )
        self._beat = time.monotonic()
        self._deciding = False
        self.metrics.watch_state(self._snapshot)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set; RewoundError if the API server was set back to an earlier state."""
        server = await self._open_port()
        parts = [
            asyncio.create_task(
                supervise.keep_running(name, part, backoff=_RESTARTS, rng=self._rng), name=name
            )
            for name, part in (
                ("heartbeat", self._heart),
                ("watches", self._watch),
                ("lists", self._list),
                ("decisions", self._lead),
                ("resync", self._resync),
                ("events", self.controller.events.run),
                *((("lease", self.elector.run),) if self.elector is not None else ()),
            )
        ]
        try:
            await self._end(stop)
        finally:
            await self.controller.stop()
            await supervise.cancel_and_wait(*parts)
            if self.elector is not None:
                with contextlib.suppress(errors.KubeError, TimeoutError):
                    async with asyncio.timeout(3.0):
                        await self.elector.release()
            if server is not None:
                server.close()
            await self._client.close()

    async def _end(self, stop: asyncio.Event) -> None:
        """Wait until it is time to end."""
        if self.elector is None:
            await stop.wait()
            return
        rewound = asyncio.create_task(self.elector.rewound())
        told = asyncio.create_task(stop.wait())
        await asyncio.wait([rewound, told], return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if not rewound.done():
            rewound.cancel()
            return
        raise RewoundError(
            "the API server has stored less than it has shown, as after the restore of a backup of etcd: "
            "this process ends, so that the next one begins with what is there"
        )

    async def _lead(self) -> None:
        while True:
            if self.elector is not None:
                await self.elector.elected()
            await self.controller.wait_for_sync()
            await self.controller.start()
            self._deciding = True
            logger.info("deciding, term %d", self._leadership.term)
            try:
                await (self.elector.lost() if self.elector is not None else asyncio.Event().wait())
            finally:
                self._deciding = False
                await self.controller.stop()

    async def _watch(self) -> None:
        try:
            await self.watches.run()
        finally:
            self.metrics.watch_restarts.inc()

    async def _list(self) -> None:
        """List kinds whose watch is new: all of them first, later those that a watch may have missed."""
        while True:
            kinds = await self.watches.unlisted()
            if self.watches.missing and not self.controller.has_synced:
                # Not before every watch is established: what happens between two lists must not be lost.
                self.watches.list_again(kinds)
                await asyncio.sleep(_POLL)
                continue
            try:
                await self.controller.sync(kinds)
            except errors.KubeError as error:
                self.metrics.resyncs.labels("failed").inc()
                logger.warning("listing %s: %s", ", ".join(sorted(kind.value.kind for kind in kinds)), error)
                self.watches.list_again(kinds)
                await asyncio.sleep(_RESTARTS.delay(3, self._rng))
                continue
            self.metrics.resyncs.labels("ok").inc()

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(self._settings.resync * self._rng.uniform(0.8, 1.2))
            if self.controller.has_synced:
                self.watches.list_again(Kind)
                self.controller.resync()

    async def _heart(self) -> None:
        while True:
            self._beat = time.monotonic()
            await asyncio.sleep(_BEAT)

    async def _open_port(self) -> asyncio.Server | None:
        if self._settings.metrics_port is None:
            return None
        certificate = self._settings.metrics_certificate
        readers = None if certificate is None else MetricsReaders(self._review, time.monotonic)
        answers = probes.Probes(self._healthy, self._ready, self.metrics.exposition, readers)
        host, port = self._settings.metrics_host, self._settings.metrics_port
        try:
            tls = None if certificate is None else certificate.context(self._settings.identity, _now)
            server = await probes.serve(answers, host, port, tls)
        except CertificateError as error:
            raise SystemExit(str(error)) from error
        except OSError as error:
            raise SystemExit(
                f"cannot answer probes on {host or 'all addresses'}, port {port}: {error.strerror};"
                " choose another --metrics-port"
            ) from error
        logger.info("answering on port %d", server.sockets[0].getsockname()[1])
        return server

    async def _review(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._client.write("POST", path, body, deadline=_REVIEW_DEADLINE)

    def _healthy(self) -> str | None:
        late = time.monotonic() - self._beat - _BEAT
        if late > _LAG:
            return f"the event loop is {late:.0f} s late"
        age = self.watches.age()
        if self.controller.has_synced and age > _WATCH_SILENCE:
            return f"a watch has shown no activity for {age:.0f} s"
        return None

    def _ready(self) -> str | None:
        if not self.controller.has_synced:
            missing = ", ".join(sorted(kind.value.kind for kind in self.watches.missing))
            return f"not watched yet: {missing}" if missing else "the cluster has not been listed yet"
        if self.elector is None and not self._deciding:
            return "not deciding yet"
        if failing := self.watches.in_vain:
            kinds = ", ".join(sorted(f"{kind.value.kind} ({count})" for kind, count in failing.items()))
            return f"watches that fail again and again: {kinds} in a row"
        return None

    def _snapshot(self) -> Snapshot:
        return self.controller.snapshot(
            leading=self._leadership.remaining() > 0 and self._deciding,
            term=self._leadership.term,
            watch_age=max(0.0, self.watches.age()),
        )


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


async def run(settings: OperatorSettings) -> None:
    """Run one process until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await ClientCredentials(settings.kubeconfig, settings.context).read()
    except errors.RefusedError as error:
        raise SystemExit(error.message) from error
    try:
        await OperatorProcess(settings).run(stop)
    except RewoundError as error:
        raise SystemExit(str(error)) from error


def main(settings: OperatorSettings) -> None:
    """Run one process; the entry point of `podnuma operator`."""
    limit_pauses(_PAUSE)
    asyncio.run(run(settings))
