"""Pods with ResourceClaims: CPUs and memory at their devices; what is missing is said and asked for again."""

from typing import Any

from podnuma.allocator.device_hints import DeviceLocality
from podnuma.allocator.topology import NumaNode, Topology
from podnuma.operator.cache.objects import ObjectKey
from podnuma.plumbing.kube import errors

from tests.unit.operator.fake_cluster import Json
from tests.unit.operator.rig import GIB, Rig, machine, pod
from tests.unit.operator.virtual import virtual

DRIVER = "gpu.example.com"
CLAIM = ObjectKey("default", "gpus")


def allocated(*devices: str) -> Json:
    results = [
        {"request": "gpu", "driver": DRIVER, "pool": "n1", "device": device, "shareID": None}
        for device in devices
    ]
    return {"metadata": {"name": "gpus"}, "status": {"allocation": {"devices": {"results": results}}}}


def published(**nodes: int) -> Json:
    devices = [
        {"name": name, "attributes": {"resource.kubernetes.io/numaNode": {"int": node}}}
        for name, node in nodes.items()
    ]
    described = {"name": "n1", "generation": 1, "resourceSliceCount": 1}
    return {"spec": {"driver": DRIVER, "nodeName": "n1", "pool": described, "devices": devices}}


def with_claim(value: Json) -> Json:
    value["spec"]["resourceClaims"] = [{"name": "gpus", "resourceClaimName": "gpus"}]
    value["spec"]["containers"][0]["resources"]["claims"] = [{"name": "gpus"}]
    return value


async def furnished(claim: Json | None, *slices: Json, **spec: Any) -> Rig:
    rig = Rig()
    await rig.furnished(**spec)
    if claim is not None:
        rig.cluster.claims[CLAIM] = claim
    rig.cluster.slices += slices
    return rig


@virtual
async def test_cpus_and_memory_are_at_the_device_and_the_decision_names_it():
    rig = await furnished(allocated("gpu1"), published(gpu0=0, gpu1=1))
    await rig.create(with_claim(pod()))
    found = rig.allocation()
    assert found is not None
    assert found["spec"]["cpus"] == "4-5,12-13"
    assert found["spec"]["memoryNodes"] == "1"
    assert found["spec"]["containers"][0]["devices"] == [
        {"resource": DRIVER, "name": "n1/gpu1", "numaNodes": "1"}
    ]
    assert "devices" not in found["spec"]["containers"][1]
    assert f"for {DRIVER} n1/gpu1 (NUMA node 1)" in rig.told("Allocated")[0]
    now = rig.controller.snapshot(leading=True, term=1, watch_age=0.0)
    assert now.device_localities == {DeviceLocality.ALL: 1}


@virtual
async def test_a_pod_without_claims_costs_no_request():
    rig = await furnished(allocated("gpu1"), published(gpu1=1))
    await rig.create(pod())
    assert not [request for request in rig.cluster.requests if "Resource" in request]


@virtual
async def test_a_decision_with_devices_is_the_same_after_a_restart():
    rig = await furnished(allocated("gpu1"), published(gpu1=1))
    await rig.create(with_claim(pod()))
    before = rig.allocation()
    rig.cluster.slices.clear()
    await rig.crash()
    await rig.start()
    await rig.quiet()
    await rig.create(pod("other"))
    assert rig.allocation() == before
    rig.assert_sound()


@virtual
async def test_a_claim_without_allocation_makes_its_pod_wait_and_no_other():
    rig = await furnished({"metadata": {"name": "gpus"}, "status": {}}, published(gpu1=1))
    await rig.create(with_claim(pod()))
    await rig.create(pod("other", 2))
    assert rig.allocation() is None
    assert rig.cpus("other") is not None
    assert rig.told("DevicesUnknown") == ["Waits for ResourceClaim default/gpus, which has no allocation"]
    rig.cluster.claims[CLAIM] = allocated("gpu1")
    await rig.quiet(70)
    assert rig.cpus() == "4-5,12-13"


@virtual
async def test_a_claim_that_does_not_exist_is_asked_for_less_and_less_often():
    rig = await furnished(None)
    await rig.create(with_claim(pod()))
    await rig.quiet(600)
    asked = [request for request in rig.cluster.requests if request.startswith("get ResourceClaim")]
    assert 8 <= len(asked) <= 40
    assert rig.told("DevicesUnknown") == ["Waits for ResourceClaim default/gpus, which does not exist"]


@virtual
async def test_a_device_in_no_slice_is_no_wish_and_named():
    rig = await furnished(allocated("gpu7"), published(gpu1=1))
    await rig.create(with_claim(pod()))
    found = rig.allocation()
    assert found is not None
    assert found["spec"]["memoryNodes"] == "0"
    assert found["spec"]["containers"][0]["devices"] == [{"resource": DRIVER, "name": "n1/gpu7"}]
    assert f"device {DRIVER} n1/gpu7 is in no ResourceSlice" in rig.told("DevicesUnknown")[0]
    assert f"device {DRIVER} n1/gpu7 is in no ResourceSlice" in found["spec"]["decision"]["explanation"]


@virtual
async def test_a_numa_node_that_the_machine_lacks_is_named():
    rig = await furnished(allocated("gpu1"), published(gpu1=6))
    await rig.create(with_claim(pod()))
    assert rig.cpus() == "1-2,9-10"
    text = f"device {DRIVER} n1/gpu1 is on NUMA node 6; the machine has 0-1"
    assert rig.told("DevicesUnknown") == [f"Decided without some devices: {text}"]


@virtual
async def test_devices_on_two_numa_nodes_are_refused_with_that_reason():
    rig = await furnished(allocated("gpu0", "gpu1"), published(gpu0=0, gpu1=1), onRejection="Share")
    await rig.create(with_claim(pod()))
    found = rig.allocation()
    assert found is not None
    assert found["spec"]["decision"]["reason"] == "TopologyAffinityError"
    assert found["spec"]["decision"]["explanation"] == (
        f"pod: {DRIVER} n1/gpu0 (NUMA node 0), n1/gpu1 (NUMA node 1) need 2 NUMA nodes, "
        "single-numa-node allows one"
    )


@virtual
async def test_a_rejected_pod_is_decided_again_without_asking_for_its_claims_again():
    rig = await furnished(allocated("gpu0"), published(gpu0=0), onRejection="Share")
    await rig.create(pod("first", 6))
    await rig.create(with_claim(pod(cpus=6)))
    assert rig.cpus() == "-"
    await rig.delete("first")
    assert rig.cpus() == "1-3,9-11"
    assert len([request for request in rig.cluster.requests if "ResourceClaim" in request]) == 1


@virtual
async def test_an_operator_that_may_not_read_claims_decides_without_them():
    rig = await furnished(allocated("gpu1"), published(gpu1=1))

    def forbidden(moment: str, request: str) -> None:
        if moment == "before" and "ResourceClaim" in request:
            raise errors.RefusedError(403, "Forbidden", "resourceclaims is forbidden")

    rig.cluster.fault = forbidden
    await rig.create(with_claim(pod()))
    assert rig.cpus() == "1-2,9-10"
    assert "resourceclaims is forbidden" in rig.told("DevicesUnknown")[0]


@virtual
async def test_a_device_at_a_numa_node_without_cpus_is_near_the_nearest_and_the_decision_says_so():
    rig = Rig()
    cpus = machine().cpus
    nodes = [
        NumaNode(0, 32 * GIB, {}, (10, 21, 40)),
        NumaNode(1, 32 * GIB, {}, (21, 10, 17)),
        NumaNode(2, 8 * GIB, {}, (40, 17, 10)),
    ]
    await rig.furnished(hardware=Topology.build(cpus, nodes))
    rig.cluster.claims[CLAIM] = allocated("gpu2")
    rig.cluster.slices.append(published(gpu2=2))
    await rig.create(with_claim(pod()))
    found = rig.allocation()
    assert found is not None
    assert found["spec"]["cpus"] == "4-5,12-13"
    assert found["spec"]["decision"]["explanation"] == (
        f"device {DRIVER} n1/gpu2 is on NUMA node 2, which has no CPUs; nearest by distance: 1"
    )
    assert rig.told("DevicesUnknown") == []
