"""Builds an agent from settings and runs it until SIGTERM. The only module that wires parts together."""

import asyncio
import contextlib
import datetime as dt
import importlib.metadata
import logging
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from podnuma.agent.apiserver import sources
from podnuma.agent.apiserver.client import ApiClient, CredentialFiles, Json
from podnuma.agent.apiserver.status_writer import StatusWriter
from podnuma.agent.apiserver.watch import Watch, WatchEvent, WatchSource
from podnuma.agent.cgroups.lock import CgroupsTakenError, the_only_one
from podnuma.agent.cgroups.writers.hugetlb import HugetlbLimits
from podnuma.agent.desired.state import DesiredState
from podnuma.agent.devices.kubelet import KubeletDevices
from podnuma.agent.devices.waiting import WaitingDevices
from podnuma.agent.discover.current import CurrentMachine, HardwareUnknown
from podnuma.agent.discover.machine import Machine
from podnuma.agent.loop import AgentLoop
from podnuma.agent.reconcile.pages_in_use import HugePageUse
from podnuma.agent.reconcile.pause import pause_reason
from podnuma.agent.reconcile.processes import Processes
from podnuma.agent.reconcile.reconciler import Reconciler
from podnuma.agent.runtimes.backend import NodeBackend, NodeNotReady
from podnuma.agent.runtimes.simulated.backend import simulated_backend
from podnuma.agent.settings import AgentSettings, Runtime
from podnuma.agent.start.gate import StartGate
from podnuma.agent.start.hook import StartHook
from podnuma.agent.status.metrics import AgentMetrics, GaugeValues
from podnuma.agent.status.node_status import AgentIdentity, NodeStatus
from podnuma.agent.status.registration import register
from podnuma.agent.status.reporter import StatusReporter
from podnuma.api import names
from podnuma.plumbing import probes, supervise
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.gc_tuning import limit_pauses
from podnuma.plumbing.metrics_readers import MetricsReaders
from podnuma.plumbing.serving_certificate import CertificateError
from podnuma.plumbing.threads import OneThread, in_thread

logger = logging.getLogger(__name__)

_PAUSE = 0.01  # seconds, while a container may be waiting for its start
_FAREWELL = 1.0  # seconds for a watch to end
_RETRY = 5.0  # seconds between looks at a node that could not be made out
_FIRST = "the hardware is not known yet"


def main(settings: AgentSettings) -> None:
    """Run until SIGTERM or SIGINT. Cgroups stay as they are at the end."""
    limit_pauses(_PAUSE)
    asyncio.run(_until_stopped(settings))


async def _until_stopped(settings: AgentSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings):
        await stop.wait()
        logger.info("stopping; applied values stay in place")


@dataclass(slots=True)
class Running:
    """A running agent.

    `port`: of metrics and probes, None if there is none; `waits`: why it does nothing yet.
    """

    port: int | None
    agent: AgentLoop | None = None
    waits: str = _FIRST


@dataclass(slots=True)
class _Shared:
    """What all parts of one agent share."""

    settings: AgentSettings
    rng: random.Random
    dirty: asyncio.Event
    devices_wake: asyncio.Event
    desired: DesiredState
    metrics: AgentMetrics
    status_writer: StatusWriter
    node: NodeStatus
    machine: CurrentMachine
    connect: Callable[[], ApiClient]
    watches: list[Watch] = field(default_factory=list)

    def watch(self, source: WatchSource, take: Callable[[WatchEvent], None]) -> None:
        """Watch a source; its events are taken in the event loop's thread."""
        loop = asyncio.get_running_loop()

        def deliver(event: WatchEvent) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended; so does the process
                loop.call_soon_threadsafe(take, event)

        watch = Watch(
            source,
            self.connect,
            deliver,
            rng=random.Random(self.rng.random()),
            failed=self.metrics.watch_failed,
        )
        self.watches.append(watch)
        watch.start()


@contextlib.asynccontextmanager
async def running(settings: AgentSettings) -> AsyncIterator[Running]:
    """Run an agent for the time of the context."""
    run = Running(port=None)
    shared = _shared(settings, lambda: GaugeValues() if run.agent is None else run.agent.gauges())
    server = await _serve_probes(shared, run)
    shared.watch(sources.allocations_source(settings.node_name), shared.desired.take_allocations)
    shared.watch(sources.topology_source(settings.node_name), shared.desired.take_topology)
    parts = [
        asyncio.create_task(_register(shared)),
        asyncio.create_task(_kept("the status writer", shared.status_writer.run, shared)),
        asyncio.create_task(_kept("the agent", lambda: _work_alone(shared, run), shared)),
    ]
    try:
        yield run
    finally:
        for watch in shared.watches:
            watch.stop()
        await supervise.cancel_and_wait(*parts)
        await asyncio.gather(*(in_thread(watch.wait, _FAREWELL) for watch in shared.watches))
        if server is not None:
            server.close()


async def _kept(name: str, part: Callable[[], Awaitable[None]], shared: _Shared) -> None:
    await supervise.keep_running(name, part, backoff=Backoff(0.5, 30.0), rng=shared.rng)


def _shared(settings: AgentSettings, state: Callable[[], GaugeValues]) -> _Shared:
    rng = random.Random()
    dirty = asyncio.Event()
    metrics = AgentMetrics(settings.metric_names, state)
    version = importlib.metadata.version("podnuma")
    access = CredentialFiles(settings.kubeconfig, settings.service_account)

    def connect() -> ApiClient:
        return ApiClient(access, f"podnuma-agent/{version}", metrics.api_error)

    devices_wake = asyncio.Event()

    def changed() -> None:
        dirty.set()
        devices_wake.set()

    desired = DesiredState(changed)
    status_writer = StatusWriter(_writer(connect), rng=rng, waited=metrics.status_wait.observe)
    boot_id = _boot_id(settings)
    node = NodeStatus(
        AgentIdentity(settings.node_name, version, boot_id),
        desired,
        status_writer,
        clock=_now,
        heartbeat=settings.heartbeat_seconds,
    )
    machine = CurrentMachine(settings.sys_root, settings.proc_root, node.discovered)
    return _Shared(
        settings, rng, dirty, devices_wake, desired, metrics, status_writer, node, machine, connect
    )


async def _register(shared: _Shared) -> None:
    """Make the NodeTopology if there is none, over a connection that is used for nothing else."""

    def create(path: str, body: Json) -> Json:
        with contextlib.closing(shared.connect()) as api:
            return api.create(path, body, names.AGENT_MANAGER)

    await register(shared.settings.node_name, shared.desired, create, rng=shared.rng)


def _writer(connect: Callable[[], ApiClient]) -> Callable[[str, Json], Json]:
    """Return a function that writes one status; each thread that is in it has a connection of its own."""
    idle: list[ApiClient] = []

    def write(path: str, body: Json) -> Json:
        api = idle.pop() if idle else connect()
        try:
            return api.apply(path, body, names.AGENT_MANAGER)
        finally:
            idle.append(api)

    return write


def _reviewer(connect: Callable[[], ApiClient]) -> Callable[[str, Json], Awaitable[Json]]:
    """Return a function that asks for a review, over a connection that is used for nothing else.

    One at a time; a question whose asker has gone is not put any more. Nothing else waits for it.
    """
    apis: list[ApiClient] = []
    thread = OneThread()

    def ask(path: str, body: Json) -> Json:
        if not apis:
            apis.append(connect())
        return apis[0].create(path, body, names.AGENT_MANAGER)

    async def review(path: str, body: Json) -> Json:
        return await thread.run(ask, path, body)

    return review


async def _work_alone(shared: _Shared, run: Running) -> None:
    """Work once no other agent does on this node. Until then the status is the other's to report."""
    while True:
        try:
            with the_only_one(shared.settings.cgroup_root):
                run.waits = _FIRST
                await _work(shared, run)
                return
        except CgroupsTakenError as taken:
            logger.warning("retrying in %g s: %s", _RETRY, taken)
            run.agent, run.waits = None, str(taken)
        await asyncio.sleep(_RETRY)


async def _work(shared: _Shared, run: Running) -> None:
    machine = await _first_machine(shared)
    settings = shared.settings
    backend = await _first_backend(shared, machine)
    shared.machine.kubepods = backend.kubepods
    shared.node.backend(backend.reader.layout.driver.value, backend.describe)
    reconciler = Reconciler(
        desired=shared.desired,
        reader=backend.reader,
        runtime=backend.runtime,
        mechanisms=backend.mechanisms,
        huge_pages=HugetlbLimits(backend.reader),
        machine=shared.machine.get,
        pause_reason=lambda containers: pause_reason(
            settings.kubelet_root, containers, simulated=settings.runtime is Runtime.SIMULATED
        ),
        processes=Processes(),
        observer=shared.metrics,
        movable_bytes=settings.movable_bytes,
    )
    reporter = StatusReporter(
        shared.desired, shared.status_writer, shared.node, shared.metrics.admissions, _now
    )
    devices = WaitingDevices(
        shared.desired,
        KubeletDevices(settings.kubelet_root, shared.metrics.asked_for_devices).ask,
        reporter.tell_devices,
        wake=shared.devices_wake,
        rng=shared.rng,
    )
    gate = StartGate(shared.desired, shared.metrics.waited, settings.defer_seconds, admitted=devices.admitted)
    hook = StartHook(gate, reconciler)
    for source, take in backend.sources(hook):
        shared.watch(source, take)
    run.agent = AgentLoop(
        reconciler=reconciler,
        reporter=reporter,
        node_status=shared.node,
        watches=shared.watches,
        dirty=shared.dirty,
        check_seconds=settings.check_seconds,
        rng=shared.rng,
        devices=devices,
        huge_pages=HugePageUse(settings.sys_root, backend.reader),
    )
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_kept("the reader of devices", devices.run, shared))
            for task in backend.tasks(hook):
                group.create_task(_kept("a part of the node's backend", task, shared))
            group.create_task(_until_moved(backend))
            await run.agent.run()
    finally:
        backend.reader.close()


async def _until_moved(backend: NodeBackend) -> None:
    """Wait until the backend has to be made anew. Raises NodeNotReady then."""
    try:
        await backend.until_moved()
    except NodeNotReady as moved:
        logger.warning("%s", moved)
        raise


def node_backend(settings: AgentSettings, machine: Machine, changed: Callable[[], None]) -> NodeBackend:
    """Return the node's backend for the runtime in the settings."""
    if settings.runtime is Runtime.SIMULATED:
        return simulated_backend(settings.node_name, settings.cgroup_root, machine, changed)
    # gRPC and protobuf are a third of the agent's memory; a simulated node needs neither.
    from podnuma.agent.runtimes.real import real_backend  # noqa: PLC0415

    return real_backend(settings, changed)


async def _first_backend(shared: _Shared, machine: Machine) -> NodeBackend:
    while True:
        try:
            return node_backend(shared.settings, machine, shared.dirty.set)
        except NodeNotReady as error:
            logger.warning("retrying in %g s: %s", _RETRY, error)
            shared.node.runtime_lost(str(error))
        shared.node.publish()
        await asyncio.sleep(_RETRY)


async def _first_machine(shared: _Shared) -> Machine:
    while True:
        try:
            return await shared.machine.get()
        except HardwareUnknown as error:
            logger.warning("hardware unknown, retrying in %g s: %s", _RETRY, error)
        shared.node.publish()
        await asyncio.sleep(_RETRY)


async def _serve_probes(shared: _Shared, run: Running) -> asyncio.Server | None:
    settings = shared.settings
    if settings.metrics_port is None:
        return None

    def ready() -> str | None:
        return run.waits if run.agent is None else run.agent.ready()

    def healthy() -> str | None:
        return None if run.agent is None else run.agent.healthy()

    certificate = settings.metrics_certificate
    readers = None if certificate is None else MetricsReaders(_reviewer(shared.connect), time.monotonic)
    answers = probes.Probes(healthy, ready, shared.metrics.exposition, readers)
    try:
        tls = None if certificate is None else certificate.context(settings.node_name, _now)
    except CertificateError as error:
        raise SystemExit(str(error)) from error
    host, port = settings.metrics_host, settings.metrics_port
    try:
        server = await probes.serve(answers, host, port, tls)
    except OSError as error:
        raise SystemExit(
            f"cannot answer probes on {host or 'all addresses'}, port {port}: {error.strerror};"
            " choose another --metrics-port"
        ) from error
    run.port = server.sockets[0].getsockname()[1]
    logger.info("metrics and probes on port %d", run.port)
    return server


def _boot_id(settings: AgentSettings) -> str:
    try:
        return (settings.proc_root / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:64]
    except OSError:
        return ""


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
