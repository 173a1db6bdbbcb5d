"""What a runtime may still apply: nobody else gets those CPUs, and nobody waits for ever."""

import asyncio

import pytest
from podnuma.agent.model.cgroup_ref import ContainerCgroup, PodCgroup
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupWrite
from podnuma.agent.reconcile.apply import WriteOutcome, WriteResult
from podnuma.agent.reconcile.runtime_updates import PATIENCE, RuntimeUpdates
from podnuma.allocator import cpuset
from podnuma.allocator.request import Qos

POD = PodCgroup("uid-1", Qos.GUARANTEED)
APP, LOG = (ContainerCgroup(POD, name, f"id-{name}") for name in ("app", "log"))
WIDE, NARROW, OTHERS = (cpuset.parse(text) for text in ("4-7", "4-5", "6-7"))


@pytest.fixture
def clock():
    return [100.0]


@pytest.fixture
def updates(clock):
    made = RuntimeUpdates(lambda: clock[0])
    made.aims_at({APP: CgroupTarget(WIDE)})
    return made


def test_what_a_container_gives_up_is_held_until_the_runtime_has_applied_its_answer(updates):
    assert updates.begins(APP, WIDE) == WIDE
    assert updates.held(LOG) == cpuset.EMPTY
    updates.aims_at({APP: CgroupTarget(NARROW)})
    assert updates.held(LOG) == OTHERS
    assert updates.held(APP) == cpuset.EMPTY, "it may have them itself"
    updates.ended(APP.id)
    assert updates.held(LOG) == cpuset.EMPTY


def test_an_update_that_begins_during_a_pass_is_answered_with_what_stays(updates):
    updates.aims_at({APP: CgroupTarget(NARROW)})
    assert updates.begins(APP, WIDE) == NARROW
    assert updates.held(LOG) == cpuset.EMPTY


def test_a_container_that_moves_keeps_its_cpus_until_it_has_moved(updates):
    updates.aims_at({APP: CgroupTarget(OTHERS)})
    assert updates.begins(APP, NARROW) == NARROW
    assert updates.held(LOG) == NARROW


def test_an_update_of_which_nothing_is_heard_is_forgotten(updates, clock):
    updates.begins(APP, WIDE)
    updates.aims_at({APP: CgroupTarget(NARROW)})
    clock[0] += PATIENCE
    assert updates.held(LOG) == cpuset.EMPTY
    asyncio.run(updates.settle())


def test_settling_ends_with_the_last_update(updates):
    async def one_after_the_other():
        updates.begins(APP, WIDE)
        updates.begins(LOG, NARROW)
        waiting = asyncio.create_task(updates.settle())
        await asyncio.sleep(0)
        updates.ended(APP.id)
        await asyncio.sleep(0)
        assert not waiting.done()
        updates.ended(LOG.id)
        updates.ended("never heard of")
        await waiting

    asyncio.run(one_after_the_other())


@pytest.mark.parametrize("turns", range(5))
def test_who_is_cancelled_as_the_last_update_ends_does_not_go_on(updates, turns):
    """The agent's end may come at that very moment; asyncio.wait_for before Python 3.12 would lose it."""
    went_on = []

    async def settles():
        await updates.settle()
        await asyncio.sleep(3600)
        went_on.append(True)

    async def cancelled():
        updates.begins(APP, WIDE)
        task = asyncio.create_task(settles())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        updates.ended(APP.id)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(10):
                await task

    asyncio.run(cancelled())


def test_a_write_that_gave_way_to_a_start_is_under_way_until_the_runtime_has_carried_it_out(updates):
    async def given_way():
        under_way = asyncio.get_running_loop().create_future()
        updates.left([WriteResult(CgroupWrite(APP, WIDE), WriteOutcome.REFUSED, "why", "NRI", under_way)])
        updates.aims_at({APP: CgroupTarget(NARROW)})
        assert updates.held(LOG) == OTHERS
        waiting = asyncio.create_task(updates.settle())
        await asyncio.sleep(0)
        under_way.set_exception(OSError("the connection ended"))
        await waiting
        assert updates.held(LOG) == cpuset.EMPTY

    asyncio.run(given_way())
