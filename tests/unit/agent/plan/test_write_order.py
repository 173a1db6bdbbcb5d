"""Steps are read here as a kernel would run them: cgroup v2 rules, one write after the other."""

import random
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup, QosCgroup, parent
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupValues, CgroupWrite, CpuMax
from podnuma.agent.plan.write_order import order_writes
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.request import Qos

BURSTABLE = QosCgroup(Qos.BURSTABLE)
EVERYTHING = cpuset.parse("0-15")
T = TypeVar("T")


@dataclass
class Kernel:
    """What cgroup v2 makes of written sets."""

    written: dict[CgroupRef, CpuSet | None]
    everything: CpuSet = EVERYTHING
    history: list[CgroupWrite] = field(default_factory=list)

    def effective(self, cgroup: CgroupRef | None) -> CpuSet:
        if cgroup is None:
            return self.everything
        above = self.effective(parent(cgroup))
        own = self.written.get(cgroup)
        return above if own is None else CpuSet(own & above or above)

    def run(self, write: CgroupWrite) -> None:
        if write.cpus is not None:
            before = self.effective(write.cgroup)
            self.written[write.cgroup] = write.cpus
            after = self.effective(write.cgroup)
            assert write.gains == after & ~before
            assert write.losses == before & ~after
        self.history.append(write)


def pod(uid: str) -> PodCgroup:
    return PodCgroup(uid, Qos.GUARANTEED)


def container(uid: str, name: str = "c") -> ContainerCgroup:
    return ContainerCgroup(pod(uid), name, f"{uid}-{name}")


def cpus(text: str) -> CgroupValues:
    return CgroupValues(cpuset.parse(text))


def want(text: str) -> CgroupTarget:
    return CgroupTarget(cpuset.parse(text))


def at(*pairs: tuple[CgroupRef, T]) -> dict[CgroupRef, T]:
    return dict(pairs)


def spelled(writes: tuple[CgroupWrite, ...]) -> list[tuple[CgroupRef, str]]:
    return [(write.cgroup, cpuset.render(write.cpus)) for write in writes if write.cpus is not None]


def test_shared_cgroups_leave_before_a_container_is_confined():
    """It started while no agent was there: on its CPUs it must not meet those who have yet to leave."""
    db = container("db")
    seen = at((BURSTABLE, CgroupValues(None)), (pod("db"), CgroupValues(None)), (db, CgroupValues(None)))
    wanted = at((BURSTABLE, want("0-1,4-15")), (pod("db"), want("0-15")), (db, want("2-3")))
    writes = order_writes(seen, wanted, pool=cpuset.parse("0-1,4-15"), everything=EVERYTHING)
    assert spelled(writes) == [(BURSTABLE, "0-1,4-15"), (db, "2-3"), (pod("db"), "0-15")]


def test_on_release_the_pool_grows_after_the_container_let_go():
    db = container("db")
    seen = at((BURSTABLE, cpus("0-1,4-15")), (pod("db"), cpus("0-15")), (db, cpus("2-3")))
    wanted = at((BURSTABLE, want("0-15")), (pod("db"), want("0-15")), (db, want("0-15")))
    writes = order_writes(seen, wanted, pool=EVERYTHING, everything=EVERYTHING)
    assert spelled(writes) == [(BURSTABLE, "0-15"), (db, "0-15")]


def test_pod_grows_before_its_container():
    db = container("db")
    seen = at((pod("db"), cpus("0-1")), (db, cpus("0-1")))
    wanted = at((pod("db"), want("0-3")), (db, want("2-3")))
    writes = order_writes(seen, wanted, pool=cpuset.parse("0-1"), everything=EVERYTHING)
    assert spelled(writes) == [(pod("db"), "0-3"), (db, "2-3")]


def test_two_containers_that_hold_each_others_cpus_change_places_by_way_of_the_pool():
    seen = at(
        (pod("a"), cpus("0-3")),
        (container("a"), cpus("4-5")),
        (pod("b"), cpus("0-1,4-5")),
        (container("b"), cpus("2-3")),
    )
    seen[pod("a")] = seen[pod("b")] = cpus("0-5")
    wanted = at(
        (pod("a"), want("0-3")),
        (container("a"), want("2-3")),
        (pod("b"), want("0-1,4-5")),
        (container("b"), want("4-5")),
    )
    writes = order_writes(seen, wanted, pool=cpuset.parse("0-1"), everything=EVERYTHING)
    moves = [(cgroup, text) for cgroup, text in spelled(writes) if isinstance(cgroup, ContainerCgroup)]
    assert moves[0] == (container("a"), "0-1")
    assert set(moves[1:]) == {(container("a"), "2-3"), (container("b"), "4-5")}


def test_memory_nodes_and_bandwidth_ride_on_the_last_write_of_their_place():
    db = container("db")
    cpu_max = CpuMax(200_000, 100_000)
    target = CgroupTarget(cpuset.parse("2-3"), nodeset.parse("0"), cpu_max)
    writes = order_writes(
        at((db, cpus("2"))), at((db, target)), pool=cpuset.parse("0"), everything=EVERYTHING
    )
    assert writes == (
        CgroupWrite(db, cpuset.parse("2-3"), nodeset.parse("0"), cpu_max, gains=cpuset.parse("3")),
    )


def test_quota_alone_is_a_step_of_its_own():
    db = container("db")
    cpu_max = CpuMax(300_000, 100_000)
    seen = at((db, CgroupValues(cpuset.parse("2-3"), None, CpuMax(None, 100_000))))
    wanted = at((db, CgroupTarget(cpuset.parse("2-3"), None, cpu_max)))
    writes = order_writes(seen, wanted, pool=cpuset.parse("0"), everything=EVERYTHING)
    assert writes == (CgroupWrite(db, cpu_max=cpu_max),)


def test_a_wish_for_a_place_that_is_gone_makes_no_step():
    assert (
        order_writes({}, at((container("db"), want("2"))), pool=cpuset.parse("0"), everything=EVERYTHING)
        == ()
    )


def test_a_set_with_an_offline_cpu_is_written_as_wished():
    db = container("db")
    online = cpuset.parse("0-2,4-15")
    writes = order_writes(
        at((pod("db"), CgroupValues(None)), (db, CgroupValues(None))),
        at((pod("db"), want("0-3")), (db, want("2-3"))),
        pool=cpuset.parse("0-1"),
        everything=online,
    )
    kernel = Kernel(at((pod("db"), None), (db, None)), online)
    for write in writes:
        kernel.run(write)
    assert kernel.written == at((pod("db"), cpuset.parse("0-3")), (db, cpuset.parse("2-3")))


@st.composite
def situations(draw):
    """Any sets seen, and wanted ones as a plan makes them: a pool, disjoint pods, containers within them.

    Some of the pods are holders of a slice, as is one that holds nothing. CPUs may be offline, but never all
    of a cgroup.
    """
    reserved = draw(st.integers(1, 3))
    owner = draw(st.lists(st.integers(0, 4), min_size=16 - reserved, max_size=16 - reserved))
    sets = [0] * 5
    for cpu, number in enumerate(owner, reserved):
        sets[number] |= 1 << cpu
    pool = CpuSet(sets[0] | (1 << reserved) - 1)
    anything = st.none() | st.integers(1, (1 << 16) - 1).map(CpuSet)
    seen: dict[CgroupRef, CgroupValues] = {BURSTABLE: CgroupValues(draw(anything))}
    wanted: dict[CgroupRef, CgroupTarget] = {BURSTABLE: CgroupTarget(pool)}
    for number, own in enumerate(sets[1:]):
        here = PodCgroup(f"p{number}", draw(st.sampled_from((Qos.GUARANTEED, Qos.BURSTABLE))))
        if here.qos is Qos.BURSTABLE:
            wanted[BURSTABLE] = CgroupTarget(CpuSet((wanted[BURSTABLE].cpus or pool) | own))
        seen[here] = CgroupValues(draw(anything))
        wanted[here] = CgroupTarget(CpuSet(own | pool))
        for name in draw(st.sets(st.sampled_from("abc"), max_size=3)):
            below = ContainerCgroup(here, name, f"{here.uid}-{name}")
            seen[below] = CgroupValues(draw(anything))
            part = CpuSet(draw(st.integers(0, (1 << 16) - 1)) & own)
            wanted[below] = CgroupTarget(part or pool)
    if draw(st.booleans()):
        beside = PodCgroup("beside", Qos.BURSTABLE)
        seen[beside] = CgroupValues(draw(anything))
        wanted[beside] = CgroupTarget(pool)
    online = EVERYTHING & ~draw(st.just(0) | st.integers(0, (1 << 16) - 1))
    for target in wanted.values():
        online |= 0 if target.cpus is None or target.cpus & online else target.cpus
    return seen, wanted, pool, CpuSet(online)


def above(cgroup: CgroupRef) -> list[CgroupRef]:
    """The cgroups that one lies in."""
    found = []
    while (higher := parent(cgroup)) is not None:
        found.append(cgroup := higher)
    return found


def overlaps(
    kernel: Kernel, wanted: dict[CgroupRef, CgroupTarget], pool: CpuSet
) -> set[tuple[CgroupRef, CgroupRef, int]]:
    """Pairs of unrelated cgroups that hold one CPU outside the pool, one of them without a right to it."""
    found = set()
    cgroups = list(wanted)
    held = {cgroup: kernel.effective(cgroup) for cgroup in cgroups}
    for one in cgroups:
        for other in cgroups:
            if one is other or one in above(other) or other in above(one):
                continue
            for cpu in cpuset.ids(CpuSet(held[one] & held[other] & ~pool)):
                both = (wanted[one].cpus or 0) & (wanted[other].cpus or 0)
                if not both >> cpu & 1:
                    found.add((one, other, cpu))
    return found


@settings(deadline=None, max_examples=300)
@given(situations())
def test_at_no_step_do_two_owners_newly_hold_one_cpu(situation):
    seen, wanted, pool, online = situation
    kernel = Kernel({cgroup: values.cpus for cgroup, values in seen.items()}, online)
    before = overlaps(kernel, wanted, pool)
    for write in order_writes(seen, wanted, pool=pool, everything=online):
        kernel.run(write)
        now = overlaps(kernel, wanted, pool)
        assert now <= before
        before = now
    assert not before


@settings(deadline=None, max_examples=300)
@given(situations())
def test_no_step_is_empty_and_all_lead_to_what_is_wanted(situation):
    seen, wanted, pool, online = situation
    kernel = Kernel({cgroup: values.cpus for cgroup, values in seen.items()}, online)
    for write in order_writes(seen, wanted, pool=pool, everything=online):
        assert write.cpus != 0
        assert write.cpus is not None
        kernel.run(write)
    assert kernel.written == {cgroup: target.cpus for cgroup, target in wanted.items()}
    assert all(kernel.effective(cgroup) == (target.cpus or 0) & online for cgroup, target in wanted.items())


@settings(deadline=None, max_examples=100)
@given(situations())
def test_applying_twice_changes_nothing(situation):
    _, wanted, pool, online = situation
    applied = {cgroup: CgroupValues(target.cpus) for cgroup, target in wanted.items()}
    assert order_writes(applied, wanted, pool=pool, everything=online) == ()


def planned(owner: list[int], classes: list[Qos], parts: list[list[int]]) -> dict[CgroupRef, CpuSet]:
    """Return what cgroups have when CPU 1 + i is pod `owner[i]`'s, 0 for nobody's; `parts` of containers."""
    sets = [0] * 5
    for cpu, number in enumerate(owner, 1):
        sets[number] |= 1 << cpu
    pool = CpuSet(sets[0] | 1)
    found: dict[CgroupRef, CpuSet] = {BURSTABLE: pool}
    for number, own in enumerate(sets[1:]):
        here = PodCgroup(f"p{number}", classes[number])
        found[here] = CpuSet(own | pool)
        if here.qos is Qos.BURSTABLE:
            found[BURSTABLE] = CpuSet(found[BURSTABLE] | own)
        for place, part in enumerate(parts[number]):
            found[ContainerCgroup(here, str(place), f"{number}-{place}")] = CpuSet(part & own) or pool
    return found


@pytest.mark.parametrize("seed", range(200))
def test_where_a_pod_comes_goes_or_is_resized_no_set_leaves_out_what_those_right_below_have(seed):
    """Kernels before 5.17 refuse that with EBUSY, as they do with opencontainers/runc#1635."""
    draw = random.Random(seed)
    owner = [draw.randrange(5) for _ in range(15)]
    classes = [draw.choice((Qos.GUARANTEED, Qos.BURSTABLE)) for _ in range(4)]
    parts = [[draw.getrandbits(16) for _ in range(draw.randrange(4))] for _ in range(4)]
    changed = draw.randrange(1, 5)
    without = [0 if number == changed else number for number in owner]
    less = [number if draw.random() < 0.5 else 0 for number in owner]
    more = [changed if number == 0 and draw.random() < 0.5 else number for number in owner]
    before, after = draw.choice(((owner, without), (without, owner), (owner, less), (owner, more)))
    written = planned(before, classes, parts)
    wanted = planned(after, classes, parts)
    writes = order_writes(
        {cgroup: CgroupValues(cpus) for cgroup, cpus in written.items()},
        {cgroup: CgroupTarget(cpus) for cgroup, cpus in wanted.items()},
        pool=CpuSet(sum(1 << cpu for cpu, number in enumerate(after, 1) if not number) | 1),
        everything=EVERYTHING,
    )
    for write in writes:
        assert write.cpus is not None
        written[write.cgroup] = write.cpus
        assert not any(
            cpus & ~write.cpus for cgroup, cpus in written.items() if parent(cgroup) == write.cgroup
        )
    assert written == wanted


@st.composite
def wild_situations(draw):
    """Any sets seen, any wanted, also children's outside their parents', and any CPUs offline."""
    cpus = st.integers(1, 255).map(CpuSet)
    seen: dict[CgroupRef, CgroupValues] = {BURSTABLE: CgroupValues(draw(st.none() | cpus))}
    for number in range(draw(st.integers(1, 4))):
        here = PodCgroup(f"p{number}", draw(st.sampled_from((Qos.GUARANTEED, Qos.BURSTABLE))))
        below = (
            ContainerCgroup(here, name, here.uid + name) for name in draw(st.sets(st.sampled_from("abc")))
        )
        seen[here] = CgroupValues(draw(st.none() | cpus))
        seen |= {cgroup: CgroupValues(draw(st.none() | cpus)) for cgroup in below}
    wanted = {
        cgroup: CgroupTarget(draw(cpus))
        for cgroup in seen
        if isinstance(cgroup, ContainerCgroup) or draw(st.booleans())
    }
    return seen, wanted, draw(cpus), draw(cpus)


@settings(deadline=None, max_examples=500)
@given(wild_situations())
def test_the_writes_come_to_an_end_whatever_is_wanted_and_offline(situation):
    seen, wanted, pool, online = situation
    kernel = Kernel({cgroup: values.cpus for cgroup, values in seen.items()}, online)
    writes = order_writes(seen, wanted, pool=pool, everything=online)
    assert len(writes) <= 8 * len(wanted)
    for write in writes:
        kernel.run(write)
    assert {cgroup: kernel.written[cgroup] for cgroup in wanted} == {
        cgroup: target.cpus for cgroup, target in wanted.items()
    }


def test_a_container_whose_only_cpu_is_offline_waits_for_nobody():
    """As the kernel has it, it runs on all CPUs of its pod, and the writes end."""
    db, other = container("db"), container("other")
    seen = at(
        (pod("db"), CgroupValues(None)), (db, cpus("0-1")), (pod("other"), cpus("1-2")), (other, cpus("2"))
    )
    wanted = at(
        (pod("db"), want("0,2-3")), (db, want("2")), (pod("other"), want("0-1,3")), (other, want("1"))
    )
    writes = order_writes(seen, wanted, pool=cpuset.parse("0,3"), everything=cpuset.parse("0,2"))
    kernel = Kernel({cgroup: values.cpus for cgroup, values in seen.items()}, cpuset.parse("0,2"))
    for write in writes:
        kernel.run(write)
    assert kernel.effective(other) == cpuset.parse("0")
    assert kernel.written[other] == cpuset.parse("1")
    assert kernel.effective(db) == cpuset.parse("2")


@pytest.mark.parametrize("pods", [2, 16, 64])
@pytest.mark.parametrize(
    "whose",
    [lambda number, _: number ^ 1, lambda number, pods: (number + 1) % pods, lambda number, _: number - 1],
    ids=["pairs", "one cycle", "one cycle the other way"],
)
def test_many_cycles_come_to_an_end(pods, whose):
    """A node on which every container has the CPU that another one should have."""
    pool, everything = cpuset.parse("0-1"), CpuSet((1 << pods + 2) - 1)
    seen: dict[CgroupRef, CgroupValues] = {}
    wanted: dict[CgroupRef, CgroupTarget] = {}
    for number in range(pods):
        another = whose(number, pods) % pods
        for cgroup in (pod(f"p{number:03}"), container(f"p{number:03}")):
            shared = pool if isinstance(cgroup, PodCgroup) else cpuset.EMPTY
            seen[cgroup] = CgroupValues(CpuSet(1 << another + 2 | shared))
            wanted[cgroup] = CgroupTarget(CpuSet(1 << number + 2 | shared))
    kernel = Kernel({cgroup: values.cpus for cgroup, values in seen.items()}, everything)
    writes = order_writes(seen, wanted, pool=pool, everything=everything)
    holders = {
        cpu: {cgroup}
        for cgroup, values in seen.items()
        if isinstance(cgroup, ContainerCgroup)
        for cpu in cpuset.ids(values.cpus or cpuset.EMPTY)
    }
    for write in writes:
        kernel.run(write)
        if isinstance(write.cgroup, ContainerCgroup):
            for cpu in cpuset.ids(write.losses):
                holders.get(cpu, set()).discard(write.cgroup)
            for cpu in cpuset.ids(CpuSet(write.gains & ~pool)):
                assert not holders[cpu], f"CPU {cpu} is open to two containers"
                holders[cpu].add(write.cgroup)
    assert kernel.written == {cgroup: target.cpus for cgroup, target in wanted.items()}
    assert len(writes) <= 4 * len(wanted)
