import asyncio
import contextlib
import random

import pytest
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.kube.errors import UncertainError
from podnuma.plumbing.workqueue import WorkQueue

QUICK = Backoff(first=0.01, limit=0.05)


@contextlib.asynccontextmanager
async def working(handler, **options):
    queue = WorkQueue(handler, backoff=QUICK, rng=random.Random(1), **options)
    queue.start()
    try:
        yield queue
    finally:
        await queue.stop()


async def until(condition, deadline=5.0):
    async with asyncio.timeout(deadline):
        while not condition():  # noqa: ASYNC110 - any condition, not one event
            await asyncio.sleep(0.001)


async def test_a_burst_of_adds_costs_one_run():
    runs = []

    async def handler(key):
        runs.append(key)

    async with working(handler, delay=0.01) as queue:
        for _ in range(100):
            queue.add("n1")
        queue.add("n2")
        await until(lambda: not len(queue))
    assert sorted(runs) == ["n1", "n2"]


async def test_an_add_during_a_run_leads_to_one_more_run_and_never_two_at_once():
    running, most, runs = 0, 0, 0
    began, go_on = asyncio.Event(), asyncio.Event()

    async def handler(_):
        nonlocal running, most, runs
        running, runs = running + 1, runs + 1
        most = max(most, running)
        began.set()
        await go_on.wait()
        running -= 1

    async with working(handler) as queue:
        queue.add("n1")
        await began.wait()
        for _ in range(10):
            queue.add("n1")
        go_on.set()
        await until(lambda: not len(queue))
    assert (runs, most) == (2, 1)


async def test_a_failing_key_is_retried_until_it_succeeds_and_hinders_nobody():
    attempts = {"bad": 0, "good": 0}

    async def handler(key):
        attempts[key] += 1
        if key == "bad" and attempts["bad"] < 4:
            raise RuntimeError("not yet")

    async with working(handler) as queue:
        queue.add("bad")
        queue.add("good")
        await until(lambda: not len(queue))
    assert attempts == {"bad": 4, "good": 1}


async def test_adds_do_not_shorten_the_delay_after_a_failure():
    times = []

    async def handler(_):
        times.append(asyncio.get_running_loop().time())
        if len(times) == 1:
            raise RuntimeError("down")

    queue = WorkQueue(handler, backoff=Backoff(first=0.2, limit=0.2), rng=random.Random(1))
    queue.start()
    queue.add("n1")
    await until(lambda: len(times) == 1)
    for _ in range(50):
        queue.add("n1")
        await asyncio.sleep(0)
    await until(lambda: len(times) == 2)
    await queue.stop()
    assert times[1] - times[0] >= 0.1


async def test_keys_added_before_the_start_are_kept_and_none_is_served_after_the_stop():
    runs = []

    async def handler(key):
        runs.append(key)

    queue = WorkQueue(handler, backoff=QUICK, rng=random.Random(1))
    queue.add("early")
    queue.start()
    await until(lambda: runs == ["early"])
    await queue.stop()
    queue.add("late")
    await asyncio.sleep(0.02)
    assert runs == ["early"]


async def test_no_more_handlers_run_at_once_than_allowed():
    running, most = 0, 0

    async def handler(_):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    async with working(handler, concurrency=3) as queue:
        for key in range(30):
            queue.add(key)
        await until(lambda: not len(queue))
    assert most == 3


async def test_an_earlier_add_moves_a_later_one_forward():
    runs = []

    async def handler(key):
        runs.append(key)

    async with working(handler) as queue:
        queue.add("n1", after=3600)
        queue.add("n1")
        await until(lambda: runs == ["n1"])
        assert len(queue) == 0


@pytest.mark.parametrize(
    ("error", "with_traceback"),
    [(UncertainError(503, "Busy", "come back"), False), (ValueError("a fault"), True)],
)
async def test_an_api_server_that_is_away_is_a_line_and_a_fault_has_its_traceback(
    error, with_traceback, caplog
):
    failed = asyncio.Event()

    async def handler(_):
        failed.set()
        raise error

    async with working(handler) as queue:
        queue.add("n1")
        await failed.wait()
        await until(lambda: caplog.records)
    record = caplog.records[0]
    assert str(error) in record.getMessage()
    assert bool(record.exc_info) == with_traceback
