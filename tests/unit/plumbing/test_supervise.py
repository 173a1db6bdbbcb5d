import asyncio
import random

import pytest
from podnuma.plumbing import supervise
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.supervise import cancel_and_wait, keep_running

QUICK = Backoff(first=0.001, limit=0.004)


@pytest.mark.parametrize("ending", [RuntimeError("broken"), None, asyncio.CancelledError()])
async def test_a_part_that_ends_in_any_way_is_started_again(ending, caplog):
    runs = 0
    enough = asyncio.Event()

    async def part():
        nonlocal runs
        runs += 1
        if runs == 3:
            enough.set()
            await asyncio.Event().wait()
        if ending is not None:
            raise ending

    task = asyncio.create_task(keep_running("part", part, backoff=QUICK, rng=random.Random(1)))
    await asyncio.wait_for(enough.wait(), 5)
    await cancel_and_wait(task)
    assert task.cancelled()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


async def test_a_part_that_fails_as_it_is_told_to_end_is_not_started_again(caplog):
    """asyncio.TaskGroup before Python 3.13 tells of the failure alone; python/cpython#116720."""
    began = asyncio.Event()

    async def part():
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ExceptionGroup("unhandled errors in a TaskGroup", [OSError("broken")]) from None

    task = asyncio.create_task(keep_running("part", part, backoff=QUICK, rng=random.Random(1)))
    await began.wait()
    task.cancel()
    _, pending = await asyncio.wait({task}, timeout=5)
    task.cancel()
    assert not pending
    assert task.cancelled()
    assert caplog.records == []


async def test_a_part_is_started_again_after_a_group_of_tasks_failed_and_its_connection_was_cut():
    """Before Python 3.13 a task whose group failed counts as cancelled ever after."""
    runs = 0
    enough = asyncio.Event()

    async def fails():
        await asyncio.sleep(0)
        raise OSError("broken")

    async def part():
        nonlocal runs
        runs += 1
        if runs == 1:
            async with asyncio.TaskGroup() as group:
                group.create_task(fails())
        elif runs == 2:
            raise asyncio.CancelledError
        enough.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(keep_running("part", part, backoff=QUICK, rng=random.Random(1)))
    await asyncio.wait_for(enough.wait(), 5)
    await cancel_and_wait(task)
    assert runs == 3


async def test_who_loses_a_cancellation_is_cancelled_again(monkeypatch):
    monkeypatch.setattr(supervise, "_AGAIN", 0.01)
    lost = 0

    async def loses():
        nonlocal lost
        while lost < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1

    task = asyncio.create_task(loses())
    await asyncio.sleep(0)
    await asyncio.wait_for(cancel_and_wait(task), 5)
    assert lost == 3
