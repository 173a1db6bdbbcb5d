"""What an object costs on its way into the operator, by Kopf and without: `python -m benchmarks.watches`.

A small server in another process has 20,000 pods of 6 KB, a fifth of them with exclusive CPUs, and sends
each once, in a list or as an event. Measured is this side: processor time per pod from the first byte to the
cached object in the controller's loop, and how much the process grew at most.

    list, Kopf      Kopf lists, hands each pod to its handler
    list, own       the operator's lister, page by page
    events, Kopf    each pod is an event of the operator's watch, through Kopf
    events, bare    the same stream read by aiohttp alone: what any watch costs at least
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml
from aiohttp import web
from podnuma.operator.cache import decode
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.credentials import ClientCredentials
from podnuma.operator.watch.kopf_source import KopfSource
from podnuma.operator.watch.lister import ApiReader
from podnuma.plumbing.kube.client import Client
from rich.console import Console
from rich.table import Table

from benchmarks import scale

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

PODS = 20_000
PAGE = 500
ONE_IN = 5  # pods with exclusive CPUs
WAYS = ("list, Kopf", "list, own", "events, Kopf", "events, bare")

Json = dict[str, Any]


def pods() -> list[bytes]:
    """Return the pods as an API server spells them."""
    texts = []
    for index in range(PODS):
        name, node = f"app-{index}", f"node-{index % 500}"
        pod = scale.other_pod(name, node) if index % ONE_IN else scale.managed_pod(name, node)
        pod["metadata"] |= {"namespace": "shop", "uid": f"uid-{index}", "resourceVersion": str(index + 1)}
        pod["status"] = {"phase": "Running", "qosClass": "Burstable" if index % ONE_IN else "Guaranteed"}
        texts.append(json.dumps(pod).encode())
    return texts


class Server:
    """Enough of an API server: discovery, lists of nothing but pods, and one watch that may have events."""

    def __init__(self, *, events: bool) -> None:
        self._events = events
        self._pods = pods()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        query = request.query
        if "watch" in query:
            return await self._watch(request)
        for kind in Kind:
            if request.path == kind.value.path():
                full = kind is Kind.POD and "metadata.name=-" not in query.get("fieldSelector", "")
                return (
                    self._page(int(query.get("continue") or 0), int(query["limit"])) if full else _list(b"")
                )
        return web.json_response(_discovery(request.path))

    def _page(self, begin: int, limit: int) -> web.Response:
        end = begin + limit
        return _list(b",".join(self._pods[begin:end]), str(end) if end < len(self._pods) else "")

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        if self._events and request.path == Kind.POD.value.path():
            for pod in self._pods:
                await response.write(b'{"type":"MODIFIED","object":' + pod + b"}\n")
        await asyncio.sleep(600)
        return response


def _list(items: bytes, follow: str = "") -> web.Response:
    metadata = json.dumps({"resourceVersion": "1", "continue": follow}).encode()
    return web.Response(
        body=b'{"kind":"PodList","apiVersion":"v1","metadata":%b,"items":[%b]}' % (metadata, items),
        content_type="application/json",
    )


def _discovery(path: str) -> Json:
    """Return what a server says about the kinds that are watched."""
    groups = sorted({(kind.value.group, kind.value.version) for kind in Kind if kind.value.group})
    match path:
        case "/api":
            return {"versions": ["v1"]}
        case "/apis":
            return {
                "groups": [
                    {
                        "name": group,
                        "preferredVersion": {"version": version},
                        "versions": [{"version": version}],
                    }
                    for group, version in groups
                ]
            }
        case _:
            found = [kind.value for kind in Kind if kind.value.path() == f"{path}/{kind.value.plural}"]
            return {
                "groupVersion": path.rpartition("/")[2],
                "resources": [
                    {
                        "name": served.plural,
                        "kind": served.kind,
                        "singularName": "",
                        "namespaced": served.namespaced,
                        "verbs": ["list", "watch"],
                    }
                    for served in found
                ],
            }


def _serve(pipe: Connection, *, events: bool) -> None:
    async def main() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", Server(events=events).answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        pipe.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


class Count:
    """Counts what arrives; `done` when all pods with exclusive CPUs have."""

    def __init__(self) -> None:
        self.left = -(-PODS // ONE_IN)
        self.done = asyncio.Event()

    def on_update(self, _: object) -> None:
        """Count a pod."""
        self.left -= 1
        if not self.left:
            self.done.set()

    def on_delete(self, *_: object) -> None:
        """Nothing is deleted here."""


class Listing(KopfSource):
    """The operator's watches, but Kopf's lists are left as they are."""

    async def _empty_lists(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        return await handler(request)


async def _by_kopf(source: type[KopfSource], credentials: ClientCredentials) -> None:
    count = Count()
    found = source(credentials, count, page_size=PAGE, clock=time.monotonic, rng=random.Random(1))
    running = asyncio.create_task(found.run())
    await count.done.wait()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def _by_lister(credentials: ClientCredentials) -> None:
    client = Client(credentials, user_agent="bench")
    records, _ = await ApiReader(client, page_size=PAGE).list_all(Kind.POD)
    if len(records) != PODS // ONE_IN:
        raise RuntimeError(f"{len(records)} pods of {PODS // ONE_IN} were listed")
    await client.close()


async def _bare(credentials: ClientCredentials) -> None:
    server = (await credentials.read()).endpoint.server
    read, seen = decode.DECODERS[Kind.POD], 0
    async with (
        aiohttp.ClientSession(read_bufsize=2**22) as session,
        session.get(f"{server}{Kind.POD.value.path()}?watch=true") as response,
    ):
        async for line in response.content:
            seen += read(json.loads(line)["object"]) is not None
            if seen == PODS // ONE_IN:
                return


async def _take_in(way: str, credentials: ClientCredentials) -> None:
    match way:
        case "list, Kopf":
            await _by_kopf(Listing, credentials)
        case "list, own":
            await _by_lister(credentials)
        case "events, Kopf":
            await _by_kopf(KopfSource, credentials)
        case _:
            await _bare(credentials)


def measure(way: str, kubeconfig: Path) -> Json:
    """Take in all pods once, and return processor time in microseconds per pod and growth in MB."""
    credentials = ClientCredentials(kubeconfig)
    before, began, wall = _resident(), time.process_time(), time.perf_counter()
    asyncio.run(_take_in(way, credentials))
    return {
        "cpu": (time.process_time() - began) / PODS * 1e6,
        "rate": PODS / (time.perf_counter() - wall),
        "memory": (_resident() - before) / 1024,
    }


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _measured(way: str) -> Json:
    """Measure one way in a process of its own, against a server of its own."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(
        target=_serve, args=(theirs,), kwargs={"events": way.startswith("events")}, daemon=True
    )
    server.start()
    config = {
        "clusters": [{"name": "bench", "cluster": {"server": f"http://127.0.0.1:{ours.recv()}"}}],
        "users": [{"name": "bench", "user": {}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "current-context": "bench",
    }
    with tempfile.TemporaryDirectory() as folder, multiprocessing.Pool(1) as pool:
        path = Path(folder, "kubeconfig")
        path.write_text(yaml.safe_dump(config))
        figures: Json = pool.apply(measure, (way, path))
    server.terminate()
    return figures


def main() -> None:
    """Measure every way and show a table."""
    multiprocessing.set_start_method("spawn")
    table = Table("way", "CPU µs per pod", "pods per second", "grew by MB")
    for way in sys.argv[1:] or WAYS:
        found = _measured(way)
        table.add_row(way, f"{found['cpu']:.0f}", f"{found['rate']:.0f}", f"{found['memory']:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
