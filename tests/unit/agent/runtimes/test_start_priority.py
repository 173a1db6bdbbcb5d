import asyncio

import pytest
from podnuma.agent.cgroups.writers.refusals import WriteRefused
from podnuma.agent.runtimes.start_priority import StartPriority


async def value(result=7, after=None):
    if after is not None:
        await after.wait()
    return result


async def test_an_update_goes_through_while_nothing_starts():
    assert await StartPriority().update("db", value()) == 7


async def test_an_update_is_not_sent_while_a_container_starts():
    start_priority = StartPriority()
    with start_priority.starting(), pytest.raises(WriteRefused, match="goes first"):
        await start_priority.update("db", value())
    assert await start_priority.update("db", value()) == 7


async def test_an_update_under_way_is_left_when_a_container_begins_to_start():
    start_priority, never = StartPriority(), asyncio.Event()
    update = asyncio.ensure_future(start_priority.update("db", value(after=never)))
    await asyncio.sleep(0)
    with start_priority.starting():
        with pytest.raises(WriteRefused, match="began to start"):
            await update
        never.set()
        await asyncio.sleep(0)


async def test_a_failure_of_the_update_is_the_callers():
    async def failing():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await StartPriority().update("db", failing())


async def test_a_call_that_is_cancelled_by_its_connection_is_a_refusal():
    async def cut():
        raise asyncio.CancelledError

    with pytest.raises(WriteRefused, match="the connection to the runtime ended"):
        await StartPriority().update("db", cut())


async def test_two_hooks_have_to_end_both():
    start_priority = StartPriority()
    with start_priority.starting():
        with start_priority.starting():
            pass
        with pytest.raises(WriteRefused):
            await start_priority.update("db", value())
