"""Steps are read here as a kernel would run them: cgroup v2 rules, one step after the other."""

from dataclasses import dataclass, field
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st
from podnuma.agent.plan.order import order
from podnuma.agent.plan.places import (
    Bandwidth,
    ContainerPlace,
    Place,
    PodPlace,
    Qos,
    QosPlace,
    Step,
    Values,
    Wish,
    parent,
)
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.cpuset import CpuSet

BURSTABLE = QosPlace(Qos.BURSTABLE)
EVERYTHING = cpuset.parse("0-15")
T = TypeVar("T")


@dataclass
class Kernel:
    """What cgroup v2 makes of written sets."""

    written: dict[Place, CpuSet | None]
    everything: CpuSet = EVERYTHING
    history: list[Step] = field(default_factory=list)

    def effective(self, place: Place | None) -> CpuSet:
        if place is None:
            return self.everything
        above = self.effective(parent(place))
        own = self.written.get(place)
        return above if own is None else CpuSet(own & above or above)

    def run(self, step: Step) -> None:
        if step.cpus is not None:
            before = self.effective(step.place)
            self.written[step.place] = step.cpus
            after = self.effective(step.place)
            assert step.gains == after & ~before
            assert step.losses == before & ~after
        self.history.append(step)


def pod(uid: str) -> PodPlace:
    return PodPlace(uid, Qos.GUARANTEED)


def container(uid: str, name: str = "c") -> ContainerPlace:
    return ContainerPlace(pod(uid), name, f"{uid}-{name}")


def cpus(text: str) -> Values:
    return Values(cpuset.parse(text))


def want(text: str) -> Wish:
    return Wish(cpuset.parse(text))


def at(*pairs: tuple[Place, T]) -> dict[Place, T]:
    return dict(pairs)


def spelled(steps: tuple[Step, ...]) -> list[tuple[Place, str]]:
    return [(step.place, cpuset.render(step.cpus)) for step in steps if step.cpus is not None]


def test_shared_places_shrink_before_a_new_container_grows():
    db = container("db")
    seen = at((BURSTABLE, Values(None)), (pod("db"), Values(None)), (db, Values(None)))
    wanted = at((BURSTABLE, want("0-1,4-15")), (pod("db"), want("0-15")), (db, want("2-3")))
    steps = order(seen, wanted, pool=cpuset.parse("0-1,4-15"), everything=EVERYTHING)
    assert spelled(steps) == [(db, "2-3"), (BURSTABLE, "0-1,4-15"), (pod("db"), "0-15")]


def test_on_release_the_pool_grows_after_the_container_let_go():
    db = container("db")
    seen = at((BURSTABLE, cpus("0-1,4-15")), (pod("db"), cpus("0-15")), (db, cpus("2-3")))
    wanted = at((BURSTABLE, want("0-15")), (pod("db"), want("0-15")), (db, want("0-15")))
    steps = order(seen, wanted, pool=EVERYTHING, everything=EVERYTHING)
    assert spelled(steps) == [(BURSTABLE, "0-15"), (db, "0-15")]


def test_pod_grows_before_its_container():
    db = container("db")
    seen = at((pod("db"), cpus("0-1")), (db, cpus("0-1")))
    wanted = at((pod("db"), want("0-3")), (db, want("2-3")))
    steps = order(seen, wanted, pool=cpuset.parse("0-1"), everything=EVERYTHING)
    assert spelled(steps) == [(pod("db"), "0-3"), (db, "2-3")]


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
    steps = order(seen, wanted, pool=cpuset.parse("0-1"), everything=EVERYTHING)
    moves = [(place, text) for place, text in spelled(steps) if isinstance(place, ContainerPlace)]
    assert moves[0] == (container("a"), "0-1")
    assert set(moves[1:]) == {(container("a"), "2-3"), (container("b"), "4-5")}


def test_memory_nodes_and_bandwidth_ride_on_the_last_write_of_their_place():
    db = container("db")
    bandwidth = Bandwidth(None, 100_000)
    wish = Wish(cpuset.parse("2-3"), nodeset.parse("0"), bandwidth)
    steps = order(at((db, cpus("2"))), at((db, wish)), pool=cpuset.parse("0"), everything=EVERYTHING)
    assert steps == (Step(db, cpuset.parse("2-3"), nodeset.parse("0"), bandwidth, gains=cpuset.parse("3")),)


def test_quota_alone_is_a_step_of_its_own():
    db = container("db")
    bandwidth = Bandwidth(300_000, 100_000)
    seen = at((db, Values(cpuset.parse("2-3"), None, Bandwidth(None, 100_000))))
    wanted = at((db, Wish(cpuset.parse("2-3"), None, bandwidth)))
    steps = order(seen, wanted, pool=cpuset.parse("0"), everything=EVERYTHING)
    assert steps == (Step(db, bandwidth=bandwidth),)


def test_a_wish_for_a_place_that_is_gone_makes_no_step():
    assert order({}, at((container("db"), want("2"))), pool=cpuset.parse("0"), everything=EVERYTHING) == ()


def test_a_set_with_an_offline_cpu_is_written_as_wished():
    db = container("db")
    online = cpuset.parse("0-2,4-15")
    steps = order(
        at((pod("db"), Values(None)), (db, Values(None))),
        at((pod("db"), want("0-3")), (db, want("2-3"))),
        pool=cpuset.parse("0-1"),
        everything=online,
    )
    kernel = Kernel(at((pod("db"), None), (db, None)), online)
    for step in steps:
        kernel.run(step)
    assert kernel.written == at((pod("db"), cpuset.parse("0-3")), (db, cpuset.parse("2-3")))


@st.composite
def situations(draw):
    """Any sets seen, and wanted ones as a plan makes them: a pool, disjoint pods, containers within them.

    Some of the pods are guests of a slice, as is one that holds nothing. CPUs may be offline, but never all
    of a place.
    """
    reserved = draw(st.integers(1, 3))
    owner = draw(st.lists(st.integers(0, 4), min_size=16 - reserved, max_size=16 - reserved))
    sets = [0] * 5
    for cpu, number in enumerate(owner, reserved):
        sets[number] |= 1 << cpu
    pool = CpuSet(sets[0] | (1 << reserved) - 1)
    anything = st.none() | st.integers(1, (1 << 16) - 1).map(CpuSet)
    seen: dict[Place, Values] = {BURSTABLE: Values(draw(anything))}
    wanted: dict[Place, Wish] = {BURSTABLE: Wish(pool)}
    for number, own in enumerate(sets[1:]):
        here = PodPlace(f"p{number}", draw(st.sampled_from((Qos.GUARANTEED, Qos.BURSTABLE))))
        if here.qos is Qos.BURSTABLE:
            wanted[BURSTABLE] = Wish(CpuSet((wanted[BURSTABLE].cpus or pool) | own))
        seen[here] = Values(draw(anything))
        wanted[here] = Wish(CpuSet(own | pool))
        for name in draw(st.sets(st.sampled_from("abc"), max_size=3)):
            below = ContainerPlace(here, name, f"{here.uid}-{name}")
            seen[below] = Values(draw(anything))
            part = CpuSet(draw(st.integers(0, (1 << 16) - 1)) & own)
            wanted[below] = Wish(part or pool)
    if draw(st.booleans()):
        beside = PodPlace("beside", Qos.BURSTABLE)
        seen[beside] = Values(draw(anything))
        wanted[beside] = Wish(pool)
    online = EVERYTHING & ~draw(st.just(0) | st.integers(0, (1 << 16) - 1))
    for wish in wanted.values():
        online |= 0 if wish.cpus is None or wish.cpus & online else wish.cpus
    return seen, wanted, pool, CpuSet(online)


def above(place: Place) -> list[Place]:
    """The places that one lies in."""
    found = []
    while (higher := parent(place)) is not None:
        found.append(place := higher)
    return found


def overlaps(kernel: Kernel, wanted: dict[Place, Wish], pool: CpuSet) -> set[tuple[Place, Place, int]]:
    """Pairs of unrelated places that hold one CPU outside the pool, one of them without a right to it."""
    found = set()
    places = list(wanted)
    held = {place: kernel.effective(place) for place in places}
    for one in places:
        for other in places:
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
    kernel = Kernel({place: values.cpus for place, values in seen.items()}, online)
    before = overlaps(kernel, wanted, pool)
    for step in order(seen, wanted, pool=pool, everything=online):
        kernel.run(step)
        now = overlaps(kernel, wanted, pool)
        assert now <= before
        before = now
    assert not before


@settings(deadline=None, max_examples=300)
@given(situations())
def test_no_step_is_empty_and_all_lead_to_what_is_wanted(situation):
    seen, wanted, pool, online = situation
    kernel = Kernel({place: values.cpus for place, values in seen.items()}, online)
    for step in order(seen, wanted, pool=pool, everything=online):
        assert step.cpus != 0
        assert step.cpus is not None
        kernel.run(step)
    assert kernel.written == {place: wish.cpus for place, wish in wanted.items()}
    assert all(kernel.effective(place) == (wish.cpus or 0) & online for place, wish in wanted.items())


@settings(deadline=None, max_examples=100)
@given(situations())
def test_applying_twice_changes_nothing(situation):
    _, wanted, pool, online = situation
    applied = {place: Values(wish.cpus) for place, wish in wanted.items()}
    assert order(applied, wanted, pool=pool, everything=online) == ()
