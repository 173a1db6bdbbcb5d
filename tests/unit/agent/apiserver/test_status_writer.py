import asyncio
import contextlib
import random

import pytest
from podnuma.agent.apiserver.status_writer import StatusWriter
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.kube import errors


class Server:
    def __init__(self):
        self.written = []
        self.errors = []
        self.prunes = False

    def write(self, path, body):
        if self.errors:
            raise self.errors.pop(0)
        self.written.append((path, body))
        return {"status": {"phase": "Applied"}} if self.prunes else body


@pytest.fixture
def server():
    return Server()


@contextlib.asynccontextmanager
async def running(server, **more):
    writer = StatusWriter(server.write, rng=random.Random(1), backoff=Backoff(0.01, 0.02), **more)
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_only_the_last_wish_for_an_object_is_written(server, reached):
    async with running(server, not_before=0.05) as writer:
        writer.submit("a", {"n": 1})
        await reached(lambda: server.written)
        for number in range(2, 50):
            writer.submit("a", {"n": number})
        await reached(lambda: ("a", {"n": 49}) in server.written)
        assert server.written == [("a", {"n": 1}), ("a", {"n": 49})]


async def test_an_equal_status_is_not_written_again(server, reached):
    async with running(server, not_before=0.01) as writer:
        writer.submit("a", {"n": 1})
        await reached(lambda: server.written)
        for _ in range(20):
            writer.submit("a", {"n": 1}, again=True)  # the server keeps dropping a field
            await asyncio.sleep(0.005)
        assert len(server.written) == 1


async def test_a_failure_is_retried_with_the_latest_wish(server, reached):
    server.errors = [errors.UncertainError(503, "x", "away"), errors.BusyError(429, "x", "busy", 0.01)]
    async with running(server) as writer:
        writer.submit("a", {"n": 1})
        await reached(lambda: writer.trouble)
        writer.submit("a", {"n": 2})
        await reached(lambda: server.written)
        assert server.written == [("a", {"n": 2})]
        assert writer.trouble is None


async def test_an_object_that_is_gone_is_forgotten(server, reached):
    server.errors = [errors.NotFoundError(404, "NotFound", "gone")]
    async with running(server) as writer:
        writer.submit("a", {"n": 1})
        writer.submit("b", {"n": 1})
        await reached(lambda: server.written)
        assert server.written == [("b", {"n": 1})]
        assert writer.pending() == 0


async def test_one_failing_object_does_not_hold_up_the_others(server, reached):
    server.errors = [errors.RefusedError(422, "Invalid", "no")] * 3
    async with running(server) as writer:
        for name in "abcd":
            writer.submit(name, {})
        await reached(lambda: {path for path, _ in server.written} == set("abcd"))


async def test_forgotten_objects_are_not_written(server, reached):
    async with running(server, not_before=10) as writer:
        writer.submit("a", {"n": 1})
        await reached(lambda: server.written)
        writer.submit("a", {"n": 2})
        writer.forget(lambda path: path != "a")
        assert writer.pending() == 0


async def test_fields_that_the_server_drops_are_named_once_and_not_written_in_a_loop(server, reached, caplog):
    server.prunes = True
    async with running(server, not_before=0) as writer:
        for number in range(3):
            body = {"status": {"phase": "Applied", "pools": {"shared": str(number)}, "empty": []}}
            writer.submit("a", body)
            await reached(lambda number=number: len(server.written) == number + 1)
        await reached(lambda: writer.dropped == {"status.pools"})
        warnings = [record.message for record in caplog.records]
        assert len(warnings) == 1
        assert "dropped status.pools of a" in warnings[0]
        server.prunes = False
        writer.submit("a", {"status": {"phase": "Applied", "pools": {"shared": "9"}}})
        await reached(lambda: writer.dropped == frozenset())


class Picky(Server):
    """A server that refuses statuses with a word in them."""

    def __init__(self, word):
        super().__init__()
        self.word = word
        self.refusals = 0

    def write(self, path, body):
        if self.word in body:
            self.refusals += 1
            raise errors.RefusedError(422, "Invalid", f"status.{self.word}: Invalid value")
        return super().write(path, body)


async def test_what_the_server_refuses_is_said_in_its_place_once_and_tried_again(reached):
    server = Picky("cache")
    async with running(server, not_before=0) as writer:
        writer.submit("a", {"cache": 2**31}, substitute=lambda why: {"said": why})
        await reached(lambda: server.refusals > 3)
        assert server.written == [("a", {"said": "422 Invalid: status.cache: Invalid value"})]
        assert writer.refused == 1
        server.word = "nothing"
        # Nothing is pending while a write is under way, either.
        await reached(lambda: server.written[1:] and writer.refused == 0)
        assert server.written[1:] == [("a", {"cache": 2**31})]
        assert writer.pending() == 0
        assert writer.refused == 0


async def test_a_substitute_that_is_refused_as_well_is_no_end(reached):
    server = Picky("cache")
    async with running(server, not_before=0) as writer:
        writer.submit("a", {"cache": 1}, substitute=lambda _: {"cache": 2})
        await reached(lambda: server.refusals > 3)
        server.word = "nothing"
        await reached(lambda: ("a", {"cache": 1}) in server.written)


async def test_a_missing_right_is_not_said_to_an_object_that_may_not_be_written(server, reached):
    server.errors = [errors.RefusedError(403, "Forbidden", "no")]
    async with running(server, not_before=0) as writer:
        writer.submit("a", {"n": 1}, substitute=lambda why: {"said": why})
        await reached(lambda: server.written)
        assert server.written == [("a", {"n": 1})]
