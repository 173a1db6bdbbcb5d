import pytest
from podnuma.agent.plan import wanted as plan
from podnuma.agent.plan.places import Bandwidth, ContainerPlace, Place, PodPlace, Qos, QosPlace, Values, Wish
from podnuma.allocator import cpuset, nodeset

EVERYTHING = cpuset.parse("0-15")
POD = PodPlace("db", Qos.GUARANTEED)
DB = ContainerPlace(POD, "db", "id-1")
LOG = ContainerPlace(POD, "log", "id-2")
OTHER = PodPlace("other", Qos.GUARANTEED)


@pytest.fixture
def node(words):
    def make(*containers, pool="0,3-8,11-15", **more):
        grant = words.pod("db", *containers, **more)
        return plan.Node(EVERYTHING, cpuset.parse(pool), {"db": grant}, movable=1000)

    return make


def test_a_mixed_pod_keeps_its_quota_and_its_exclusive_container_has_none(node, words):
    db, log = words.container("db", "1,9"), words.container("log", "2,10", 400_000)
    wishes = plan.wanted(
        node(db, log, cpus="1-2,9-10", quota=400_000),
        {POD: words.values(), DB: words.values(), LOG: words.values()},
    )
    assert wishes[DB] == Wish(cpuset.parse("1,9"), None, Bandwidth(None, 100_000))
    assert wishes[LOG] == Wish(cpuset.parse("2,10"), None, Bandwidth(400_000, 100_000))
    assert wishes[POD].bandwidth == Bandwidth(400_000, 100_000)
    assert wishes[POD].cpus is None, "all CPUs are its own or shared, and nothing was written"
    assert wishes[QosPlace(Qos.BURSTABLE)] == Wish(cpuset.parse("0,3-8,11-15"))


def test_a_pod_whose_containers_are_all_exclusive_has_no_quota(node, words):
    wishes = plan.wanted(node(words.container("db", "1,9"), cpus="1,9"), {POD: words.values()})
    assert wishes[POD].bandwidth == Bandwidth(None, 100_000)


def test_a_managed_pod_is_kept_off_the_cpus_of_others(node, words):
    with_another = node(words.container("db", "1,9"), cpus="1,9", pool="0,4-8,12-15")
    wishes = plan.wanted(with_another, {POD: words.values(), OTHER: words.values()})
    assert wishes[POD].cpus == cpuset.parse("0-1,4-9,12-15")
    assert wishes[OTHER].cpus == cpuset.parse("0,4-8,12-15")


def test_a_container_of_no_grant_is_left_alone_unless_an_earlier_grant_left_a_set(node, words):
    app, pinned = ContainerPlace(OTHER, "app", "id-3"), ContainerPlace(OTHER, "old", "id-4")
    seen: dict[Place, Values] = {OTHER: words.values(), app: words.values(), pinned: words.values("2-3")}
    wishes = plan.wanted(node(words.container("db", "1,9"), cpus="1,9"), seen)
    assert app not in wishes
    assert wishes[pinned] == Wish(cpuset.parse("0,3-8,11-15"))


def test_a_burstable_pod_follows_its_slice(node, words):
    pod = PodPlace("web", Qos.BURSTABLE)
    seen: dict[Place, Values] = {pod: words.values(), ContainerPlace(pod, "web", "id-5"): words.values()}
    wishes = plan.wanted(node(words.container("db", "1,9"), cpus="1,9"), seen)
    assert set(wishes) == {QosPlace(Qos.BURSTABLE), QosPlace(Qos.BEST_EFFORT)}


@pytest.mark.parametrize("qos", [Qos.BURSTABLE, Qos.BEST_EFFORT])
def test_the_slice_of_a_guest_is_wider_and_everybody_else_in_it_is_confined(node, words, qos):
    guest, web = PodPlace("db", qos), PodPlace("web", qos)
    inside = ContainerPlace(guest, "db", "id-1")
    grant = node(words.container("db", "1,9"), cpus="1-2,9-10", pool="0,3-8,11-15", quota=400_000)
    seen: dict[Place, Values] = {guest: words.values(), web: words.values(), inside: words.values()}
    wishes = plan.wanted(grant, seen)
    pool = cpuset.parse("0,3-8,11-15")
    other = Qos.BEST_EFFORT if qos is Qos.BURSTABLE else Qos.BURSTABLE
    assert QosPlace(qos) not in wishes, "its guest's CPUs and the pool are the whole machine"
    assert wishes[QosPlace(other)] == Wish(pool)
    assert wishes[web] == Wish(pool)
    assert wishes[guest].bandwidth == Bandwidth(400_000, 100_000)
    assert wishes[inside].cpus == cpuset.parse("1,9")


def test_a_guest_opens_its_slice_to_its_own_cpus_and_not_to_those_of_others(words):
    guest = words.pod("guest", words.container("a", "2"), cpus="2")
    holder = words.pod("db", words.container("db", "1"), cpus="1")
    grants = {"guest": guest, "db": holder}
    node = plan.Node(EVERYTHING, cpuset.parse("0,3-15"), grants, movable=1000)
    seen: dict[Place, Values] = {PodPlace("guest", Qos.BURSTABLE): words.values(), POD: words.values()}
    wishes = plan.wanted(node, seen)
    assert wishes[QosPlace(Qos.BURSTABLE)] == Wish(cpuset.parse("0,2-15"))
    assert wishes[QosPlace(Qos.BEST_EFFORT)] == Wish(cpuset.parse("0,3-15"))


def test_what_was_confined_beside_a_guest_follows_the_pool_when_the_guest_is_gone(node, words):
    web = PodPlace("web", Qos.BURSTABLE)
    seen: dict[Place, Values] = {web: words.values("0,5-15")}
    wishes = plan.wanted(node(words.container("db", "1,9"), cpus="1,9"), seen)
    assert wishes[web] == wishes[QosPlace(Qos.BURSTABLE)] == Wish(cpuset.parse("0,3-8,11-15"))


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
    values = Values(None, effective_mems=nodeset.parse(effective), resident=resident)
    wish = plan.wanted(node(words.container("db", "1,9", mems="0"), cpus="1,9"), {DB: values})[DB]
    assert wish.mems == (nodeset.parse(now) if now else None)
    assert wish.deferred_mems == (nodeset.parse(later) if later else None)


def test_a_container_starts_with_the_values_it_would_be_given(node, words):
    asked = node(words.container("db", "1,9", mems="0", memory_limit=2**30), cpus="1,9")
    start = plan.container_start(asked, DB)
    assert start == Wish(
        cpuset.parse("1,9"), nodeset.parse("0"), Bandwidth(None, 100_000), memory_limit=2**30
    )
    assert plan.container_start(asked, ContainerPlace(OTHER, "x", "id-6")) is None
