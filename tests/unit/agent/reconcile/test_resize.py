"""A pod is resized while it runs: a new grant for cgroups that have the former one."""

import asyncio
import contextlib
import itertools

import pytest
from podnuma.agent.cgroups.writers.refusals import WriteRefused
from podnuma.agent.model.cgroup_ref import QosCgroup
from podnuma.agent.reconcile.contention import REPAIRS
from podnuma.agent.status.allocation_status import compute_status
from podnuma.allocator import cpuset
from podnuma.allocator.request import Qos
from podnuma.api.pod_allocation_status import Phase, PodAllocationStatus

BURSTABLE = QosCgroup(Qos.BURSTABLE)


@pytest.fixture
def shape(words):
    """Return the grant of a budget, by its CPUs and those of the slice; the rest is the pool."""

    def made(whole, own, quota=None):
        rest = cpuset.render(cpuset.parse(whole) & ~cpuset.parse(own))
        count = cpuset.parse(whole).bit_count() * 100_000
        return words.pod(
            "db",
            words.container("db", own) if own else words.container("db", rest, quota or 150_000),
            words.container("log", rest, count),
            cpus=whole,
            quota=count,
        )

    return made


@pytest.fixture
def db(bench, shape):
    bench.settings(reserved="0,8")
    bench.grant(shape("1-2,9-10", "1-2,9"))
    pod = bench.pod("db")
    cgroups = pod, bench.start(pod, "db"), bench.start(pod, "log")
    bench.run_pass()
    return cgroups


def watch(bench, pod):
    """Note at every write which CPUs of the pod are open to the QoS slices as well."""
    seen = []

    def look(write):
        del write
        bench.kernel.settle(bench.layout.kubepods)
        shared = cpuset.parse(bench.effective(BURSTABLE))
        seen.append((shared, [cpuset.parse(bench.effective(cgroup)) for cgroup in pod[1:]]))

    bench.ways.refuse = look
    return seen


def test_growing_takes_the_others_off_first(bench, shape, db):
    pod, own, log = db
    seen = watch(bench, db)
    bench.grant(shape("1-3,9-11", "1-3,9,11"), 2)
    snapshot = bench.run_pass()
    assert (bench.cpus(own), bench.cpus(log)) == ("1-3,9,11", "10")
    assert bench.file(pod, "cpu.max") == "600000 100000"
    assert bench.file(own, "cpu.max") == "max 100000"
    assert all(not shared & (first | second) for shared, (first, second) in seen)
    assert snapshot.intrusions == ()
    assert set(snapshot.differences.values()) == {None}


def test_shrinking_gives_them_back_after_they_are_left(bench, shape, db):
    pod, own, log = db
    bench.put(pod, "cpu.max", "300000 100000")  # the kubelet lowers the pod's quota first
    seen = watch(bench, db)
    bench.grant(shape("1-2,9", "1,9"), 2)
    bench.run_pass()
    assert (bench.cpus(own), bench.cpus(log)) == ("1,9", "2")
    assert bench.file(pod, "cpu.max") == "300000 100000"
    # CPU 10 goes to the shared pool by way of the container that leaves it for CPU 2.
    assert all(not shared & (first | second) for shared, (first, second) in seen)
    assert cpuset.parse(bench.effective(BURSTABLE)) & cpuset.parse("10")


def test_a_slice_becomes_shared_and_exclusive_again(bench, shape, db):
    _, own, log = db
    bench.grant(shape("1-2,9-10", ""), 2)
    bench.run_pass()
    assert bench.cpus(own) == bench.cpus(log) == "1-2,9-10"
    assert bench.file(own, "cpu.max") == "150000 100000"
    bench.grant(shape("1-2,9-10", "1-2,9"), 3)
    bench.run_pass()
    assert (bench.cpus(own), bench.cpus(log)) == ("1-2,9", "10")
    assert bench.file(own, "cpu.max") == "max 100000"


def test_a_restart_between_decision_and_writes_ends_at_the_same_values(bench_class, tmp_path_factory, shape):
    ends = set()
    for stop_after in range(6):
        bench = bench_class(tmp_path_factory.mktemp("node"))
        bench.settings(reserved="0,8")
        bench.grant(shape("1-2,9-10", "1-2,9"))
        pod = bench.pod("db")
        own, log = bench.start(pod, "db"), bench.start(pod, "log")
        bench.run_pass()
        bench.grant(shape("1-3,9-11", "1-3,9,11"), 2)
        left = itertools.count()

        def die(write, left=left, stop_after=stop_after):
            del write
            if next(left) >= stop_after:
                raise KeyboardInterrupt

        bench.ways.refuse = die
        with contextlib.suppress(KeyboardInterrupt):
            bench.run_pass()
        bench.ways.refuse = lambda _: None
        bench.run_pass()
        ends.add((bench.cpus(own), bench.cpus(log), bench.file(pod, "cpu.max")))
    assert ends == {("1-3,9,11", "10", "600000 100000")}


def test_the_kubelets_quota_of_a_pod_is_set_right_at_once_and_neither_contended_nor_a_repair(bench, db):
    pod, _, _ = db
    for number in range(4 * REPAIRS):
        bench.now += 1
        bench.put(pod, "cpu.max", f"{300_000 + number * 1000} 100000")
        bench.run_pass()
        assert bench.file(pod, "cpu.max") == "400000 100000"
    assert bench.reconciler.snapshot.contended == {}
    assert bench.observer.repairs == []


def test_what_the_kubelet_changed_in_a_container_before_its_new_decision_is_no_repair_either(
    bench, words, db
):
    _, _, log = db
    for number in range(4 * REPAIRS):
        bench.now += 5
        quota = 200_000 + number * 1000
        bench.put(log, "cpu.max", f"{quota} 100000")
        bench.run_pass()
        bench.now += 1
        grant = words.pod(
            "db",
            words.container("db", "1-2,9"),
            words.container("log", "10", quota),
            cpus="1-2,9-10",
            quota=400_000,
        )
        bench.grant(grant, 2 + number)
        bench.run_pass()
        assert bench.file(log, "cpu.max") == f"{quota} 100000"
    assert bench.reconciler.snapshot.contended == {}
    assert bench.observer.repairs == []


def test_voided_huge_page_limits_come_back_in_the_same_pass_and_are_counted(bench, db):
    pod, own, _ = db
    (bench.root / bench.layout.kubepods / "hugetlb.1GB.max").write_text("max\n")
    bench.put(own, "hugetlb.1GB.max", str(2**30))
    bench.put(pod, "hugetlb.1GB.max", "0")
    bench.run_pass()
    assert bench.file(pod, "hugetlb.1GB.max") == str(2**30)
    assert bench.observer.huge_pages_restored == 1


def test_an_update_by_the_runtime_keeps_the_memory_nodes_that_the_kernel_has(bench, words, db):
    _, own, _ = db
    bench.put(own, "cpuset.mems", "1")
    bench.put(own, "memory.current", str(2**40))
    grant = words.pod("db", words.container("db", "1-2,9", mems="0"), cpus="1-2,9-10", quota=400_000)
    bench.grant(grant, 2)
    bench.run_pass()
    assert bench.hook.update_begins(own).mems == 1 << 1
    assert bench.hook.values(own).mems == 1 << 0


@pytest.fixture
def nothing(words):
    """What a pod has that was resized to hold nothing: quotas, and the shared pool."""
    return words.pod(
        "db", words.container("db", None, 150_000), words.container("log", None, 350_000), quota=350_000
    )


def test_who_holds_nothing_any_more_shares_and_gets_its_quotas_back(bench, nothing, db):
    pod, own, log = db
    assert bench.file(own, "cpu.max") == "max 100000"
    seen = watch(bench, db)
    bench.grant(nothing, 2)
    snapshot = bench.run_pass()
    assert [bench.file(each, "cpu.max") for each in db] == [
        "350000 100000",
        "150000 100000",
        "350000 100000",
    ]
    assert cpuset.parse(bench.cpus(own)) == cpuset.parse(bench.cpus(log)) == snapshot.accepted.pool
    assert all(first | second for _, (first, second) in seen)
    again = bench.hook.update_begins(own)
    assert (again.cpus, again.cpu_max.quota) == (snapshot.accepted.pool, 150_000)
    assert pod in snapshot.targets
    written = len(bench.ways.written)
    bench.run_pass()
    assert len(bench.ways.written) == written


def test_what_a_slice_gives_up_nobody_gets_while_the_runtime_may_give_it_back(bench, shape, db):
    """The kubelet's own update was answered before the decision came, and is applied after it."""
    own = db[1]
    answered = bench.hook.update_begins(own)
    assert cpuset.render(answered.cpus) == "1-2,9"
    bench.grant(shape("1-2", "1"), 2)
    asyncio.run(bench.reconciler.run_pass_if(lambda: True, bench.reconciler.mechanisms, cpuset.EMPTY))
    assert bench.cpus(own) == "1"
    assert not cpuset.parse(bench.effective(BURSTABLE)) & answered.cpus
    bench.put(own, "cpuset.cpus", "1-2,9")  # the runtime applies its answer
    bench.hook.update_ended(own.id)
    bench.run_pass()
    assert cpuset.parse(bench.effective(BURSTABLE)) & cpuset.parse("9-10") == cpuset.parse("9-10")
    assert bench.cpus(own) == "1"
    assert bench.observer.repairs == [], "it was the agent's own answer"
    bench.put(own, "cpuset.cpus", "1-2")
    bench.run_pass()
    assert bench.observer.repairs == [own]


def test_an_update_opens_no_cpus_that_others_are_still_on(bench, shape, db):
    """The shared pool could not be taken off them in the last pass."""
    own = db[1]

    def refuse(write):
        if write.losses:
            raise WriteRefused("the slice", "cpuset.cpus", "not now")

    bench.ways.refuse = refuse
    bench.grant(shape("1-3,9-11", "1-3,9,11"), 2)
    bench.run_pass()
    assert bench.cpus(own) == "1-2,9"
    assert cpuset.render(bench.hook.update_begins(own).cpus) == "1-2,9"


def test_who_never_held_anything_keeps_the_quotas_of_its_kubelet_beside_those_who_do(bench, words, db):
    assert db
    bench.grant(words.pod("web", words.container("web", None, 150_000), quota=150_000))
    pod = bench.pod("web")
    web = bench.start(pod, "web", "70000 100000")
    bench.put(pod, "cpu.max", "70000 100000")
    bench.run_pass()
    assert bench.file(web, "cpu.max") == bench.file(pod, "cpu.max") == "70000 100000"
    assert bench.hook.update_begins(web) is None


def test_a_pod_that_holds_nothing_any_more_is_applied_when_the_kernel_has_that_and_not_before(
    bench, words, nothing, db
):
    own = db[1]

    def refuse(write):
        if write.cgroup == own:
            raise words.refused(f"{own.id}/cpuset.cpus", "0,3-15", "EBUSY, the kernel is busy")

    def status(before):
        (wanted,) = bench.desired.allocations()
        return compute_status(wanted, before, bench.run_pass(), bench.reconciler.verdicts)

    before = status(PodAllocationStatus())
    assert before.phase is Phase.APPLIED
    bench.ways.refuse = refuse
    bench.grant(nothing, 2)
    drifted = status(before)
    assert drifted.phase is Phase.DRIFTED
    assert drifted.observed_generation == 2
    bench.ways.refuse = lambda _: None
    assert status(drifted).phase is Phase.APPLIED
