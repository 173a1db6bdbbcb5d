"""NodeResourceTopologies say what is free per NUMA node, and are never taken from another writer."""

from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey

from tests.unit.operator.fake_cluster import Json
from tests.unit.operator.rig import Rig, node, pod
from tests.unit.operator.virtual import virtual


def available(rig: Rig, resource: str = "cpu", name: str = "n1") -> list[str]:
    """Return what each zone has left of a resource."""
    return [
        one["available"]
        for zone in rig.cluster.resource_topologies[name]["zones"]
        for one in zone["resources"]
        if one["name"] == resource
    ]


def requests(rig: Rig) -> list[str]:
    return [one for one in rig.cluster.requests if "NodeResourceTopology" in one]


@virtual
async def test_free_room_follows_pods_that_come_and_go():
    rig = Rig(export_resource_topologies=True)
    await rig.furnished()
    assert available(rig) == ["6", "8"]
    await rig.create(pod("db", 4))
    assert available(rig) == ["2", "8"]
    assert available(rig, "memory") == ["27Gi", "31Gi"]
    await rig.delete("db")
    assert available(rig) == ["6", "8"]


@virtual
async def test_nothing_is_written_unless_it_is_asked_for():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod())
    assert requests(rig) == []


@virtual
async def test_what_does_not_change_is_not_written_again():
    rig = Rig(export_resource_topologies=True)
    await rig.furnished()
    before = requests(rig)
    rig.cluster.put(Kind.NODE, node(pool="b"))
    await rig.create(pod("shared", 4) | {"status": {"phase": "Pending", "qosClass": "Burstable"}})
    assert requests(rig) == before


@virtual
async def test_a_new_leader_writes_each_object_once_and_a_resync_brings_deleted_ones_back():
    rig = Rig(export_resource_topologies=True)
    await rig.furnished()
    await rig.crash()
    rig.cluster.requests.clear()
    await rig.start()
    await rig.quiet()
    assert requests(rig) == ["apply NodeResourceTopology n1"]
    rig.cluster.resource_topologies.clear()
    rig.controller.resync()
    await rig.quiet()
    assert available(rig) == ["6", "8"]


@virtual
async def test_an_object_of_a_node_that_is_not_managed_any_more_goes_also_after_a_restart():
    for restarts in (False, True):
        rig = Rig(export_resource_topologies=True)
        await rig.furnished()
        if restarts:
            await rig.crash()
        rig.cluster.remove(Kind.PROFILE, ObjectKey("", "main"))
        if restarts:
            await rig.start()
        await rig.quiet()
        assert rig.cluster.resource_topologies == {}


def of_another() -> Json:
    return {"metadata": {"name": "n1", "uid": "theirs"}, "zones": [{"name": "node-0", "type": "Node"}]}


@virtual
async def test_the_object_of_another_writer_is_neither_changed_nor_deleted():
    rig = Rig(export_resource_topologies=True)
    rig.cluster.resource_topologies["n1"] = of_another()
    await rig.furnished()
    await rig.create(pod())
    assert rig.cpus() is not None
    rig.cluster.remove(Kind.PROFILE, ObjectKey("", "main"))
    await rig.quiet(700)
    assert rig.cluster.resource_topologies["n1"] == of_another()
    assert len(requests(rig)) < 10


@virtual
async def test_without_the_definition_pods_are_decided_and_it_is_asked_for_again_later():
    rig = Rig(export_resource_topologies=True)
    rig.cluster.resource_topologies_served = False
    await rig.furnished()
    await rig.create(pod())
    assert rig.cpus() is not None
    tried = len(requests(rig))
    await rig.quiet(100)
    assert len(requests(rig)) == tried
    rig.cluster.resource_topologies_served = True
    await rig.quiet(310)
    assert available(rig) == ["2", "8"]
