import asyncio

import pytest
from podnuma.agent.apiserver.watch import Changed, WatchEventType
from podnuma.agent.model.cgroup_ref import ContainerCgroup
from podnuma.agent.model.containers import StartRefused
from podnuma.allocator import cpuset
from podnuma.api.node_settings import Mode, OnUndecided
from podnuma.api.pod_allocation_status import Verdict


class Liar:
    """Says that it wrote, as runtimes do above a crun that takes "no quota" for a small one."""

    name = "liar"

    def __init__(self, *, piggybacks=True):
        self.piggybacks = piggybacks
        self.writes = []

    def takes(self, cgroup):
        return isinstance(cgroup, ContainerCgroup)

    async def write(self, write):
        self.writes.append(write)


def test_a_container_is_judged_before_its_first_instruction(bench, words):
    bench.run_pass()
    bench.grant(words.pod("db", words.container("init", "1,9"), cpus="1,9"))
    pod = bench.pod("db")
    asyncio.run(bench.hook.make_room(ContainerCgroup(pod, "init", "0" * 16)))
    cgroup = bench.start(pod, "init")
    bench.put(cgroup, "cpuset.cpus", "1,9")
    bench.kernel.settle(bench.layout.kubepods)
    written = len(bench.ways.written)
    asyncio.run(bench.hook.before_start(cgroup))
    bench.kernel.remove(bench.layout.folder(cgroup))
    bench.run_pass()
    bench.run_pass()
    assert bench.reconciler.verdicts.of(cgroup.id).verdict is Verdict.PINNED_AT_START
    assert len(bench.ways.written) == written


def test_what_the_runtime_made_wrong_is_put_right_before_the_first_instruction(bench, words):
    bench.run_pass()
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    pod = bench.pod("db")
    asyncio.run(bench.hook.make_room(ContainerCgroup(pod, "db", "0" * 16)))
    liar = Liar()
    bench.reconciler.mechanisms = (liar, bench.ways)
    cgroup = bench.start(pod, "db", "1000 100000")
    asyncio.run(bench.hook.before_start(cgroup))
    assert (bench.cpus(cgroup), bench.file(cgroup, "cpu.max")) == ("1,9", "max 100000")
    assert bench.reconciler.verdicts.of(cgroup.id).verdict is Verdict.PINNED_AT_START
    assert liar.writes == []


class SlowSystemd:
    """Says that it has written, and has it in the kernel when somebody looks for the sixth time."""

    def __init__(self, bench):
        self.bench, self.looks, self.read = bench, 0, bench.reconciler.reader.container

    def container(self, cgroup):
        self.looks += 1
        if self.looks == 6:
            self.bench.put(cgroup, "cpuset.cpus", "1,9")
            self.bench.kernel.settle(self.bench.layout.kubepods)
        return self.read(cgroup)


def test_a_start_waits_for_a_systemd_that_says_it_has_written_and_has_not_yet(bench, words, monkeypatch):
    bench.run_pass()
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    pod = bench.pod("db")
    asyncio.run(bench.hook.make_room(ContainerCgroup(pod, "db", "0" * 16)))
    cgroup = bench.start(pod, "db", "max 100000")
    bench.reconciler.mechanisms = (Liar(piggybacks=False),)
    slow = SlowSystemd(bench)
    monkeypatch.setattr(type(bench.reconciler.reader), "container", lambda _, cgroup: slow.container(cgroup))
    asyncio.run(bench.hook.before_start(cgroup))
    assert bench.reconciler.verdicts.of(cgroup.id).verdict is Verdict.PINNED_AT_START
    assert bench.cpus(cgroup) == "1,9"


def test_room_is_made_before_a_container_starts(bench, words):
    bench.run_pass()
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    pod = bench.pod("db")
    cgroup = bench.start(pod, "db")
    bench.stop(cgroup)
    assert asyncio.run(bench.hook.make_room(cgroup)) == ()
    assert bench.effective(words.burstable) == "0,2-8,10-15"
    written = len(bench.ways.written)
    asyncio.run(bench.hook.make_room(cgroup))
    assert len(bench.ways.written) == written


def test_nobody_starts_on_cpus_that_others_could_not_be_taken_off(bench, words):
    bench.run_pass()
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    cgroup = bench.start(bench.pod("db"), "db")
    bench.stop(cgroup)

    def refuse(write):
        if write.cgroup == words.burstable:
            raise words.refused("burstable", "0,2-8,10-15", "systemd did not answer within 5 s")

    bench.ways.refuse = refuse
    with pytest.raises(StartRefused, match=r"burstable slice could not be taken off CPUs 1,9 yet: .*5 s"):
        asyncio.run(bench.hook.make_room(cgroup))
    bench.ways.refuse = lambda _: None
    asyncio.run(bench.hook.make_room(cgroup))
    assert bench.effective(words.burstable) == "0,2-8,10-15"


def test_what_can_only_ride_is_handed_over_in_the_order_of_the_plan(bench, words):
    bench.grant(words.pod("first", words.container("own", "12"), words.container("shared", None, 50_000)))
    shared = bench.start(bench.pod("first"), "shared", "50000 100000")
    bench.grant(words.pod("warm", words.container("c", "5"), cpus="5"))
    bench.run_pass()
    assert bench.cpus(shared) == "0-4,6-11,13-15"
    bench.ways.piggybacks = True
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    cgroup = bench.start(bench.pod("db"), "db")
    bench.stop(cgroup)
    direct = type(bench.ways)(bench)
    bench.reconciler.mechanisms = (bench.ways, direct)
    piggybacked = asyncio.run(bench.hook.make_room(cgroup))
    assert [(write.cgroup, cpuset.render(write.cpus)) for write in piggybacked] == [
        (shared, "0,2-4,6-8,10-11,13-15")
    ]
    assert bench.effective(words.burstable) == "0,2-4,6-8,10-11,13-15"


def test_a_pod_that_holds_nothing_needs_one_pass_and_no_second(bench, words):
    bench.run_pass()
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    bench.grant(words.pod("web", words.container("web", None, 150_000)))
    pod = bench.pod("web")
    cgroup = ContainerCgroup(pod, "web", "0" * 16)
    asyncio.run(bench.hook.make_room(cgroup))
    assert bench.effective(pod) == "0,2-8,10-15"
    passes = bench.reconciler.snapshot
    asyncio.run(bench.hook.make_room(cgroup))
    assert bench.reconciler.snapshot is passes
    assert bench.hook.values(cgroup) is None, "its pod's set confines it"


def test_a_pod_that_could_not_be_confined_does_not_start(bench, words):
    bench.run_pass()
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    web = bench.pod("web")

    def refuse(write):
        if write.cgroup == web:
            raise words.refused("web", "0,2-8,10-15", "systemd did not answer within 5 s")

    bench.ways.refuse = refuse
    with pytest.raises(StartRefused, match=r"pod web could not be taken off CPUs 1,9 yet"):
        asyncio.run(bench.hook.make_room(ContainerCgroup(web, "web", "0" * 16)))


def test_starts_fail_closed_only_where_they_would_wait_for_a_decision(bench):
    bench.settings()
    assert bench.hook.fail_closed()
    bench.settings(on_undecided=OnUndecided.SHARE)
    assert not bench.hook.fail_closed()
    bench.settings(mode=Mode.AUDIT)
    assert not bench.hook.fail_closed()


def test_no_start_fails_closed_on_a_node_that_no_profile_selects_any_more(bench):
    bench.settings()
    bench.desired.take_topology(Changed(WatchEventType.DELETED, {"metadata": {"name": "node"}}))
    assert not bench.hook.fail_closed()


async def test_a_change_of_what_fails_closed_is_awaited(bench):
    bench.settings(mode=Mode.AUDIT)
    waiting = asyncio.create_task(bench.hook.wait_fail_closed(closed=True))
    await asyncio.sleep(0)
    assert not waiting.done()
    bench.settings()
    await asyncio.wait_for(waiting, 5)
