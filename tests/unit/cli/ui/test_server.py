"""Requests over a real socket."""

import asyncio
import contextlib
import json

import aiohttp
import pytest
from podnuma.cli.commands.map import map_of
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.ui.access import HEADERS, Access
from podnuma.cli.ui.live_objects import LiveObjects
from podnuma.cli.ui.server import LONGEST_MANIFEST, PageServer, start_server
from podnuma.cli.ui.views import Views

from tests.unit.cli.builders import allocation_object, database, topology_object

EPYC = "epyc7401-2s-8numa-16l3"


class Questions:
    def __init__(self):
        self.manifests = []

    def explain(self, namespace, name):
        raise Failure(Exit.FORBIDDEN, f"not allowed to get pods {namespace}/{name}")

    def plan(self, manifest):
        self.manifests.append(manifest)
        return {"plans": [], "remarks": []}

    def refusal_events(self):
        return []


@contextlib.asynccontextmanager
async def serving():
    live = LiveObjects()
    live.keep(topology_object(EPYC, reserved="0"))
    live.keep(allocation_object(database()))
    questions = Questions()
    # The port is known only after binding; the rules compare it with each request.
    access = Access("127.0.0.1", 0, "token")
    server = PageServer(access, live, Views(live, map_of), questions)
    runner = await start_server(server, "127.0.0.1", 0)
    port = runner.addresses[0][1]
    server._access = Access("127.0.0.1", port, "token")
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}/token/") as session:
            yield session, live, questions
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    "path", ["", "assets/main.js", "data/nodes", "data/nodes/x", "data/unknown", "assets/x.py"]
)
async def test_every_answer_has_the_headers_that_bind_the_browser(path):
    async with serving() as (session, _, _), session.get(path) as answer:
        assert HEADERS.items() <= dict(answer.headers).items()


async def test_through_a_tunnel_on_another_port_it_is_said_which_one_it_needs():
    async with serving() as (session, _, _):
        async with session.get("", headers={"Host": "localhost:9000"}) as answer:
            assert answer.status == 421
            said = await answer.text()
            port = answer.url.port
        assert f"ssh -L {port}:127.0.0.1:{port} MACHINE" in said
        async with session.get("/other/data/nodes") as answer:
            assert await answer.text() == "Not Found\n"


async def test_a_wrong_host_and_other_methods_are_refused():
    async with serving() as (session, _, _):
        async with session.get("", headers={"Host": "evil.example"}) as answer:
            assert answer.status == 421
        for method in ("POST", "PUT", "DELETE", "HEAD", "PATCH"):
            async with session.request(method, "data/plan") as answer:
                assert answer.status == 405
        async with session.get("/other/data/nodes") as answer:
            assert answer.status == 404


@pytest.mark.parametrize("name", ["..%2f..%2faccess.py", "../server.py", "missing.js", "__init__.py"])
async def test_no_other_file_than_the_assets_is_served(name):
    async with serving() as (session, _, _), session.get(f"assets/{name}") as answer:
        assert answer.status == 404


async def test_a_question_that_fails_is_a_sentence_beside_what_is_known():
    async with serving() as (session, _, _), session.get("data/pods/shop/database") as answer:
        found = await answer.json()
        assert found["errors"] == ["not allowed to get pods shop/database"]
        assert found["stored"]["spec"]["summary"]["cpus"] == "1-4,49-52"


async def test_the_longest_manifest_is_asked_about_and_a_longer_one_is_not():
    async with serving() as (session, _, questions):
        for length in (LONGEST_MANIFEST, LONGEST_MANIFEST + 1):
            async with session.get("data/plan", params={"manifest": "ä" * length}) as answer:
                assert answer.status == 200
        assert [len(one) for one in questions.manifests] == [LONGEST_MANIFEST]


async def test_a_change_is_told_to_every_listener_and_none_is_left_behind():
    async with serving() as (session, live, _):
        async with session.get("events") as one, session.get("events") as other:
            assert await one.content.readline() == await other.content.readline() == b"retry: 1000\n"
            live.keep(topology_object(EPYC, name="node-b"))
            for stream in (one, other):
                await stream.content.readline()
                line = await asyncio.wait_for(stream.content.readline(), 5)
                assert json.loads(line.removeprefix(b"data: ")) == {"problems": [], "nodes": ["node-b"]}
        deadline = asyncio.get_running_loop().time() + 5
        while live._subscriptions and asyncio.get_running_loop().time() < deadline:
            live.keep(topology_object(EPYC, name="node-b"))
            await asyncio.sleep(0.05)
        assert live._subscriptions == []
