import asyncio
import contextlib
import random
import threading

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
        await reached(lambda: writer.trouble is None)  # the loop hears of it a moment later


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


class Slow(Server):
    """A server that answers a write when a test lets it, and knows how many it has at once."""

    def __init__(self):
        super().__init__()
        self.begun = []
        self.most = 0
        self._under_way = []
        self._turn = threading.Semaphore(0)

    def write(self, path, body):
        self.begun.append(path)
        self._under_way.append(path)
        assert len(set(self._under_way)) == len(self._under_way), "two writes of one object at once"
        self.most = max(self.most, len(self._under_way))
        self._turn.acquire(timeout=5)
        self._under_way.remove(path)
        return super().write(path, body)

    def answer(self, writes=1):
        self._turn.release(writes)


async def test_a_few_writes_are_under_way_at_once_but_never_two_of_one_object(reached):
    server = Slow()
    async with running(server, not_before=0, at_once=3) as writer:
        for path in "abcde":
            writer.submit(path, {"n": 1})
        await reached(lambda: len(server.begun) == 3)
        for path in "abcde":
            writer.submit(path, {"n": 2})
        server.answer(100)
        await reached(lambda: {("abcde"[i], 2) for i in range(5)} <= told(server))
        assert server.most == 3


def told(server):
    return {(path, body["n"]) for path, body in server.written}


async def test_whoever_has_waited_longest_is_next_however_often_others_change(reached):
    """With more changes than a server takes, no object is passed by another that was submitted later."""
    server = Slow()
    async with running(server, not_before=0, at_once=2) as writer:
        names = [f"pod-{number:02}" for number in range(12)]
        for number in range(20):
            for name in names:
                writer.submit(name, {"n": number})
            if number == 0:
                await reached(lambda: len(server.begun) == 2)
            server.answer()
            await reached(lambda number=number: len(server.begun) == number + 3)
        server.answer(100)
        await reached(lambda: {(name, 19) for name in names} <= told(server))
    # Of 12 objects in a row no one comes twice: each waits for one request of each other at most.
    assert all(len(set(server.begun[at : at + 12])) == 12 for at in range(10))


async def test_a_status_that_is_being_written_is_not_written_a_second_time(reached):
    server = Slow()
    async with running(server, not_before=0) as writer:
        writer.submit("a", {"n": 1})
        await reached(lambda: server.begun)
        writer.submit("a", {"n": 2})
        writer.submit("a", {"n": 1})  # as the next pass says, before the server has answered
        assert writer.pending() == 0
        writer.submit("b", {"n": 1})
        server.answer(100)
        await reached(lambda: len(server.written) == 2)
        assert sorted(server.begun) == ["a", "b"]


async def test_an_object_that_is_forgotten_during_its_write_has_no_second_one_beside_it(reached):
    server = Slow()
    async with running(server, not_before=0) as writer:
        writer.submit("a", {"n": 1})
        await reached(lambda: server.begun)
        writer.forget(lambda _: False)
        writer.submit("a", {"n": 2})
        writer.submit("b", {"n": 1})
        await reached(lambda: len(server.begun) == 2)
        server.answer(100)
        await reached(lambda: told(server) == {("a", 1), ("b", 1), ("a", 2)})


async def test_how_long_statuses_waited_is_told(server, reached):
    waited: list[float] = []
    server.errors = [errors.UncertainError(503, "x", "away")]
    async with running(server, not_before=0, waited=waited.append) as writer:
        began = asyncio.get_running_loop().time()
        writer.submit("a", {"n": 1})
        await reached(lambda: waited)
        # From the first wish on, the failure included.
        assert 0.005 <= waited[0] <= asyncio.get_running_loop().time() - began


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
