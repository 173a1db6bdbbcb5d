"""The server of the page: its files, what it shows, and a stream of what has changed.

    /TOKEN/                 the page, one for all addresses after the #
    /TOKEN/assets/NAME      scripts and styles, from the package
    /TOKEN/data/...         what a page shows, as JSON
    /TOKEN/events           server-sent events: the names of the nodes that have changed

Changes of a tenth of a second are sent together. Whatever fails is a sentence for the page, and neither
ends the server nor a stream.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from importlib import resources
from typing import Any, Final, Protocol

from aiohttp import web
from podnuma.cli.exits import Failure
from podnuma.cli.ui.access import HEADERS, Access
from podnuma.cli.ui.live_objects import Json, LiveObjects, Subscription
from podnuma.cli.ui.views import Views
from podnuma.plumbing.threads import in_thread

LONGEST_MANIFEST: Final = 64 * 1024

# A manifest is in the query, in which a letter can take twelve; nothing but GET is answered.
_LONGEST_LINE = 12 * LONGEST_MANIFEST + 4096
_TOGETHER = 0.1
_ALIVE = 15.0
_QUESTIONS_AT_ONCE = 2
_TYPES = {"css": "text/css", "js": "text/javascript", "html": "text/html", "svg": "image/svg+xml"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Questions(Protocol):
    """What is asked of the cluster when somebody looks. Each may take seconds and raise Failure."""

    def explain(self, namespace: str, name: str) -> Json:
        """Explain a pod's decision."""
        ...

    def plan(self, manifest: str) -> Json:
        """Tell where the pods of a manifest would go."""
        ...

    def refusal_events(self) -> list[Json]:
        """Return the events that keep refusals."""
        ...


class PageServer:
    """The handlers of one server."""

    def __init__(self, access: Access, live: LiveObjects, views: Views, questions: Questions) -> None:
        self._access = access
        self._live = live
        self._views = views
        self._questions = questions
        self._asked = asyncio.Semaphore(_QUESTIONS_AT_ONCE)

    def application(self) -> web.Application:
        """Return the application, which refuses before it looks for a handler."""
        application = web.Application(middlewares=[self._guard])
        base = "/{token}"
        for path, handler in (
            ("/", self._page),
            ("/assets/{name}", self._asset),
            ("/data/nodes", self._nodes),
            ("/data/nodes/{name}", self._node),
            ("/data/pods/{namespace}/{name}", self._pod),
            ("/data/refusals", self._refusals),
            ("/data/plan", self._plan),
            ("/events", self._events),
        ):
            application.router.add_get(base + path, handler, allow_head=False)
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        refused = self._access.refusal(request.method, request.rel_url.path, request.headers)
        if refused is not None:
            return web.Response(status=refused, text=f"{self._access.explained(refused)}\n", headers=HEADERS)
        try:
            answer = await handler(request)
        except web.HTTPException as error:
            return web.Response(status=error.status, text=f"{error.reason}\n", headers=HEADERS)
        except Failure as failure:
            return _json({"errors": list(failure.lines)})
        return answer

    async def _page(self, _: web.Request) -> web.StreamResponse:
        return _file("index.html")

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        return _file(request.match_info["name"])

    async def _nodes(self, request: web.Request) -> web.StreamResponse:
        names = request.query.getall("name", [])
        state = json.dumps(self._views.state())
        return _text(f'{state[:-1]},"nodes":{self._views.rows(names)}}}')

    async def _node(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        found = self._views.node(name)
        return _json({"errors": [f"there is no NodeTopology {name}"]} if found is None else found)

    async def _pod(self, request: web.Request) -> web.StreamResponse:
        key = request.match_info["namespace"], request.match_info["name"]
        stored = self._views.stored(*key)
        answer: Json = {"stored": stored, "kernel": self._views.kernel(*key)}
        try:
            answer |= await self._ask(self._questions.explain, *key)
        except Failure as failure:
            answer["errors"] = list(failure.lines)
        return _json(answer)

    async def _refusals(self, _: web.Request) -> web.StreamResponse:
        problems: list[str] = []
        events: list[Json] = []
        try:
            events = await self._ask(self._questions.refusal_events)
        except Failure as failure:
            problems = list(failure.lines)
        return _json({"problems": problems, "refusals": self._views.refusals(events)})

    async def _plan(self, request: web.Request) -> web.StreamResponse:
        manifest = request.query.get("manifest", "")
        if len(manifest) > LONGEST_MANIFEST:
            return _json({"errors": [f"a manifest here has at most {LONGEST_MANIFEST} characters"]})
        return _json(await self._ask(self._questions.plan, manifest))

    async def _ask(self, question: Callable[..., Any], *words: str) -> Any:
        async with self._asked:
            return await in_thread(question, *words)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        await stream.prepare(request)
        with self._live.subscribed() as changes, contextlib.suppress(ConnectionError):
            await stream.write(b"retry: 1000\n\n")
            while True:
                await stream.write(await self._message(changes))
        return stream

    async def _message(self, changes: Subscription) -> bytes:
        try:
            async with asyncio.timeout(_ALIVE):
                await changes.wait()
        except TimeoutError:
            return b": alive\n\n"
        await asyncio.sleep(_TOGETHER)
        message = {**self._views.state(), "nodes": changes.take()}
        return f"data: {json.dumps(message)}\n\n".encode()


async def start_server(server: PageServer, address: str, port: int) -> web.AppRunner:
    """Start serving; the caller cleans the runner up. OSError: the port is taken."""
    runner = web.AppRunner(
        server.application(), access_log=None, max_line_size=_LONGEST_LINE, shutdown_timeout=1.0
    )
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    return runner


def _json(value: Mapping[str, Any]) -> web.Response:
    return _text(json.dumps(value, separators=(",", ":")))


def _text(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/json", headers=HEADERS)


def _file(name: str) -> web.Response:
    """Answer a file of the package. A name with a slash does not get here; one that is not there is a 404."""
    known = {one.name: one for one in resources.files("podnuma.cli.ui").joinpath("assets").iterdir()}
    kind = _TYPES.get(name.rpartition(".")[2])
    if name not in known or kind is None:
        raise web.HTTPNotFound
    answer = web.Response(body=known[name].read_bytes(), content_type=kind, charset="utf-8", headers=HEADERS)
    answer.enable_compression()
    return answer
