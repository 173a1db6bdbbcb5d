"""A pass in slices: who is let in between, and what it goes by then. Counted in cgroups, not in time."""

import asyncio

import pytest
from podnuma.agent.apiserver.watch import Listed
from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.model.cgroup_ref import ContainerCgroup
from podnuma.agent.model.containers import StartingContainer
from podnuma.agent.reconcile import time_slices
from podnuma.agent.reconcile.time_slices import TimeSlices
from podnuma.allocator import cpuset
from podnuma.api.node_settings import Mode

PODS = 7


@pytest.fixture
def read(monkeypatch):
    """Every cgroup that is read takes a whole slice; return those that were."""
    found = []
    read_each = CgroupReader.read_each

    def noted(self, pods, containers):
        for each in read_each(self, pods, containers):
            found.append(each[0])
            yield each

    monkeypatch.setattr(CgroupReader, "read_each", noted)
    monkeypatch.setattr(time_slices, "SLICE", 0.0)
    return found


@pytest.fixture
def grants(words):
    """Pods with a container on CPUs of its own each."""
    own = [f"{number + 1},{number + 9}" for number in range(PODS)]
    return [words.pod(f"p{number}", words.container("c", cpus), cpus=cpus) for number, cpus in enumerate(own)]


@pytest.fixture
def crowd(bench, grants):
    """Their containers, as a first pass left them."""
    bench.settings()
    cgroups = []
    for each in grants:
        bench.grant(each)
        cgroups.append(bench.start(bench.pod(each.uid), "c"))
    bench.run_pass()
    bench.run_pass()
    return cgroups


async def begun(passing, read):
    """Wait until a pass has read something."""
    while not read and not passing.done():  # noqa: ASYNC110 - the pass runs in the same event loop
        await asyncio.sleep(0)


async def test_others_are_let_in_when_a_slice_is_over_and_not_before(monkeypatch):
    turns: list[None] = []

    async def other():
        while True:
            turns.append(None)
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    monkeypatch.setattr(time_slices, "SLICE", 3600)
    slices = TimeSlices()
    for _ in range(10):
        await slices.between()
    assert not turns
    monkeypatch.setattr(time_slices, "SLICE", 0.0)
    for _ in range(10):
        await slices.between()
    assert len(turns) == 10
    beside.cancel()


async def test_a_start_that_needs_no_pass_is_answered_while_one_goes_on(bench, crowd, read):
    passing = asyncio.create_task(bench.reconciler.run_pass())
    await begun(passing, read)
    again = ContainerCgroup(crowd[0].pod, "c", "again".ljust(24, "0"))
    answer = await bench.hook.start(StartingContainer(again, "default", {}, None), 0.8)
    assert answer.values.cpus == cpuset.parse("1,9")
    assert not passing.done()
    assert len(read) < 5, "cgroups read until the answer"
    await passing
    assert len(read) == 2 + 2 * PODS


@pytest.mark.usefixtures("crowd")
async def test_what_is_known_after_a_pass_began_is_not_written_by_it(bench, grants, crowd, read):
    """A list that arrives between two slices: the pass goes by what it knew, which was nothing."""
    bench.desired.take_allocations(Listed(()))
    bench.desired.allocations_known = False
    bench.put(crowd[0], "cpuset.cpus", "0-15")
    before = len(bench.ways.written)
    passing = asyncio.create_task(bench.reconciler.run_pass())
    await begun(passing, read)
    bench.desired.take_allocations(Listed(()))
    await passing
    assert len(bench.ways.written) == before
    for each in grants:
        bench.grant(each)
    await bench.reconciler.run_pass()
    assert bench.effective(crowd[0]) == "1,9"


async def test_a_pass_that_began_in_audit_writes_nothing_when_the_mode_changes(bench, crowd, read):
    bench.settings(mode=Mode.AUDIT)
    bench.put(crowd[0], "cpuset.cpus", "0-15")
    before = len(bench.ways.written)
    passing = asyncio.create_task(bench.reconciler.run_pass())
    await begun(passing, read)
    bench.settings()
    snapshot = await passing
    assert snapshot.mode is Mode.AUDIT
    assert len(bench.ways.written) == before
    await bench.reconciler.run_pass()
    assert bench.effective(crowd[0]) == "1,9"
