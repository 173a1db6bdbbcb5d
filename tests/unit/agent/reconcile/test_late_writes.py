"""What this agent asked for and got no answer to may come late; it is nobody else's doing."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.agent.cgroups.writers.refusals import NotAnswered, WriteRefused
from podnuma.agent.model.cgroup_ref import ContainerCgroup, PodCgroup
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupValues, CgroupWrite, CpuMax
from podnuma.agent.reconcile.apply import WriteOutcome, WriteResult
from podnuma.agent.reconcile.late_writes import ANSWERED, LATEST, LateWrites
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.request import Qos

APP = ContainerCgroup(PodCgroup("uid-1", Qos.GUARANTEED), "app", "id-app")
CPUS = st.none() | st.integers(1, 7).map(cpuset.CpuSet)
MEMS = st.none() | st.integers(1, 3).map(nodeset.NodeSet)
QUOTAS = st.none() | st.sampled_from(
    [CpuMax(None, 100_000), CpuMax(50_000, 100_000), CpuMax(80_000, 100_000)]
)


def left(write, outcome=WriteOutcome.REFUSED, by="NRI", at=0.0):
    late = LateWrites()
    late.left([WriteResult(write, outcome, by=by)], at)
    return late


@given(st.tuples(CPUS, MEMS, QUOTAS), st.tuples(CPUS, MEMS, QUOTAS), st.tuples(CPUS, MEMS, QUOTAS))
def test_a_late_write_is_known_by_all_its_values_of_which_one_is_not_wanted(asked, wanted, there):
    late, target, values = left(CgroupWrite(APP, *asked)), CgroupTarget(*wanted), CgroupValues(*there)
    said = [
        (one, other, now) for one, other, now in zip(asked, wanted, there, strict=True) if one is not None
    ]
    without = CpuMax(None, 100_000)
    all_there = all(
        one == (now or (without if isinstance(one, CpuMax) and one.quota is None else now))
        for one, _, now in said
    )
    unwanted = any(other is not None and one != other for one, other, _ in said)
    assert late.landed({APP: target}, {APP: values}, 1.0) == ([APP] if all_there and unwanted else [])


@pytest.mark.parametrize(
    ("outcome", "by", "at", "expected"),
    [
        (WriteOutcome.REFUSED, "CRI", 0.0, True),
        (WriteOutcome.REFUSED, "CRI", LATEST - 1, True),
        (WriteOutcome.REFUSED, "CRI", LATEST, False),
        (WriteOutcome.REFUSED, "", 0.0, False),
        (WriteOutcome.HELD_BACK, "", 0.0, False),
        (WriteOutcome.DONE, "CRI", 0.0, False),
    ],
)
def test_only_what_somebody_was_asked_for_without_a_yes_is_expected_and_not_for_ever(
    outcome, by, at, expected
):
    write = CgroupWrite(APP, cpuset.parse("4-5"))
    target, values = CgroupTarget(cpuset.parse("4-7")), CgroupValues(cpuset.parse("4-5"))
    late = left(write, outcome, by)
    assert late.landed({APP: target}, {APP: values}, at) == ([APP] if expected else [])


def test_what_a_runtime_was_answered_is_expected_for_a_while_and_after_a_lost_answer_for_longer():
    write = CgroupWrite(APP, cpuset.parse("4-5"))
    target, values = CgroupTarget(cpuset.parse("4-7")), CgroupValues(cpuset.parse("4-5"))
    late = LateWrites()
    late.answered([write], 0.0)
    assert late.landed({APP: target}, {APP: values}, ANSWERED - 1) == [APP]
    assert late.landed({APP: target}, {APP: values}, ANSWERED) == []
    late = left(write)
    late.answered([write], 1.0)
    assert late.landed({APP: target}, {APP: values}, LATEST - 1) == [APP]


def test_nothing_is_kept_of_a_cgroup_that_is_gone():
    late = left(CgroupWrite(APP, cpuset.parse("4-5")))
    assert late.landed({}, {}, 1.0) == []
    target, values = CgroupTarget(cpuset.parse("4-7")), CgroupValues(cpuset.parse("4-5"))
    assert late.landed({APP: target}, {APP: values}, 1.0) == []


@pytest.mark.parametrize("others", ["1-2,9-10", "1-3,9-11"])
@pytest.mark.parametrize(
    "lost",
    [
        NotAnswered("db", "cpus 1-2,9-10", "no answer in time"),
        WriteRefused("db", "update", "the connection to the runtime ended"),
    ],
    ids=["not answered", "connection ended"],
)
def test_what_comes_long_after_its_answer_was_lost_is_no_drift_and_what_others_write_is(
    bench, words, caplog, lost, others
):
    pod = bench.pod("db")
    cgroup = bench.start(pod, "db")
    before = words.pod("db", words.container("db", "1,9"))
    meanwhile = words.pod("db", words.container("db", "1-2,9-10"))

    def loses(write):
        if write.cgroup == cgroup:
            raise lost

    bench.grant(before)
    bench.run_pass()
    bench.run_pass()
    bench.grant(meanwhile, generation=2)
    bench.ways.refuse = loses
    bench.run_pass()
    bench.ways.refuse = lambda _: None
    bench.grant(before, generation=3)
    for _ in range(3):
        bench.run_pass()
    bench.put(cgroup, "cpuset.cpus", others)
    bench.run_pass()
    own = others == "1-2,9-10"
    assert bench.cpus(cgroup) == "1,9", "it is set right all the same"
    assert bench.observer.repairs == ([] if own else [cgroup])
    assert ("had been changed" in caplog.text) is not own


def test_an_own_write_that_is_carried_out_late_is_nobody_elses_doing(bench, words, caplog):
    """It gave way to a container's start, and the decision that it came from was taken back meanwhile."""
    pod = bench.pod("db")
    cgroup = bench.start(pod, "db")
    before = words.pod("db", words.container("db", "1,9"))
    meanwhile = words.pod("db", words.container("db", "1-2,9-10"))

    async def life():
        under_way = asyncio.get_running_loop().create_future()

        def gives_way(write):
            if write.cgroup == cgroup:
                raise WriteRefused("db", "update", "a container began to start", under_way=under_way)

        bench.grant(before)
        await bench.reconciler.run_pass()
        await bench.reconciler.run_pass()
        bench.grant(meanwhile, generation=2)
        bench.ways.refuse = gives_way
        await bench.reconciler.run_pass()
        bench.ways.refuse = lambda _: None
        bench.grant(before, generation=3)
        passing = asyncio.create_task(bench.reconciler.run_pass())
        for _ in range(10):
            await asyncio.sleep(0)
        bench.put(cgroup, "cpuset.cpus", "1-2,9-10")
        under_way.set_result(None)
        await passing
        await bench.reconciler.run_pass()

    asyncio.run(life())
    assert bench.cpus(cgroup) == "1,9"
    assert bench.observer.repairs == []
    assert "had been changed" not in caplog.text
