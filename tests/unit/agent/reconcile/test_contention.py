"""Somebody else undoes what the agent writes, every few seconds of a fake clock."""

import asyncio
import itertools

import pytest
from podnuma.agent.model.cgroup_ref import ContainerCgroup
from podnuma.agent.model.containers import StartRefused
from podnuma.agent.reconcile.apply import WriteOutcome
from podnuma.agent.reconcile.contention import PAUSE, QUIET, REPAIRS
from podnuma.agent.status import allocation_status
from podnuma.api.pod_allocation_status import CONTENDED, PodAllocationStatus


@pytest.fixture
def db(bench, words):
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    cgroup = bench.start(bench.pod("db"), "db")
    bench.run_pass()
    return cgroup


class Other:
    """Another program: puts all CPUs into one cgroup before each pass."""

    def __init__(self, bench, cgroup) -> None:
        self.bench = bench
        self.cgroup = cgroup

    def passes(self, count: int, every: float = 5.0, text: str | None = "0-15") -> list[float]:
        """Return when the agent wrote to the cgroup."""
        writes = []
        for _ in range(count):
            self.bench.now += every
            if text is not None:
                self.bench.put(self.cgroup, "cpuset.cpus", text)
            before = len(self.bench.ways.written)
            self.bench.run_pass()
            if any(write.cgroup == self.cgroup for write in self.bench.ways.written[before:]):
                writes.append(self.bench.now)
        return writes


def test_after_some_repairs_own_writes_come_once_a_minute_and_it_is_said(bench, db, caplog):
    other = Other(bench, db)
    assert len(other.passes(REPAIRS - 1)) == REPAIRS - 1
    assert bench.reconciler.snapshot.contended == {}
    later = other.passes(120)
    assert min(b - a for a, b in itertools.pairwise(later)) >= PAUSE
    assert len(later) >= 600 / PAUSE - 1
    (text,) = bench.reconciler.snapshot.contended.values()
    assert "cpuset.cpus" in text
    assert "is 0-15, wanted 1,9; somebody else changed it 5 times within 20 s" in text
    said = [record for record in caplog.records if "somebody else changed it" in record.getMessage()]
    assert len(said) == 1


def test_the_status_of_the_pod_says_what_and_how_often(bench, db):
    Other(bench, db).passes(REPAIRS + 1)
    (desired,) = bench.desired.allocations()
    status = allocation_status.compute_status(
        desired, PodAllocationStatus(), bench.reconciler.snapshot, bench.reconciler.verdicts
    )
    assert status is not None
    (condition,) = [each for each in status.conditions if each.type == CONTENDED]
    assert condition.message.startswith("container db: cpuset.cpus")


def test_one_who_answers_each_write_at_once_is_found_as_well(bench, db):
    """What was just written is gone before the agent looks; to it, its mechanism lied."""
    write_through = bench.ways.write

    async def undone(write) -> None:
        await write_through(write)
        if write.cgroup == db:
            bench.put(db, "cpuset.cpus", "0-15")

    bench.ways.write = undone
    assert len(Other(bench, db).passes(120)) <= REPAIRS + 600 / PAUSE
    assert bench.reconciler.snapshot.contended.keys() == {db}


def test_it_is_over_when_the_other_stops(bench, db):
    other = Other(bench, db)
    other.passes(REPAIRS + 1)
    other.passes(int((PAUSE + QUIET) / 5) + 2, text=None)
    assert bench.effective(db) == "1,9"
    assert bench.reconciler.snapshot.contended == {}
    assert len(other.passes(REPAIRS - 1)) == REPAIRS - 1, "repaired at once again"


def test_changes_now_and_then_are_repaired_at_once_for_ever(bench, db):
    assert len(Other(bench, db).passes(20, every=200.0)) == 20


@pytest.mark.usefixtures("db")
def test_a_new_target_is_written_at_once(bench, words):
    other = Other(bench, words.burstable)
    other.passes(REPAIRS + 2)
    assert bench.reconciler.snapshot.contended.keys() == {words.burstable}
    bench.grant(words.pod("web", words.container("web", "2"), cpus="2"))
    bench.now += 1
    bench.run_pass()
    assert bench.effective(words.burstable) == "0,3-8,10-15"


def test_a_start_takes_the_contended_off_its_cpus_and_is_refused_where_that_fails(bench, words):
    bench.grant(words.pod("web", words.container("web", "2"), cpus="2"))
    bench.run_pass()
    Other(bench, words.burstable).passes(REPAIRS + 2)
    assert bench.effective(words.burstable) == "0-15"
    starting = ContainerCgroup(bench.pod("web"), "web", "0" * 16)

    def refuse(write):
        if write.cgroup == words.burstable:
            raise words.refused("burstable", "0-1,3-15", "EBUSY")

    bench.ways.refuse = refuse
    with pytest.raises(StartRefused, match="could not be taken off CPUs 2 yet"):
        asyncio.run(bench.hook.make_room(starting))
    bench.ways.refuse = lambda _: None
    asyncio.run(bench.hook.make_room(starting))
    assert bench.effective(words.burstable) == "0-1,3-15"


def test_what_waits_for_the_contended_gets_nothing_of_its_cpus(bench, words):
    """Who is not written keeps CPUs, so they are given to nobody."""
    bench.grant(words.pod("web", words.container("web", "2"), cpus="2"))
    web = bench.start(bench.pod("web"), "web")
    bench.run_pass()
    Other(bench, words.burstable).passes(REPAIRS + 2)
    bench.put(web, "cpuset.cpus", "3")
    bench.now += 1
    snapshot = bench.run_pass()
    outcomes = {result.write.cgroup: result.outcome for result in snapshot.results}
    assert outcomes[words.burstable] is WriteOutcome.CONTENDED
    assert outcomes[web] is WriteOutcome.HELD_BACK
