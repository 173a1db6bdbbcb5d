import pytest
from podnuma.agent.model.cgroup_ref import CgroupRef, QosCgroup
from podnuma.agent.model.cgroup_values import Available, CgroupTarget, CgroupValues, CgroupWrite, CpuMax
from podnuma.agent.plan.write_order import order_writes
from podnuma.agent.reconcile.verify import compare, unwritten
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.request import Qos

PLACE: CgroupRef = QosCgroup(Qos.BURSTABLE)
EVERYTHING = cpuset.parse("0-8,10-15")
AVAILABLE = Available(EVERYTHING)


def cpus(text):
    return cpuset.parse(text) if text else None


@pytest.mark.parametrize(
    ("written", "effective", "difference"),
    [
        ("1,9", "1", None),
        ("1,9", "1-2", "cpuset.cpus.effective is 1-2, wanted 1"),
        ("1", "1", "cpuset.cpus is 1, wanted 1,9"),
        (None, None, "cpuset.cpus.effective is empty, wanted 1"),
    ],
)
def test_effective_cpus_are_compared_with_what_is_online(written, effective, difference):
    seen = {PLACE: CgroupValues(cpus(written), effective_cpus=cpus(effective))}
    assert compare({PLACE: CgroupTarget(cpuset.parse("1,9"))}, seen, AVAILABLE) == {PLACE: difference}


def test_a_set_that_is_offline_as_a_whole_is_told():
    seen = {PLACE: CgroupValues(cpus("9"), effective_cpus=EVERYTHING)}
    assert compare({PLACE: CgroupTarget(cpuset.parse("9"))}, seen, AVAILABLE) == {
        PLACE: "cpuset.cpus: all of 9 are offline, or kubepods lacks them"
    }


def test_memory_nodes_and_bandwidth_are_compared_too():
    target = CgroupTarget(mems=nodeset.parse("0"), cpu_max=CpuMax(None, 100_000))
    right = CgroupValues(None, cpu_max=CpuMax(None, 100_000), effective_mems=nodeset.parse("0"))
    wrong_mems = CgroupValues(None, cpu_max=CpuMax(None, 100_000), effective_mems=nodeset.parse("0-1"))
    wrong_quota = CgroupValues(None, cpu_max=CpuMax(5, 100_000), effective_mems=nodeset.parse("0"))
    answers = [
        compare({PLACE: target}, {PLACE: seen}, AVAILABLE)[PLACE] for seen in (right, wrong_mems, wrong_quota)
    ]
    assert answers == [
        None,
        "cpuset.mems.effective is 0-1, wanted 0",
        "cpu.max is 5 100000, wanted max 100000",
    ]


@pytest.mark.parametrize(
    ("wanted", "there", "difference"),
    [
        (CpuMax(None, 100_000), CpuMax(None, 10_000), None),
        (CpuMax(None, 100_000), None, None),
        (CpuMax(200_000, 100_000), CpuMax(20_000, 10_000), "cpu.max is 20000 10000, wanted 200000 100000"),
        (CpuMax(200_000, 100_000), None, "cpu.max is nothing, wanted 200000 100000"),
    ],
)
def test_without_a_limit_neither_the_period_nor_a_kernel_without_quotas_differs(wanted, there, difference):
    """k3s-io/k3s#12655: no cpu.max in any cgroup."""
    seen = {PLACE: CgroupValues(None, cpu_max=there)}
    assert compare({PLACE: CgroupTarget(cpu_max=wanted)}, seen, AVAILABLE) == {PLACE: difference}
    write = CgroupWrite(PLACE, cpu_max=wanted)
    assert unwritten(write, seen[PLACE]) == difference
    writes = order_writes(seen, {PLACE: CgroupTarget(cpu_max=wanted)}, pool=EVERYTHING, everything=EVERYTHING)
    assert writes == (() if difference is None else (write,))


@pytest.mark.parametrize(
    ("wanted", "there", "right"),
    [
        (CpuMax(123_456, 100_000), CpuMax(124_000, 100_000), True),
        (CpuMax(41_700, 100_000), CpuMax(42_000, 100_000), True),
        (CpuMax(12_500, 100_000), CpuMax(12_500, 100_000), True),
        (CpuMax(6_250, 50_000), CpuMax(6_500, 50_000), True),
        (CpuMax(12_500, 100_000), CpuMax(14_000, 100_000), False),
        (CpuMax(12_500, 100_000), CpuMax(12_000, 100_000), False),
        (CpuMax(13_000, 100_000), CpuMax(14_000, 100_000), False),
        (CpuMax(12_500, 100_000), CpuMax(6_500, 50_000), False),
    ],
)
def test_a_quota_may_be_rounded_up_to_whole_percents_of_a_cpu(wanted, there, right):
    """opencontainers/runc#4622, kubernetes/kubernetes#129357: so do runtimes and kubelets with systemd."""
    seen = {PLACE: CgroupValues(None, cpu_max=there)}
    (difference,) = compare({PLACE: CgroupTarget(cpu_max=wanted)}, seen, AVAILABLE).values()
    writes = order_writes(seen, {PLACE: CgroupTarget(cpu_max=wanted)}, pool=EVERYTHING, everything=EVERYTHING)
    assert (difference is None, writes == ()) == (right, right)


@pytest.mark.parametrize(
    ("wanted", "effective", "difference"),
    [
        ("0-1", "0", None),
        ("0-1", "0-1", None),
        ("0,2", "0", "cpuset.mems.effective is 0, wanted 0,2"),
        ("1", "0", "cpuset.mems: no memory of 1 is there, or kubepods lacks it"),
    ],
)
def test_a_numa_node_without_memory_is_in_no_effective_set(wanted, effective, difference):
    target = CgroupTarget(mems=nodeset.parse(wanted))
    seen = {PLACE: CgroupValues(None, effective_mems=nodeset.parse(effective))}
    available = Available(EVERYTHING, memoryless=nodeset.parse("1"))
    assert compare({PLACE: target}, seen, available) == {PLACE: difference}


def test_what_does_not_exist_differs_in_nothing():
    assert compare({PLACE: CgroupTarget(cpuset.parse("1"))}, {}, AVAILABLE) == {}
