import asyncio
import threading

import pytest
from podnuma.plumbing.threads import OneThread, in_thread


async def test_what_a_call_returns_or_raises_is_the_answer():
    def call(number, *, by):
        return number // by

    assert await in_thread(call, 7, by=2) == 3
    with pytest.raises(ZeroDivisionError):
        await in_thread(call, 7, by=0)


def test_nobody_waits_for_a_call_that_was_given_up():
    """python/cpython#111358: asyncio.run waits for the threads of asyncio.to_thread."""
    let_go, ended = threading.Event(), threading.Event()

    def call():
        let_go.wait(60)
        ended.set()

    async def given_up():
        asking = asyncio.create_task(in_thread(call))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(given_up())
    assert not ended.is_set()
    let_go.set()
    assert ended.wait(60)


async def test_of_calls_that_hang_there_is_only_one():
    let_go, began = threading.Event(), []

    def call(number):
        began.append(number)
        let_go.wait(60)
        return number

    thread = OneThread()
    asking = [asyncio.create_task(thread.run(call, number)) for number in range(3)]
    await asyncio.sleep(0)
    for given_up in asking[:2]:
        given_up.cancel()
    await asyncio.wait(asking[:2])
    let_go.set()
    assert await asking[2] == 2
    assert began == [0, 2], "the second was given up before its turn"
