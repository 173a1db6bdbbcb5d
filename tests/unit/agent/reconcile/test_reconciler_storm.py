"""Random lives of a node: pods come and go and containers restart, also between two slices of a pass, values
are changed by hand, the agent is killed between two writes. Looked at after every single write."""

import asyncio
import contextlib
import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from hypothesis import example, given, settings
from hypothesis import strategies as st
from podnuma.agent.reconcile import time_slices
from podnuma.allocator import cpuset, decision
from podnuma.allocator.request import Qos

if TYPE_CHECKING:
    from podnuma.agent.model.cgroup_ref import ContainerCgroup

RESERVED = 0b1


class Killed(BaseException):
    """SIGKILL, as far as a test can send one."""


class Life:
    """A node and what the API server says about it, with the truth about who may have which CPU."""

    def __init__(self, bench, words) -> None:
        self.bench = bench
        self.words = words
        self.grants: dict[str, decision.PodGrant] = {}
        self.cgroups: dict[str, ContainerCgroup] = {}
        self.leftovers: dict[str, ContainerCgroup] = {}  # they run on although nobody knows of their pods
        self.numbers = 0
        self.left: int | None = None
        self.loose = False  # something runs where it likes until the next pass
        self.unforeseen: set[str] = set()  # started without asking, on all CPUs, after a pass was planned
        bench.pod("plain")
        self.beside = (bench.pod("web", Qos.BURSTABLE), bench.pod("batch", Qos.BEST_EFFORT))
        self.qos: dict[str, Qos] = {}
        bench.ways.refuse = self._maybe_kill
        write_through = bench.ways.write

        async def watched(write) -> None:
            before = self.overlaps()
            await write_through(write)
            assert self.overlaps() <= before, f"{write} gave a CPU away twice"

        bench.ways.write = watched

    def _maybe_kill(self, _) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed

    def overlaps(self) -> set[tuple[str, str, int]]:
        """Who holds a CPU that belongs to somebody else, whose container runs on it."""
        held = {cgroup.uid: cpuset.parse(self.bench.effective(cgroup)) for cgroup in self.beside}
        for uid, cgroup in self.cgroups.items():
            held[uid] = cpuset.parse(self.bench.effective(cgroup))
        for uid, cgroup in self.leftovers.items():
            held[uid] = cpuset.parse(self.bench.effective(cgroup))
        found = set()
        for owner, grant in self.grants.items():
            if owner not in self.cgroups or owner in self.unforeseen:
                continue
            own = grant.exclusive_cpus & held[owner]
            for other, cpus in held.items():
                if other != owner and other not in self.unforeseen:
                    found |= {(owner, other, cpu) for cpu in cpuset.ids(own & cpus)}
        return found

    def add(self, mask: int) -> None:
        if free := self._free(mask):
            self.start(self._grant(free))

    def _free(self, mask: int) -> int:
        taken = RESERVED
        for grant in self.grants.values():
            taken |= grant.exclusive_cpus
        return mask & ~taken & 0xFFFF

    def _grant(self, free: int) -> str:
        self.numbers += 1
        uid, cpus = f"p{self.numbers}", cpuset.render(free)
        self.grants[uid] = self.words.pod(uid, self.words.container("c", cpus), cpus=cpus)
        self.bench.grant(self.grants[uid])
        # Every other one is a burstable holder: its budget stands in an annotation.
        self.qos[uid] = (Qos.GUARANTEED, Qos.BURSTABLE, Qos.GUARANTEED, Qos.BEST_EFFORT)[self.numbers % 4]
        return uid

    def start(self, uid: str) -> None:
        asyncio.run(self._start(uid))

    async def _start(self, uid: str, *, unforeseen: bool = False) -> None:
        """Start a container as a runtime does that asks first, every third time as one that does not."""
        self.numbers += 1
        pod = self.bench.pod(uid, self.qos[uid])
        cgroup = self.bench.start(pod, "c", number=self.numbers)
        asks = self.numbers % 3 != 0
        self.loose |= not asks
        if unforeseen and not asks:
            self.unforeseen.add(uid)
        if asks:
            self.bench.stop(cgroup)
            await self.bench.hook.make_room(cgroup)
            start = self.bench.hook.values(cgroup)
            cgroup = self.bench.start(pod, "c", number=self.numbers)
            self.bench.put(cgroup, "cpuset.cpus", cpuset.render(start.cpus))
        self.cgroups[uid] = cgroup
        self.bench.kernel.settle(self.bench.layout.kubepods)
        if asks and not self.loose:
            assert not [each for each in self.overlaps() if each[0] == uid], "somebody was in its cgroup"

    def remove(self, number: int) -> None:
        if not self.grants:
            return
        uid = sorted(self.grants)[number % len(self.grants)]
        self.bench.stop(self.cgroups.pop(uid))
        self.bench.kernel.remove(self.bench.layout.pod(self.bench.pod(uid, self.qos[uid])))
        self.bench.release(self.grants.pop(uid))

    def orphan(self, number: int, forgotten: bool) -> None:  # noqa: FBT001 - drawn
        """Delete a pod by force: its object is gone, its processes run on, the runtime knows them or not."""
        if not self.grants:
            return
        uid = sorted(self.grants)[number % len(self.grants)]
        self.leftovers[uid] = self.cgroups.pop(uid)
        if forgotten:
            del self.bench.running[self.leftovers[uid].id]
        self.bench.release(self.grants.pop(uid))

    def end(self, number: int) -> None:
        """Let the last process of a leftover end."""
        if self.leftovers:
            uid = sorted(self.leftovers)[number % len(self.leftovers)]
            self.bench.running.pop(self.leftovers.pop(uid).id, None)
            self.bench.kernel.remove(self.bench.layout.pod(self.bench.pod(uid, self.qos[uid])))

    def restart(self, number: int) -> None:
        if self.cgroups:
            uid = sorted(self.cgroups)[number % len(self.cgroups)]
            self.bench.stop(self.cgroups.pop(uid))
            self.start(uid)

    def meanwhile(self, what: str, turns: int, number: int, mask: int) -> None:
        """Let something happen between two slices of a pass."""
        self.bench.reconciler._lock = asyncio.Lock()  # each step has an event loop of its own

        async def both() -> None:
            passing = asyncio.create_task(self.bench.reconciler.run_pass())
            for _ in range(turns):
                await asyncio.sleep(0)
            if what != "add":
                uid = sorted(self.grants)[number % len(self.grants)] if self.grants else None
                if uid is not None and what == "restart":
                    self.bench.stop(self.cgroups.pop(uid))
                    await self._start(uid, unforeseen=True)
                else:
                    self.remove(number)
            if what != "restart" and (free := self._free(mask)):
                await self._start(self._grant(free), unforeseen=True)
            await passing
            self.unforeseen.clear()

        asyncio.run(both())

    def drift(self, number: int, mask: int) -> None:
        self.loose = True
        targets = [self.words.burstable, self.words.best_effort, *self.cgroups.values()]
        self.bench.put(targets[number % len(targets)], "cpuset.cpus", cpuset.render(mask & 0xFFFF or 1))
        self.bench.kernel.settle(self.bench.layout.kubepods)

    def chaos(self, mask: int) -> None:
        """Change everything by hand at once: containers away from what is theirs, slices onto it."""
        for uid in self.cgroups:
            self.bench.put(
                self.cgroups[uid],
                "cpuset.cpus",
                cpuset.render(mask & ~self.grants[uid].exclusive_cpus & 0xFFFF),
            )
        for cgroup in (self.words.burstable, self.words.best_effort):
            self.bench.put(cgroup, "cpuset.cpus", "0-15")
        self.loose = True
        self.bench.kernel.settle(self.bench.layout.kubepods)

    def settle(self, left: int | None) -> None:
        self.left = left
        try:
            self.bench.run_pass()
            self.loose = False
        except Killed:
            # The next agent knows what the API server says and what the kernel has, nothing else.
            self.bench.reconciler = dataclasses.replace(self.bench.reconciler)
        finally:
            self.left = None


masks = st.integers(1, 0xFFFF)
numbers = st.integers(0, 7)
events = st.sampled_from(("add", "restart", "replace"))
writes = st.one_of(
    st.tuples(st.just("add"), masks),
    st.tuples(st.just("remove"), numbers),
    st.tuples(st.just("restart"), numbers),
    st.tuples(st.just("orphan"), numbers, st.booleans()),
    st.tuples(st.just("end"), numbers),
    st.tuples(st.just("drift"), numbers, masks),
    st.tuples(st.just("chaos"), masks),
    st.tuples(
        st.just("meanwhile"),
        st.sampled_from(("add", "restart", "replace")),
        st.integers(1, 12),
        numbers,
        masks,
    ),
    st.tuples(st.just("settle"), st.none() | st.integers(0, 4)),
)


@settings(max_examples=60, deadline=None)
@example(
    [
        ("add", 501),
        ("add", 587),
        ("add", 1253),
        ("add", 2850),
        ("add", 52450),
        ("remove", 0),
        ("meanwhile", "add", 1, 0, 953),
    ]
)
@example([("add", 2), ("restart", 7), ("restart", 5), ("chaos", 1), ("meanwhile", "add", 1, 5, 4)])
@given(st.lists(writes, min_size=3, max_size=14))
def test_no_write_ever_gives_a_cpu_to_two_and_all_ends_well(bench_class, words, story):
    # A slice that is over at once: events arrive wherever they can.
    with mock.patch.object(time_slices, "SLICE", 0.0), tempfile.TemporaryDirectory() as folder:
        life = Life(bench_class(Path(folder)), words)
        with contextlib.ExitStack() as closing:
            for _ in range(2):  # a sweep closes what nobody asked for since the one before
                closing.callback(life.bench.reconciler.reader.sweep)
            play(life, words, story)


def play(life: Life, words, story) -> None:
    """Live through the events and then hold what has to be true of a node at rest."""
    for what, *arguments in story:
        getattr(life, what)(*arguments)
    life.settle(None)
    life.settle(None)
    bench = life.bench
    exclusive = 0
    for uid, grant in life.grants.items():
        assert bench.effective(life.cgroups[uid]) == cpuset.render(grant.exclusive_cpus)
        exclusive |= grant.exclusive_cpus
    pool = cpuset.render(0xFFFF & ~exclusive)
    for cgroup in (words.burstable, words.best_effort):
        holders = 0
        for uid, grant in life.grants.items():
            holders |= grant.exclusive_cpus if life.qos[uid] is cgroup.qos else 0
        assert bench.effective(cgroup) == cpuset.render(0xFFFF & ~exclusive | holders)
    assert {bench.effective(cgroup) for cgroup in life.beside} == {pool}
    for cgroup in life.leftovers.values():
        assert not cpuset.parse(bench.effective(cgroup)) & exclusive
    assert bench.effective(bench.pod("plain", Qos.GUARANTEED)) == pool
    written = len(bench.ways.written)
    bench.run_pass()
    assert len(bench.ways.written) == written
