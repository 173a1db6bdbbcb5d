from podnuma.agent.model.cgroup_ref import ContainerCgroup, PodCgroup, QosCgroup, depth, describe, parent
from podnuma.allocator.request import Qos

BURSTABLE = QosCgroup(Qos.BURSTABLE)
GUARANTEED_POD = PodCgroup("u-1", Qos.GUARANTEED)
BURSTABLE_POD = PodCgroup("u-2", Qos.BURSTABLE)
DB = ContainerCgroup(GUARANTEED_POD, "db", "0123456789abcdef")


def test_guaranteed_pods_hang_directly_below_kubepods():
    assert parent(GUARANTEED_POD) is None
    assert parent(BURSTABLE_POD) == BURSTABLE
    assert parent(BURSTABLE) is None
    assert parent(DB) == GUARANTEED_POD
    assert [depth(cgroup) for cgroup in (BURSTABLE, GUARANTEED_POD, BURSTABLE_POD, DB)] == [0, 0, 1, 1]


def test_cgroups_are_named_for_people():
    assert describe(BURSTABLE) == "the burstable slice"
    assert describe(GUARANTEED_POD) == "pod u-1"
    assert describe(DB) == "container db (0123456789ab) of pod u-1"
