"""Pods with devices of device plugins: decided when the agent has told them, as the profile says."""

from typing import Any

from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey

from tests.unit.operator.fake_cluster import Json
from tests.unit.operator.rig import Rig, pod
from tests.unit.operator.virtual import virtual

NIC = "example.com/nic"


def with_devices(value: Json, count: int = 1, resource: str = NIC) -> Json:
    limits = {**value["spec"]["containers"][0]["resources"]["limits"], resource: str(count)}
    value["spec"]["containers"][0]["resources"] = {"requests": limits, "limits": limits}
    return value


def device(name: str, node: int | None, container: str = "main", resource: str = NIC) -> Json:
    where = {} if node is None else {"numaNodes": str(node)}
    return {"container": container, "resource": resource, "name": name, **where}


def tell(rig: Rig, *devices: Json, problem: str = "", name: str = "db") -> None:
    """Do what the agent does when it has asked the kubelet."""
    known = rig.cluster.get(Kind.ALLOCATION, ObjectKey("default", name))
    assert known is not None
    said = {
        "type": "DevicesKnown",
        "status": "False" if problem else "True",
        "reason": "NotRead" if problem else "Reported",
        "message": problem,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = {**known.get("status", {}), "conditions": [said], "devices": list(devices)}
    rig.cluster.put(Kind.ALLOCATION, {**known, "status": status})


async def furnished(**spec: Any) -> Rig:
    rig = Rig()
    await rig.furnished(**spec)
    return rig


def reason(rig: Rig, name: str = "db") -> str:
    found = rig.allocation(name)
    assert found is not None
    return str(found["spec"]["decision"]["reason"])


@virtual
async def test_a_pod_is_decided_when_its_devices_are_told_and_at_these():
    rig = await furnished()
    await rig.create(with_devices(pod()))
    found = rig.allocation()
    assert found is not None
    assert {**found["spec"]["decision"], "revision": "", "checksum": ""} == {
        "admitted": False,
        "reason": "DevicesPending",
        "generation": 0,
        "message": f"waits for the devices of {NIC} that the kubelet gives it",
        "revision": "",
        "checksum": "",
    }
    assert "finalizers" not in found["metadata"]
    tell(rig, device("nic-3", 1))
    await rig.quiet()
    found = rig.allocation()
    assert found is not None
    assert found["spec"]["cpus"] == "4-5,12-13"
    assert found["spec"]["memoryNodes"] == "1"
    assert found["spec"]["containers"][0]["devices"] == [{"resource": NIC, "name": "nic-3", "numaNodes": "1"}]
    (told,) = rig.told("Allocated")
    assert f"for {NIC} nic-3 (NUMA node 1)" in told
    assert rig.told("DevicesUnknown") == []
    assert b"podnuma_device_wait_seconds_count 1.0" in rig.metrics.exposition()[1]


@virtual
async def test_a_pod_that_waits_holds_nothing_and_is_neither_evicted_nor_marked_refused():
    rig = await furnished(onRejection="Evict")
    await rig.create(with_devices(pod()))
    await rig.quiet(600)
    assert reason(rig) == "DevicesPending"
    assert not any("evict" in request.lower() for request in rig.cluster.requests)
    known = rig.cluster.get(Kind.POD, ObjectKey("default", "db"))
    assert known is not None
    assert known["status"].get("conditions", []) == []
    topology = rig.topology()
    assert topology is not None
    assert topology["status"]["allocation"]["pods"] == 0
    assert topology["status"]["allocation"]["rejected"] == 0
    found = rig.allocation()
    assert found is not None
    assert found["status"]["phase"] == "Pending"


@virtual
async def test_a_pod_without_extended_resources_does_not_wait():
    rig = await furnished()
    await rig.create(pod())
    assert rig.cpus() == "1-2,9-10"


@virtual
async def test_a_pod_that_would_not_fit_without_its_devices_either_is_refused_at_once():
    rig = await furnished(onRejection="Share")
    await rig.create(with_devices(pod(cpus=16)))
    assert reason(rig) == "TopologyAffinityError"


@virtual
async def test_policy_none_does_not_ask_for_devices():
    rig = await furnished(topologyManagerPolicy="none", topologyManagerScope="container")
    await rig.create(with_devices(pod()))
    assert reason(rig) == "Admitted"


@virtual
async def test_a_pod_that_asks_for_nothing_exclusive_does_not_wait():
    rig = await furnished(memoryManagerPolicy="None", reservedMemory=[])
    value = with_devices(pod())
    del value["spec"]["resources"]
    half = {"cpu": "500m", "memory": "1Gi", NIC: "1"}
    value["spec"]["containers"] = [{"name": "main", "resources": {"requests": half, "limits": half}}]
    await rig.create(value)
    found = rig.allocation()
    assert found is None or found["spec"]["decision"]["admitted"]


@virtual
async def test_devices_without_a_numa_node_are_no_wish():
    rig = await furnished()
    await rig.create(with_devices(pod()))
    tell(rig, device("fuse", None))
    await rig.quiet()
    assert rig.cpus() == "1-2,9-10"
    found = rig.allocation()
    assert found is not None
    assert "devices" not in found["spec"]["containers"][0]
    assert rig.told("DevicesUnknown") == []


@virtual
async def test_an_extended_resource_that_no_plugin_serves_is_no_wish():
    rig = await furnished()
    await rig.create(with_devices(pod()))
    tell(rig)
    await rig.quiet()
    assert rig.cpus() == "1-2,9-10"
    assert rig.told("DevicesUnknown") == []


@virtual
async def test_devices_on_two_nodes_are_refused_by_single_numa_node_with_their_names():
    rig = await furnished(onRejection="Share")
    await rig.create(with_devices(pod(), 2))
    tell(rig, device("nic-0", 0), device("nic-4", 1))
    await rig.quiet()
    assert reason(rig) == "TopologyAffinityError"
    found = rig.allocation()
    assert found is not None
    assert f"{NIC} nic-0 (NUMA node 0), nic-4 (NUMA node 1)" in found["spec"]["decision"]["explanation"]
    assert found["status"]["phase"] == "Rejected"


@virtual
async def test_a_refused_pod_is_tried_again_with_the_devices_that_it_has():
    rig = await furnished(onRejection="Share")
    await rig.create(pod("first", 6))
    await rig.create(with_devices(pod(cpus=6)))
    tell(rig, device("nic-0", 0))
    await rig.quiet()
    assert reason(rig) == "TopologyAffinityError"
    await rig.delete("first")
    assert rig.cpus() == "1-3,9-11"


@virtual
async def test_what_the_kubelet_does_not_tell_is_decided_without_if_the_profile_says_so():
    rig = await furnished()
    await rig.create(with_devices(pod()))
    tell(rig, problem="the socket is missing")
    await rig.quiet()
    assert rig.cpus() == "1-2,9-10"
    (told,) = rig.told("DevicesUnknown")
    assert told == f"Decided without some devices: devices of {NIC} are not known: the socket is missing"


@virtual
async def test_what_the_kubelet_does_not_tell_is_waited_for_if_the_profile_says_so():
    rig = await furnished(onDevicesUnknown="Wait")
    await rig.create(with_devices(pod()))
    tell(rig, problem="the socket is missing")
    await rig.quiet(600)
    assert reason(rig) == "DevicesPending"
    (told,) = rig.told("DevicesUnknown")
    assert told == f"Waits: devices of {NIC} are not known: the socket is missing"
    tell(rig, device("nic-3", 1))
    await rig.quiet()
    assert rig.cpus() == "4-5,12-13"


@virtual
async def test_a_restart_of_the_operator_forgets_neither_that_a_pod_waits_nor_what_was_told():
    rig = await furnished()
    await rig.create(with_devices(pod()))
    await rig.crash()
    tell(rig, device("nic-3", 1))
    await rig.start()
    await rig.quiet()
    assert rig.cpus() == "4-5,12-13"


@virtual
async def test_a_decision_stays_when_the_plugin_comes_back_with_other_devices():
    rig = await furnished()
    await rig.create(with_devices(pod()))
    tell(rig, device("nic-3", 1))
    await rig.quiet()
    tell(rig, device("nic-9", 0))
    await rig.quiet()
    assert rig.cpus() == "4-5,12-13"
    assert rig.told("Restored") == []


@virtual
async def test_a_device_on_a_numa_node_that_the_machine_lacks_is_no_wish_and_is_told():
    rig = await furnished()
    await rig.create(with_devices(pod()))
    tell(rig, device("nic-3", 7))
    await rig.quiet()
    assert rig.cpus() == "1-2,9-10"
    (told,) = rig.told("DevicesUnknown")
    assert f"device {NIC} nic-3 is on NUMA node 7; the machine has 0-1" in told


@virtual
async def test_fewer_devices_than_the_container_asked_for_are_told():
    rig = await furnished()
    await rig.create(with_devices(pod(), 2))
    tell(rig, device("nic-3", 1))
    await rig.quiet()
    assert rig.cpus() == "4-5,12-13"
    assert f"the kubelet names 1 of 2 {NIC} of container main" in rig.told("DevicesUnknown")[0]


@virtual
async def test_a_pod_that_waits_and_goes_leaves_nothing():
    rig = await furnished()
    await rig.create(with_devices(pod()))
    await rig.delete("db")
    assert rig.allocation() is None
    await rig.create(with_devices(pod()))
    assert reason(rig) == "DevicesPending"
