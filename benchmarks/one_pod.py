"""Where the operator's CPU time goes for one pod, without a cluster: `python -m benchmarks.one_pod`.

The controller with its real client against a server in a thread of its own that answers every write with
what it was sent. Events are passed in as the watches pass them on; Kopf and TLS are not included.
"""

from __future__ import annotations

import asyncio
import cProfile
import datetime as dt
import itertools
import json
import pickle
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web
from podnuma.api.hardware import Hardware, render_hardware
from podnuma.api.resource_types import NODE_PROFILE, NODE_TOPOLOGY, ResourceType
from podnuma.operator.cache import decode
from podnuma.operator.controller import Controller, ControllerTiming
from podnuma.operator.credentials import ClientCredentials
from podnuma.operator.metrics import Metrics
from podnuma.operator.watch.lister import ApiReader
from podnuma.operator.write.leader_election import AlwaysLeader
from podnuma.operator.write.writer import ApiWriter
from podnuma.plumbing.kube.client import Client
from rich.console import Console
from rich.table import Table

from benchmarks import profiled, scale
from testbed.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from podnuma.operator.node.state import NodeState

NODES, PODS = 20, 200
HEARD = threading.Event()
STORED = threading.Event()  # a PodAllocation has reached the server
KEPT: dict[str, Any] = {}  # profiles and topologies by path, as the server has them


VERSIONS = itertools.count(1000)
NOTHING: dict[str, Any] = {"metadata": {"resourceVersion": "1"}, "items": []}


def taken(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return what the server answers to a write."""
    if body.get("kind") == "PodAllocation":
        STORED.set()
    version = str(next(VERSIONS))
    path = path.removesuffix("/status")
    known = KEPT.get(path, {})
    body = {**known, **body, "status": {**known.get("status", {}), **body.get("status", {})}}
    body["metadata"] = {**known.get("metadata", {}), **body["metadata"]}
    body["metadata"] = {"uid": f"uid-{version}", **body["metadata"], "resourceVersion": version}
    body["metadata"] = {"generation": 1, **body["metadata"]}
    if path in KEPT:
        KEPT[path] = body
    return body


def serve(port: int) -> None:
    """Answer lists with an empty list and writes with what was sent; runs in its own thread."""

    async def answer(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response(NOTHING)
        return web.json_response(taken(request.path, json.loads(await request.read())))

    async def run() -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        HEARD.set()
        await asyncio.Event().wait()

    asyncio.run(run())


def stored(value: Any, number: int, **more: Any) -> Any:
    """Return an object as an API server stores it."""
    metadata = {
        **value["metadata"],
        "uid": f"u{number}",
        "resourceVersion": str(10 + number),
        "generation": 1,
    }
    return {**value, "metadata": metadata, **more}


def kept(kind: ResourceType, value: Any) -> Any:
    """Let the server keep an object, so that its answers to later writes are whole."""
    KEPT[kind.path(name=value["metadata"]["name"])] = value
    return value


class Recorder(Protocol):
    """What watches over the arrivals: a profiler, or a walk of benchmarks.structure."""

    def enable(self) -> object:
        """Begin, just before the first pod arrives."""
        ...

    def disable(self) -> object:
        """End, when the last pod is decided."""
        ...


async def decide(port: int, folder: Path, recorder: Recorder, nodes: int = NODES, pods: int = PODS) -> None:
    """Let pods arrive on nodes, and record from the first to the last decision."""
    kubeconfig = folder / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {"token": "t"}}
    words = {"clusters": [cluster], "contexts": [context], "users": [user], "current-context": "c"}
    kubeconfig.write_text(json.dumps(words))
    metrics = Metrics()
    client = Client(ClientCredentials(kubeconfig), user_agent="bench", observe=metrics.observe_request)
    try:
        await arrive(client, metrics, recorder, nodes, pods)
    finally:
        await client.close()


async def arrive(client: Client, metrics: Metrics, recorder: Recorder, nodes: int, pods: int) -> None:
    """Run a controller over a client and let the pods arrive."""
    clock: Callable[[], float] = time.monotonic
    controller = Controller(
        ApiReader(client, page_size=500),
        ApiWriter(client, AlwaysLeader(), deadline=30.0),
        metrics=metrics,
        timing=ControllerTiming(),
        clock=clock,
        now=lambda: dt.datetime.now(dt.UTC),
        rng=random.Random(1),
    )
    await controller.start()
    told = asyncio.create_task(controller.events.run())
    namespace = {"metadata": {"name": "default"}}
    controller.on_update(decode.decode_namespace(stored(namespace, 1)))
    controller.on_update(decode.decode_profile(kept(NODE_PROFILE, stored(scale.PROFILE, 2))))
    hardware = render_hardware(Hardware(scale.machine()))
    for number in range(nodes):
        name = f"n{number}"
        controller.on_update(
            decode.decode_node(stored({"metadata": {"name": name, "labels": {"type": "kwok"}}}, number))
        )
        spec = {key: value for key, value in scale.PROFILE["spec"].items() if key != "nodeSelector"}
        spec["profile"] = {"name": "all", "generation": 1}
        topology = {"metadata": {"name": name}, "spec": spec, "status": {"hardware": hardware}}
        controller.on_update(decode.decode_topology(kept(NODE_TOPOLOGY, stored(topology, number))))
    await asyncio.sleep(3)
    arriving = []
    for number in range(pods):
        pod = stored(scale.managed_pod(f"db-{number}", f"n{number % nodes}"), 5000 + number)
        pod["metadata"]["namespace"] = "default"
        arriving.append({**pod, "status": {"phase": "Pending", "qosClass": "Guaranteed"}})
    recorder.enable()
    for pod in arriving:
        record = decode.decode_pod(pod)
        if record is not None:
            controller.on_update(record)
        await asyncio.sleep(0.02)
    async with asyncio.timeout(240):
        while sum(len(state.decisions) for state in _states(controller, nodes)) < pods:  # noqa: ASYNC110 - a bench
            await asyncio.sleep(0.5)
    await asyncio.sleep(2)
    recorder.disable()
    told.cancel()
    await controller.stop()


class NoNetwork:
    """In a client's place: answers at once. `took` is its own processor time, of no interest to anybody."""

    def __init__(self) -> None:
        self.took = 0.0

    async def get(self, path: str, **_: Any) -> dict[str, Any]:
        del path
        return dict(NOTHING)

    async def pages(self, path: str, **_: Any) -> AsyncIterator[tuple[list[Any], str]]:
        del path
        yield [], "1"

    async def write(self, method: str, path: str, body: dict[str, Any], **_: Any) -> dict[str, Any]:
        del method
        began = time.process_time()
        answer: dict[str, Any] = json.loads(json.dumps(taken(path, body)))
        self.took += time.process_time() - began
        return answer


class Stopwatch:
    """A recorder of processor time, without that of a client that only pretends."""

    def __init__(self, client: NoNetwork) -> None:
        self._client = client
        self.seconds = 0.0

    def enable(self) -> None:
        self.seconds = self._client.took - time.process_time()

    def disable(self) -> None:
        self.seconds += time.process_time() - self._client.took


def own_micros(pods: int = PODS) -> float:
    """Return processor time per pod, event to request, without JSON, HTTP and TLS; each on its own node."""
    client: Any = NoNetwork()
    watch = Stopwatch(client)
    asyncio.run(arrive(client, Metrics(), watch, nodes=pods, pods=pods))
    return 1e6 * watch.seconds / pods


def _states(controller: Controller, nodes: int) -> list[NodeState]:
    return [state for number in range(nodes) if (state := controller.node_state(f"n{number}")) is not None]


def main() -> int:
    """Measure and print."""
    port = free_port()
    threading.Thread(target=serve, args=(port,), daemon=True).start()
    HEARD.wait()
    with tempfile.TemporaryDirectory(prefix="podnuma-one-pod-") as folder:
        profile: Any = cProfile.Profile(time.thread_time)
        asyncio.run(decide(port, Path(folder), profile))
        profile.create_stats()
        path = Path(folder) / "profile"
        path.write_bytes(pickle.dumps([profile.stats]))
        shares = profiled.shares(path)
    table = Table(title=f"processor time of the operator for {PODS} pods, under a profiler")
    for heading in ("part", "ms per pod", "share"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    total = sum(shares.values())
    for part, seconds in shares.items():
        table.add_row(part, f"{1000 * seconds / PODS:.2f}", f"{100 * seconds / total:.0f} %")
    table.add_row("together", f"{1000 * total / PODS:.2f}", "100 %")
    Console(width=100).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
