import asyncio
import random

import pytest
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
