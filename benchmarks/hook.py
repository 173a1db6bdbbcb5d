"""The round trip of a container start between a runtime and the agent: `python -m benchmarks.hook`.

The agent's NRI link, plugin and hook, over 51 containers; the runtime is a process of its own behind a Unix
socket, as on a node. It asks CreateContainer one after the other for a container that is decided, once while
the agent rests and once while it makes one pass after another. Wall clock: other work on
the machine counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podnuma.agent.nri.config import PluginConfig
from podnuma.agent.nri.link import Link
from podnuma.agent.nri.messages import nri_pb2
from podnuma.agent.runtimes.container_cache import ContainerCache
from podnuma.agent.runtimes.nri_plugin import EVENTS, NriPlugin
from podnuma.agent.runtimes.start_priority import StartPriority

from benchmarks import paths
from tests.unit.agent.nri.conftest import FakeRuntime

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

CALLS = 1000
PATIENCE = 0.4  # the hook's share of the runtime's timeout


def request(uid: str, name: str, identity: str) -> bytes:
    """Return what a runtime says of a container that is about to be created."""
    wire: Any = nri_pb2
    pod = wire.PodSandbox(id="sandbox", name=uid, uid=uid, namespace="default")
    pod.linux.cgroup_parent = f"/kubepods.slice/kubepods-pod{uid}.slice"
    container = wire.Container(id=identity, pod_sandbox_id="sandbox", name=name, created_at=1)
    container.linux.resources.cpu.quota.value = 300_000
    container.linux.resources.cpu.period.value = 100_000
    said: bytes = wire.CreateContainerRequest(pod=pod, container=container).SerializeToString()
    return said


def runtime(socket: Path, payload: bytes, calls: int, told: Connection) -> None:
    """Be the runtime: tell that it listens, then, each time it is told to ask, what each call took."""

    async def serve() -> None:
        of_tests: Any = FakeRuntime  # not annotated
        listening = of_tests(socket)
        await listening.listen()
        told.send("listening")
        peer = await listening.connection()
        await peer.accept()
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, told.recv) == "ask":
            took = []
            for _ in range(calls):
                began = time.perf_counter()
                await peer.answer_of(peer.call("CreateContainer", payload))
                took.append(time.perf_counter() - began)
            told.send(took)
        await listening.close()

    asyncio.run(serve())


def round_trips(calls: int = CALLS) -> tuple[list[float], list[float]]:
    """Return the seconds of every call: of an agent at rest, and of one that makes passes meanwhile."""
    loop = asyncio.new_event_loop()
    with paths.running(loop) as (bench, cgroups), tempfile.TemporaryDirectory(prefix="podnuma-") as folder:
        socket, started = Path(folder) / "nri.sock", cgroups[0]
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        payload = request(started.pod.uid, started.name, started.id)
        arguments = (socket, payload, calls, theirs)
        other = multiprocessing.get_context("spawn").Process(target=runtime, args=arguments, daemon=True)
        other.start()
        plugin = NriPlugin(
            ContainerCache(lambda: None), StartPriority(), bench.hook, PATIENCE, changed=lambda: None
        )
        link = Link(PluginConfig(name="podnuma", index="10", events=EVENTS, socket=socket))

        async def passes() -> None:
            while True:
                await bench.reconciler.run_pass()
                await asyncio.sleep(0)

        async def measure() -> tuple[list[float], list[float]]:
            await asyncio.to_thread(ours.recv)
            serving = asyncio.create_task(link.run(plugin))
            try:
                resting = await _asked(ours)
                busy = asyncio.create_task(passes())
                meanwhile = await _asked(ours)
                busy.cancel()
                return resting, meanwhile
            finally:
                ours.send("end")
                serving.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await serving

        try:
            return loop.run_until_complete(measure())
        finally:
            other.terminate()
            other.join()
            loop.close()


async def _asked(ours: Connection) -> list[float]:
    ours.send("ask")
    took: list[float] = await asyncio.to_thread(ours.recv)
    return took


def p99(seconds: list[float]) -> float:
    """Return what 99 of 100 stay below."""
    return statistics.quantiles(seconds, n=100)[98]


def main() -> int:
    """Measure and print."""
    resting, meanwhile = round_trips()
    for what, took in (("at rest", resting), ("while passes run", meanwhile)):
        median = 1e6 * statistics.median(took)
        sys.stdout.write(f"{what}: median {median:,.0f} µs, p99 {1e6 * p99(took):,.0f} µs\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
