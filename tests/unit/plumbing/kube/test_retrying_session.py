"""A session that waits a restarting API server out."""

import asyncio
import random

import aiohttp
import pytest
from aiohttp import web
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.kube.retrying_session import RetryMiddleware


class Answers:
    """A server that gives the answers of a list, then 200."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.seen = []
        self.port = 0

    async def handle(self, request):
        self.seen.append(request.headers.get("Authorization"))
        if not self.statuses:
            return web.Response(text="ok")
        status = self.statuses.pop(0)
        if status == 0:
            request.transport.abort()
            return web.Response()
        return web.Response(status=status)

    async def __aenter__(self):
        application = web.Application()
        application.router.add_get("/watch", self.handle)
        self.runner = web.AppRunner(application)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.port = self.runner.addresses[0][1]
        return self

    async def __aexit__(self, *_):
        await self.runner.cleanup()


def session(tokens=("t",)):
    given = iter(tokens)
    last = [None]

    async def authorization():
        last[0] = next(given, last[0])
        return last[0]

    patience = RetryMiddleware(authorization, backoff=Backoff(first=0.01, limit=0.05), rng=random.Random(1))
    return aiohttp.ClientSession(middlewares=(patience,))


@pytest.mark.parametrize("statuses", [[403, 403], [404], [500, 503, 429], [0, 0], [401]])
async def test_what_passes_is_waited_out(statuses):
    async with (
        Answers(*statuses) as server,
        session() as client,
        client.get(f"http://127.0.0.1:{server.port}/watch") as got,
    ):
        assert await got.text() == "ok"
        assert len(server.seen) == len(statuses) + 1


@pytest.mark.parametrize("status", [200, 400, 410, 409])
async def test_what_a_caller_can_act_on_is_passed_on(status):
    async with (
        Answers(status) as server,
        session() as client,
        client.get(f"http://127.0.0.1:{server.port}/watch") as got,
    ):
        assert got.status == status
        assert len(server.seen) == 1


async def test_each_attempt_has_the_present_authorization():
    async with (
        Answers(401, 401) as server,
        session(["one", "two", "three"]) as client,
        client.get(f"http://127.0.0.1:{server.port}/watch"),
    ):
        assert server.seen == ["one", "two", "three"]


async def test_waiting_ends_when_it_is_cancelled():
    async with Answers(*[503] * 10_000) as server, session() as client:
        task = asyncio.create_task(client.get(f"http://127.0.0.1:{server.port}/watch"))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_an_outage_is_told_once_and_its_end_too(caplog):
    caplog.set_level("INFO")
    async with (
        Answers(503, 503, 503) as server,
        session() as client,
        client.get(f"http://127.0.0.1:{server.port}/watch"),
    ):
        pass
    messages = [record.message for record in caplog.records if record.name.endswith("retrying_session")]
    assert messages == ["waiting for the API server: 503 for /watch", "the API server answers again"]
