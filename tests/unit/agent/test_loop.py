"""The loop of one agent over a fake node, with a server that only takes statuses."""

import asyncio
import contextlib
import datetime as dt
import errno
import random
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from podnuma.agent.apiserver.status_writer import StatusWriter
from podnuma.agent.apiserver.watch import Listed
from podnuma.agent.devices.waiting import WaitingDevices
from podnuma.agent.discover.machine import Discovered
from podnuma.agent.discover.tree import Finding
from podnuma.agent.loop import AgentLoop
from podnuma.agent.model.cgroup_ref import ContainerCgroup
from podnuma.agent.model.containers import RuntimeDescription
from podnuma.agent.podresources.client import ContainerDevice, ListedPod
from podnuma.agent.reconcile.pages_in_use import HugePageUse
from podnuma.agent.status.metrics import AdmissionCounts
from podnuma.agent.status.node_status import AgentIdentity, NodeStatus
from podnuma.agent.status.reporter import StatusReporter
from podnuma.allocator import cpuset
from podnuma.api.pod_allocation import DEVICES_PENDING, Decision
from podnuma.plumbing.kube import errors

from tests.unit.operator.virtual import VirtualLoop


class Running:
    def __init__(self, bench, at_once=4):
        self.bench = bench
        self.dirty = asyncio.Event()
        bench.desired._changed = self.dirty.set
        self.written = {}
        self.writes = 0
        self.time = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        status_writer = StatusWriter(self.write, rng=random.Random(1), not_before=0, at_once=at_once)
        self.node = NodeStatus(
            AgentIdentity("node", "0.1", "boot"),
            bench.desired,
            status_writer,
            clock=lambda: self.time,
            heartbeat=60,
        )
        self.node.discovered(Discovered(bench.machine, ()))
        self.node.backend("systemd", lambda: RuntimeDescription("Fake", "fake 1"))
        reporter = StatusReporter(
            bench.desired, status_writer, self.node, AdmissionCounts(), lambda: self.time
        )
        self.agent = AgentLoop(
            reconciler=bench.reconciler,
            reporter=reporter,
            node_status=self.node,
            watches=(),
            dirty=self.dirty,
            check_seconds=0.02,
            rng=random.Random(1),
            devices=WaitingDevices(
                bench.desired, self.ask, reporter.tell_devices, wake=asyncio.Event(), rng=random.Random(1)
            ),
            huge_pages=HugePageUse(bench.root / "sys", bench.reader),
        )
        self.kubelet_pods = []
        self.tasks = [self.agent.run, status_writer.run, self.agent.devices.run]

    async def ask(self):
        return self.kubelet_pods

    def write(self, path, body):
        self.written[path.rsplit("/", 2)[1]] = body["status"]
        self.writes += 1
        return body


@contextlib.asynccontextmanager
async def agent_over(bench):
    running = Running(bench)
    tasks = [asyncio.create_task(task()) for task in running.tasks]
    try:
        yield running
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def condition(status, kind):
    return next(each for each in status["conditions"] if each["type"] == kind)


@pytest.fixture
def database(bench, words):
    bench.settings()
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    return bench.start(bench.pod("db"), "db")


async def test_an_event_leads_to_a_pass_and_a_status(bench, database, reached):
    async with agent_over(bench) as running:
        await reached(lambda: running.written.get("db", {}).get("phase") == "Applied")
        assert bench.effective(database) == "1,9"
        state = running.agent.gauges()
        assert (state.pool.bit_count(), state.exclusive.bit_count(), state.exclusive_by_node) == (
            14,
            2,
            {0: 2, 1: 0},
        )
        assert running.agent.ready() is None


class Crowd:
    """A node where a container starts in every pass, and an API server that answers once a pass.

    Where each start and each report of it was, is counted in passes and requests.
    """

    PODS, AT_ONCE = 6, 2

    def __init__(self, bench, words):
        self.bench = bench
        self.turn = threading.Semaphore(0)
        self.passes = self.requests = 0
        self.started, self.told = {}, {}
        bench.settings()
        self.pods = {}
        for number in range(self.PODS):
            own = f"{number + 1},{number + 9}"
            containers = [words.container(name, own) for name in ("app", "log")]
            bench.grant(words.pod(f"p{number}", *containers, cpus=own))
            self.pods[f"p{number}"] = bench.pod(f"p{number}")
        self.to_start = [(pod, name) for name in ("app", "log") for pod in self.pods]
        self._containers = bench.containers
        bench.containers = self.containers

    async def containers(self):
        """Answer the pass that begins; then one more container starts, for the next."""
        self.passes += 1
        self.turn.release()
        running = await self._containers()
        if self.to_start:
            pod, name = self.to_start.pop(0)
            self.bench.start(self.pods[pod], name)
            self.started[pod] = self.passes, self.requests
            self.bench.desired._changed()
        return running

    def write(self, path, body):
        self.turn.acquire(timeout=30)
        self.requests += 1
        pod = path.rsplit("/", 2)[1]
        if body["status"].get("phase") == "Applied":
            self.told.setdefault(pod, (self.passes, self.requests))
        return body


async def test_in_a_stream_of_starts_each_is_reported_after_a_pass_and_a_request_of_each_other(bench, words):
    crowd = Crowd(bench, words)
    running = Running(bench, at_once=Crowd.AT_ONCE)
    running.agent.reporter.status_writer._write = crowd.write
    tasks = [asyncio.create_task(task()) for task in running.tasks]
    try:
        async with asyncio.timeout(60):
            while len(crowd.told) < Crowd.PODS:  # noqa: ASYNC110 - a deadline, and a thread that counts
                await asyncio.sleep(0.005)
    finally:
        crowd.turn.release(1000)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    objects = Crowd.PODS + 1
    for pod, (passes, requests) in crowd.told.items():
        began, before = crowd.started[pod]
        assert requests - before <= objects + Crowd.AT_ONCE, f"{pod}: more requests than there are objects"
        # One that began before the start, one that sees it, and one for each request, as the server answers.
        assert passes - began <= 2 + objects + Crowd.AT_ONCE


async def test_drift_is_repaired_at_the_next_look_without_any_event(bench, database, reached):
    async with agent_over(bench) as running:
        await reached(lambda: running.written.get("db", {}).get("phase") == "Applied")
        bench.put(database, "cpuset.cpus", "0-15")
        await reached(lambda: bench.observer.repairs == [database])
        assert bench.effective(database) == "1,9"


@pytest.mark.usefixtures("database")
async def test_at_rest_nothing_is_written(bench, reached):
    async with agent_over(bench) as running:
        await reached(lambda: running.written.get("db", {}).get("phase") == "Applied")
        await reached(lambda: "AgentReady" in str(running.written.get("node")))
        published, written = running.writes, len(bench.ways.written)
        snapshot = bench.reconciler.snapshot
        await reached(lambda: bench.reconciler.snapshot is not snapshot)
        await asyncio.sleep(0.1)
        assert (running.writes, len(bench.ways.written)) == (published, written)


@pytest.mark.usefixtures("database")
async def test_a_heartbeat_comes_when_its_time_has_come_whichever_way_the_clock_jumped(bench, reached):
    async with agent_over(bench) as running:
        await reached(lambda: "node" in running.written)
        for jump in (dt.timedelta(minutes=2), dt.timedelta(hours=-3)):
            running.time += jump
            beat = running.time.strftime("%Y-%m-%dT%H:%M:%SZ")
            await reached(lambda beat=beat: running.written["node"]["agent"]["heartbeatTime"] == beat)


@pytest.mark.usefixtures("database")
async def test_a_runtime_that_does_not_answer_is_a_condition_and_comes_back(bench, reached):
    async with agent_over(bench) as running:
        await reached(lambda: "node" in running.written)
        answer = bench.containers

        async def lost():
            raise OSError("no runtime is connected")

        bench.containers = lost
        await reached(lambda: condition(running.written["node"], "RuntimeConnected")["status"] == "False")
        assert "no runtime is connected" in condition(running.written["node"], "AgentReady")["message"]
        assert running.agent.ready() == "the pass over the node failed: no runtime is connected"
        bench.containers = answer
        await reached(lambda: condition(running.written["node"], "RuntimeConnected")["status"] == "True")


async def test_only_what_hangs_is_unhealthy(bench, reached):
    async with agent_over(bench) as running:
        await reached(lambda: running.agent.ready() is None)
        away = SimpleNamespace(moved=time.monotonic(), trouble="watching: connection refused")
        running.agent.watches = (away,)
        assert running.agent.healthy() is None
        assert running.agent.ready() == "watching: connection refused"
        away.moved -= 700
        assert "has not moved for 700 s" in running.agent.healthy()


async def test_a_fault_in_a_pass_is_logged_and_the_loop_goes_on(bench, database, caplog, reached):
    async with agent_over(bench) as running:
        await reached(lambda: "node" in running.written)
        good = bench.pause_reason
        bench.pause_reason = None
        bench.reconciler.pause_reason = lambda _: 1 / 0
        await reached(lambda: "a pass over the node failed" in caplog.text)
        bench.reconciler.pause_reason = lambda _: good
        bench.put(database, "cpuset.cpus", "0-15")
        await reached(lambda: bench.effective(database) == "1,9")


async def test_huge_pages_that_could_not_be_read_end_nothing(bench, database, caplog, reached, monkeypatch):
    """kubernetes/kubernetes#26246: there may be no descriptor left to read them with."""

    def wanting(*_):
        raise OSError(errno.ENFILE, "Too many open files in system")

    monkeypatch.setattr(HugePageUse, "read", wanting)
    async with agent_over(bench):
        await reached(lambda: "Too many open files in system" in caplog.text)
        bench.put(database, "cpuset.cpus", "0-15")
        await reached(lambda: bench.effective(database) == "1,9")


@pytest.mark.usefixtures("database")
async def test_findings_about_the_hardware_stand_in_the_condition(bench, reached):
    async with agent_over(bench) as running:
        finding = Finding("/sys/x", "cannot be read", "mount it")
        running.node.discovered(Discovered(bench.machine, (finding,)))
        await reached(lambda: running.written.get("node", {}).get("hardware", {}).get("problems"))
        assert running.written["node"]["hardware"]["problems"] == ["/sys/x: cannot be read; mount it"]
        assert condition(running.written["node"], "HardwareKnown")["reason"] == "WithDefaults"
        topology = replace(bench.machine.topology, unknown_siblings=cpuset.parse("1"))
        running.node.discovered(Discovered(replace(bench.machine, topology=topology), (finding,)))
        await reached(
            lambda: condition(running.written["node"], "HardwareKnown")["reason"] == "SiblingsUnknown"
        )
        assert condition(running.written["node"], "HardwareKnown")["status"] == "False"
        assert running.written["node"]["hardware"]["unknownSiblingsCPUs"] == "1"
        running.node.discovered(Discovered(None, (finding,)))
        await reached(lambda: condition(running.written["node"], "HardwareKnown")["reason"] == "Unknown")
        assert running.written["node"]["hardware"]["cores"], "the last machine that was made out stays"


async def test_nothing_is_told_before_the_operator_made_the_object(bench, words, reached):
    bench.desired.take_topology(Listed(()))
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    bench.start(bench.pod("db"), "db")
    async with agent_over(bench) as running:
        await reached(lambda: "db" in running.written)
        assert "node" not in running.written
        bench.settings()
        await reached(lambda: "node" in running.written)


@pytest.mark.usefixtures("database")
async def test_a_status_for_a_pod_that_is_gone_is_no_longer_kept(bench, words, reached):
    async with agent_over(bench) as running:
        await reached(lambda: running.written.get("db", {}).get("phase") == "Applied")
        bench.release(words.pod("db"))
        await reached(lambda: not running.agent.reporter._statuses)


async def test_hardware_that_the_api_server_refuses_is_withdrawn_and_says_so(bench, reached):
    async with agent_over(bench) as running:
        write = running.write

        def refuse(path, body):
            if "hardware" in body["status"]:
                raise errors.RefusedError(422, "Invalid", "status.hardware.caches[0].id: must be less")
            return write(path, body)

        running.agent.reporter.status_writer._write = refuse
        await reached(lambda: "node" in running.written)
        status = running.written["node"]
        assert "hardware" not in status
        for kind in ("AgentReady", "HardwareKnown"):
            told = condition(status, kind)
            assert (told["status"], told["reason"]) == ("False", "StatusRefused")
            assert "status.hardware.caches[0].id" in told["message"]
        assert condition(status, "Paused")["status"] == "False"
        assert status["agent"]["heartbeatTime"]


async def test_the_devices_of_a_pod_that_waits_are_in_its_status_once_its_cgroup_is_there(
    bench, words, reached
):
    waits = Decision(admitted=False, reason=DEVICES_PENDING, message="waits for its devices")
    bench.grant(words.pod("db"), said=waits)
    device = ContainerDevice("main", "example.com/nic", "nic-0", frozenset({1}))
    async with agent_over(bench) as running:
        running.kubelet_pods = [ListedPod("default", "db", (device,))]
        await reached(lambda: "node" in running.written)
        assert "db" not in running.written
        bench.pod("db")
        await reached(lambda: "db" in running.written)
        status = running.written["db"]
        assert status["devices"] == [
            {"container": "main", "resource": "example.com/nic", "name": "nic-0", "numaNodes": "1"}
        ]
        assert condition(status, "DevicesKnown")["status"] == "True"
        assert status["phase"] == "Pending"


@pytest.mark.usefixtures("database")
def test_passes_rest_from_what_they_compute_and_not_from_what_they_wait_for(bench):
    """A runtime that answers late delays no second report: the next pass begins at once."""
    loop = VirtualLoop()
    answer = bench.containers
    begun, ended = [], []

    async def slow():
        begun.append(loop.time())
        bench.desired._changed()  # events never end
        await asyncio.sleep(10)
        ended.append(loop.time())
        return await answer()

    bench.containers = slow

    async def three_passes():
        running = Running(bench)
        task = asyncio.create_task(running.agent.run())
        async with asyncio.timeout(60):
            while len(begun) < 3:  # noqa: ASYNC110 - virtual time
                await asyncio.sleep(0.1)
        task.cancel()

    with contextlib.closing(loop):
        loop.run_until_complete(three_passes())
    rests = [after - before for before, after in zip(ended, begun[1:], strict=False)]
    assert len(rests) == 2
    assert max(rests) < 1, "a pass of 10 s that computes for milliseconds"


@pytest.mark.usefixtures("database")
async def test_what_was_written_and_is_not_there_yet_is_looked_for_soon(bench, reached):
    """systemd answers a little before it has written: the report does not wait for the next look."""
    write_through, late = bench.ways.write, []

    async def answers_early(write):
        if isinstance(write.cgroup, ContainerCgroup):
            await write_through(write)
        else:
            late.append(write)

    bench.ways.write = answers_early
    async with agent_over(bench) as running:
        running.agent.check_seconds = 3600
        running.dirty.set()
        await reached(lambda: "db" in running.written)
        assert running.written["db"]["phase"] == "Pending"
        for write in late:
            await write_through(write)
        bench.ways.write = write_through
        await reached(lambda: running.written["db"]["phase"] == "Applied")
