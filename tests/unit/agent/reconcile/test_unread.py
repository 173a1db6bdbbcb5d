"""What pods hold by the values of their cgroups alone."""

import pytest
from podnuma.agent.model.cgroup_ref import ContainerCgroup, PodCgroup, QosCgroup
from podnuma.agent.model.cgroup_values import CgroupValues, CpuMax
from podnuma.agent.reconcile.unread import grants_in_force
from podnuma.allocator import cpuset
from podnuma.allocator.request import Qos

POD = PodCgroup("u", Qos.GUARANTEED)


def values(cpus, quota=None):
    return CgroupValues(cpuset.parse(cpus) if cpus else None, cpu_max=CpuMax(quota, 100_000))


def seen(burstable="0-3,8-11", best_effort="0-3,8-11", pod="0-3,6-11,14-15", **containers):
    slices = {Qos.BURSTABLE: burstable, Qos.BEST_EFFORT: best_effort}
    return (
        {QosCgroup(qos): values(cpus) for qos, cpus in slices.items()}
        | {POD: values(pod, 250_000)}
        | {ContainerCgroup(POD, name, f"id-{name}"): found for name, found in containers.items()}
    )


def grant(found):
    (only,) = grants_in_force([(POD, "shop", "db")], found)
    return only


def test_a_budget_is_what_the_pod_has_beyond_the_shared_pool():
    found = grant(seen(db=values("6,14"), side=values("7,15", 50_000), debug=values("0-3,8-11")))
    assert (found.uid, found.namespace, found.name) == ("u", "shop", "db")
    assert cpuset.render(found.exclusive_cpus) == "6-7,14-15"
    assert {one.name: one.cpus and cpuset.render(one.cpus) for one in found.containers} == {
        "db": "6,14",
        "side": "7,15",
        "debug": None,
    }
    assert [one.cpu_quota for one in found.containers] == [-1, 50_000, -1]
    assert found.pod_quota == 250_000


def test_a_container_of_a_pod_without_a_set_holds_what_it_has():
    assert cpuset.render(grant(seen(pod="", db=values("6,14"))).exclusive_cpus) == "6,14"


def test_what_the_slice_of_a_burstable_holder_has_more_than_the_other_is_no_pool():
    found = grant(seen(burstable="0-3,6,8-11,14", pod="0-3,6,8-11,14", db=values("6,14")))
    assert cpuset.render(found.exclusive_cpus) == "6,14"


@pytest.mark.parametrize(
    "found",
    [
        seen(pod="0-3,8-11", db=values("0-3,8-11")),
        seen(burstable="", db=values("6,14")),
        {ContainerCgroup(POD, "db", "id"): values("6,14")},
    ],
    ids=["in the pool", "nothing was ever held", "slices gone"],
)
def test_a_pod_in_the_shared_pool_holds_nothing(found):
    assert grants_in_force([(POD, "shop", "db")], found) == ()
