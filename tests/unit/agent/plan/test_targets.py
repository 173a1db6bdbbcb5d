import pytest
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup, QosCgroup
from podnuma.agent.model.cgroup_values import CgroupTarget, CgroupValues, CpuMax
from podnuma.agent.plan.targets import PlanInput, compute_targets, start_target
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.request import Qos

EVERYTHING = cpuset.parse("0-15")
NODES = nodeset.parse("0-1")
POD = PodCgroup("db", Qos.GUARANTEED)
DB = ContainerCgroup(POD, "db", "id-1")
LOG = ContainerCgroup(POD, "log", "id-2")
OTHER = PodCgroup("other", Qos.GUARANTEED)


@pytest.fixture
def node(words):
    def make(*containers, pool="0,3-8,11-15", **more):
        grant = words.pod("db", *containers, **more)
        return PlanInput(EVERYTHING, cpuset.parse(pool), {"db": grant}, movable_bytes=1000, known_nodes=NODES)

    return make


def test_a_mixed_pod_keeps_its_quota_and_its_exclusive_container_has_none(node, words):
    db, log = words.container("db", "1,9"), words.container("log", "2,10", 400_000)
    targets = compute_targets(
        node(db, log, cpus="1-2,9-10", quota=400_000),
        {POD: words.values(), DB: words.values(), LOG: words.values()},
    )
    assert targets[DB] == CgroupTarget(cpuset.parse("1,9"), None, CpuMax(None, 100_000))
    assert targets[LOG] == CgroupTarget(cpuset.parse("2,10"), None, CpuMax(400_000, 100_000))
    assert targets[POD].cpu_max == CpuMax(400_000, 100_000)
    assert targets[POD].cpus is None, "all CPUs are its own or shared, and nothing was written"
    assert targets[QosCgroup(Qos.BURSTABLE)] == CgroupTarget(cpuset.parse("0,3-8,11-15"))


def test_a_pod_whose_containers_are_all_exclusive_has_no_quota(node, words):
    targets = compute_targets(node(words.container("db", "1,9"), cpus="1,9"), {POD: words.values()})
    assert targets[POD].cpu_max == CpuMax(None, 100_000)


def test_a_managed_pod_is_kept_off_the_cpus_of_others(node, words):
    with_another = node(words.container("db", "1,9"), cpus="1,9", pool="0,4-8,12-15")
    targets = compute_targets(with_another, {POD: words.values(), OTHER: words.values()})
    assert targets[POD].cpus == cpuset.parse("0-1,4-9,12-15")
    assert targets[OTHER].cpus == cpuset.parse("0,4-8,12-15")


def test_a_container_of_no_grant_is_left_alone_unless_an_earlier_grant_left_a_set(node, words):
    app, pinned = ContainerCgroup(OTHER, "app", "id-3"), ContainerCgroup(OTHER, "old", "id-4")
    seen: dict[CgroupRef, CgroupValues] = {
        OTHER: words.values(),
        app: words.values(),
        pinned: words.values("2-3"),
    }
    targets = compute_targets(node(words.container("db", "1,9"), cpus="1,9"), seen)
    assert app not in targets
    assert targets[pinned] == CgroupTarget(cpuset.parse("0,3-8,11-15"))


def test_a_burstable_pod_follows_its_slice(node, words):
    pod = PodCgroup("web", Qos.BURSTABLE)
    seen: dict[CgroupRef, CgroupValues] = {
        pod: words.values(),
        ContainerCgroup(pod, "web", "id-5"): words.values(),
    }
    targets = compute_targets(node(words.container("db", "1,9"), cpus="1,9"), seen)
    assert set(targets) == {QosCgroup(Qos.BURSTABLE), QosCgroup(Qos.BEST_EFFORT)}


@pytest.mark.parametrize("qos", [Qos.BURSTABLE, Qos.BEST_EFFORT])
def test_the_slice_of_a_burstable_holder_is_wider_and_everybody_else_in_it_is_confined(node, words, qos):
    burstable, web = PodCgroup("db", qos), PodCgroup("web", qos)
    inside = ContainerCgroup(burstable, "db", "id-1")
    grant = node(words.container("db", "1,9"), cpus="1-2,9-10", pool="0,3-8,11-15", quota=400_000)
    seen: dict[CgroupRef, CgroupValues] = {
        burstable: words.values(),
        web: words.values(),
        inside: words.values(),
    }
    targets = compute_targets(grant, seen)
    pool = cpuset.parse("0,3-8,11-15")
    other = Qos.BEST_EFFORT if qos is Qos.BURSTABLE else Qos.BURSTABLE
    assert QosCgroup(qos) not in targets, "its holder's CPUs and the pool are the whole machine"
    assert targets[QosCgroup(other)] == CgroupTarget(pool)
    assert targets[web] == CgroupTarget(pool)
    assert targets[burstable].cpu_max == CpuMax(400_000, 100_000)
    assert targets[inside].cpus == cpuset.parse("1,9")


def test_a_burstable_holder_opens_its_slice_to_its_own_cpus_and_not_to_those_of_others(words):
    burstable = words.pod("burstable", words.container("a", "2"), cpus="2")
    holder = words.pod("db", words.container("db", "1"), cpus="1")
    grants = {"burstable": burstable, "db": holder}
    node = PlanInput(EVERYTHING, cpuset.parse("0,3-15"), grants, movable_bytes=1000, known_nodes=NODES)
    seen: dict[CgroupRef, CgroupValues] = {
        PodCgroup("burstable", Qos.BURSTABLE): words.values(),
        POD: words.values(),
    }
    targets = compute_targets(node, seen)
    assert targets[QosCgroup(Qos.BURSTABLE)] == CgroupTarget(cpuset.parse("0,2-15"))
    assert targets[QosCgroup(Qos.BEST_EFFORT)] == CgroupTarget(cpuset.parse("0,3-15"))


def test_what_was_confined_beside_a_burstable_holder_follows_the_pool_when_the_holder_is_gone(node, words):
    web = PodCgroup("web", Qos.BURSTABLE)
    seen: dict[CgroupRef, CgroupValues] = {web: words.values("0,5-15")}
    targets = compute_targets(node(words.container("db", "1,9"), cpus="1,9"), seen)
    assert targets[web] == targets[QosCgroup(Qos.BURSTABLE)] == CgroupTarget(cpuset.parse("0,3-8,11-15"))


@pytest.mark.parametrize(
    ("resident", "effective", "now", "later"),
    [
        (0, "0-1", "0", None),
        (1000, "0-1", "0", None),
        (1001, "0-1", None, "0"),
        (10**9, "0", "0", None),
    ],
)
def test_memory_of_a_running_container_is_moved_only_if_it_is_little(
    node, words, resident, effective, now, later
):
    values = CgroupValues(None, effective_mems=nodeset.parse(effective), resident=resident)
    target = compute_targets(node(words.container("db", "1,9", mems="0"), cpus="1,9"), {DB: values})[DB]
    assert target.mems == (nodeset.parse(now) if now else None)
    assert target.deferred_mems == (nodeset.parse(later) if later else None)


def test_a_container_starts_with_the_values_it_would_be_given(node, words):
    asked = node(words.container("db", "1,9", mems="0", memory_limit=2**30), cpus="1,9")
    start = start_target(asked, DB)
    assert start == CgroupTarget(
        cpuset.parse("1,9"), nodeset.parse("0"), CpuMax(None, 100_000), memory_limit=2**30
    )
    assert start_target(asked, ContainerCgroup(OTHER, "x", "id-6")) is None
