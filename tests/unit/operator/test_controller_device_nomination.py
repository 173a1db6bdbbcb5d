"""Gated pods with claims: nominated where their devices are free near free CPUs, and never kept waiting."""

from __future__ import annotations

import pytest
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey
from podnuma.plumbing.kube import errors

from testbed import dra
from tests.unit.operator.fake_cluster import no_fault
from tests.unit.operator.rig import Rig, pod
from tests.unit.operator.virtual import virtual

GPU = "gpu.example.com"
GATE = "podnuma.dev/placement"
REQUESTS = ("get DeviceClass", "get ResourceClaim", "list ResourceSlice")


def gated(name="db", cpus=4, claim="gpu"):
    value = pod(name, cpus)
    del value["spec"]["nodeName"]
    value["spec"]["schedulingGates"] = [{"name": GATE}]
    return dra.use_claim(value, claim) if claim else value


async def placing(devices, **spec):
    """Return a cluster with these nodes, each with devices by name and NUMA node."""
    rig = Rig(1, placement=True)
    await rig.furnished(*devices, placement="BeforeBinding", **spec)
    rig.cluster.device_classes[GPU] = dra.device_class(GPU)
    for name, own in devices.items():
        if own:
            rig.cluster.slices.append(dra.resource_slice(GPU, name, own))
    return rig


def put_claim(rig, name="gpu", count=1, **exactly):
    claim = dra.resource_claim(name, "default", GPU, count)
    claim["spec"]["devices"]["requests"][0]["exactly"].update(exactly)
    rig.cluster.claims[ObjectKey("default", name)] = claim
    return claim


def allocate(rig, name, node, *devices):
    results = [{"request": "device", "driver": GPU, "pool": node, "device": one} for one in devices]
    rig.cluster.claims[ObjectKey("default", name)]["status"] = {
        "allocation": {"devices": {"results": results}}
    }


def stored(rig, name="db"):
    return rig.cluster.get(Kind.POD, ObjectKey("default", name))


def nominated(rig, name="db"):
    value = stored(rig, name)
    assert value["spec"]["schedulingGates"] == [], f"{name} is still gated"
    return value["status"].get("nominatedNodeName")


def asked(rig):
    return [request for request in rig.cluster.requests if request.startswith(REQUESTS)]


@virtual
async def test_a_node_without_free_devices_is_not_nominated_while_another_has_them():
    rig = await placing({"n1": {}, "n2": {"a": 0, "b": 0}, "n3": {"c": 0}})
    put_claim(rig, "other", 2)
    allocate(rig, "other", "n2", "a", "b")
    put_claim(rig)
    await rig.create(gated())
    assert nominated(rig) == "n3"
    assert rig.told("DevicesNotJudged") == []


@virtual
async def test_the_node_is_nominated_where_free_cpus_are_near_free_devices():
    """n1 would be the best by packing, but its device is at the NUMA node that is full."""
    rig = await placing({"n1": {"a": 0}, "n2": {"b": 0}})
    await rig.create(pod("full", 6, on="n1"))
    assert rig.allocation("full")["spec"]["memoryNodes"] == "0"
    await rig.create(gated("plain", claim=""))
    assert nominated(rig, "plain") == "n1"
    await rig.delete("plain")
    put_claim(rig)
    await rig.create(gated())
    assert nominated(rig) == "n2"


@virtual
async def test_devices_on_one_numa_node_are_better_than_as_many_on_two():
    rig = await placing({"n1": {"a": 0, "b": 1}, "n2": {"c": 1, "d": 1}}, topologyManagerPolicy="best-effort")
    put_claim(rig, count=2)
    await rig.create(gated())
    assert nominated(rig) == "n2"


@virtual
async def test_what_others_took_since_the_last_pass_is_not_free():
    rig = await placing({"n1": {"a": 0, "b": 0}, "n2": {"c": 0}})
    put_claim(rig, "first")
    await rig.create(gated("first", claim="first"))
    assert nominated(rig, "first") == "n1"
    allocate(rig, "first", "n1", "a")
    put_claim(rig, "other")
    allocate(rig, "other", "n1", "b")
    put_claim(rig, "second")
    await rig.create(gated("second", claim="second"))
    assert nominated(rig, "second") == "n2"


@virtual
async def test_two_pods_of_one_pass_are_not_sent_to_the_same_last_device():
    rig = await placing({"n1": {"a": 0}, "n2": {"b": 0}})
    for name in ("first", "second"):
        put_claim(rig, name)
        rig.cluster.put(Kind.POD, gated(name, claim=name))
    await rig.quiet()
    assert {nominated(rig, "first"), nominated(rig, "second")} == {"n1", "n2"}


@virtual
async def test_what_a_nominated_pod_takes_is_counted_once_when_its_claim_has_it():
    rig = await placing({"n1": {"a": 0, "b": 1}})
    put_claim(rig, "first")
    await rig.create(gated("first", claim="first"))
    allocate(rig, "first", "n1", "a")
    put_claim(rig, "second")
    await rig.create(gated("second", claim="second"))
    assert nominated(rig, "second") == "n1"
    assert rig.told("DevicesNotJudged") == []


@pytest.mark.parametrize("seconds", [0, 61])
@virtual
async def test_a_nomination_that_came_to_nothing_is_not_expected_for_ever(seconds):
    """The first pod is deleted, or is never bound."""
    rig = await placing({"n1": {"a": 0}})
    put_claim(rig, "first")
    await rig.create(gated("first", claim="first"))
    if not seconds:
        await rig.delete("first")
    await rig.quiet(seconds)
    put_claim(rig, "second")
    await rig.create(gated("second", claim="second"))
    assert nominated(rig, "second") == "n1"
    assert rig.told("DevicesNotJudged") == []


@virtual
async def test_pods_that_share_a_claim_do_not_take_its_devices_twice():
    rig = await placing({"n1": {"a": 0}, "n2": {"b": 0}})
    put_claim(rig)
    await rig.create(gated("first"))
    await rig.create(gated("second"))
    assert "ResourceClaim default/gpu is about to be allocated" in rig.told("DevicesNotJudged")[0]
    put_claim(rig, "own")
    await rig.create(gated("third", claim="own"))
    assert nominated(rig, "third") != nominated(rig, "first")


@virtual
async def test_a_pod_whose_devices_are_free_nowhere_is_nominated_nowhere_and_told():
    """The cluster autoscaler adds a node only for a pod that has no nominated one."""
    rig = await placing({"n1": {"a": 0}, "n2": {}})
    put_claim(rig, count=2)
    await rig.create(gated())
    assert nominated(rig) is None
    (told,) = rig.told("DevicesNotJudged")
    why = "no node that could hold it has its devices free (2 of gpu.example.com)"
    assert told == f"No node is nominated: {why}"


@virtual
async def test_a_pod_that_every_node_would_refuse_with_its_devices_does_not_hang():
    """Under single-numa-node devices at two NUMA nodes are refused; a node with devices is taken then."""
    rig = await placing({"n1": {}, "n2": {"a": 0, "b": 1}})
    put_claim(rig, count=2)
    await rig.create(gated())
    assert nominated(rig) == "n2"
    (told,) = rig.told("DevicesNotJudged")
    assert "no node that has its devices free (2 of gpu.example.com) would admit it with them" in told


@pytest.mark.parametrize(
    ("exactly", "why"),
    [
        ({"allocationMode": "All"}, "ResourceClaim default/gpu: request device has allocationMode All"),
        ({"adminAccess": True}, "request device has adminAccess"),
        (
            {"selectors": [{"cel": {"expression": "device.attributes['x'].y == 1"}}]},
            "selector device.attributes['x'].y == 1 is the scheduler's to judge",
        ),
        ({"deviceClassName": "none"}, "DeviceClass none not found"),
    ],
)
@virtual
async def test_a_claim_that_cannot_be_judged_changes_nothing_but_what_is_said(exactly, why):
    rig = await placing({"n1": {}, "n2": {"a": 0}})
    put_claim(rig, **exactly)
    await rig.create(gated())
    assert nominated(rig) == "n1"
    assert why in rig.told("DevicesNotJudged")[0]
    assert [request for request in asked(rig) if request.startswith("list")] == []


@virtual
async def test_shared_devices_are_not_judged():
    rig = await placing({"n1": {}, "n2": {"a": 0}})
    rig.cluster.slices[0]["spec"]["devices"][0]["allowMultipleAllocations"] = True
    put_claim(rig)
    await rig.create(gated())
    assert nominated(rig) == "n1"
    assert "has devices that several claims share" in rig.told("DevicesNotJudged")[0]


@virtual
async def test_a_pod_waits_a_moment_for_the_claim_of_its_template_and_no_longer():
    rig = await placing({"n1": {}, "n2": {"a": 0}})
    await rig.create(gated())
    assert stored(rig)["spec"]["schedulingGates"] == [{"name": GATE}]
    put_claim(rig)
    await rig.quiet(1)
    assert nominated(rig) == "n2"
    await rig.create(gated("late", claim="never"))
    await rig.quiet(6)
    assert nominated(rig, "late") == "n1"
    assert "a ResourceClaim that it names does not exist" in rig.told("DevicesNotJudged")[0]


@virtual
async def test_claims_that_may_not_be_read_keep_no_pod():
    rig = await placing({"n1": {}, "n2": {"a": 0}})
    put_claim(rig)

    def forbidden(_moment, request):
        if request.startswith(REQUESTS):
            raise errors.RefusedError(403, "Forbidden", "deviceclasses is forbidden")

    rig.cluster.fault = forbidden
    await rig.create(gated())
    rig.cluster.fault = no_fault
    assert nominated(rig) == "n1"
    assert "deviceclasses is forbidden" in rig.told("DevicesNotJudged")[0]


@virtual
async def test_without_claims_nothing_is_read():
    rig = await placing({"n1": {}, "n2": {"a": 0}})
    await rig.create(gated(claim=""))
    assert nominated(rig) == "n1"
    assert asked(rig) == []


@virtual
async def test_claims_and_slices_are_listed_once_in_a_pass():
    rig = await placing({"n1": {str(number): number % 2 for number in range(8)}})
    for number in range(3):
        put_claim(rig, f"c{number}")
        rig.cluster.put(Kind.POD, gated(f"p{number}", 2, claim=f"c{number}"))
    rig.cluster.requests.clear()
    await rig.quiet()
    assert sum(request.startswith("list") for request in asked(rig)) == 1
    assert sum(request.startswith("get DeviceClass") for request in asked(rig)) == 1


EXTENDED = "example.com/gpu"


def asking(resource=EXTENDED, count="1", name="db"):
    """A gated pod that asks for devices as for those of a device plugin."""
    value = gated(name, claim="")
    amounts = value["spec"]["containers"][0]["resources"]
    for part in ("requests", "limits"):
        amounts[part][resource] = count
    return value


async def serving(devices, **spec):
    """Return a cluster whose devices have a class that serves an extended resource; their nodes have none."""
    rig = await placing(devices, **spec)
    rig.cluster.device_classes[GPU]["spec"]["extendedResourceName"] = EXTENDED
    for name in devices:
        known = rig.cluster.get(Kind.NODE, ObjectKey("", name))
        allocatable = {"cpu": "64", "memory": "64Gi", "pods": "110"}
        rig.cluster.put(Kind.NODE, {**known, "status": {"allocatable": allocatable}})
    await rig.quiet()
    return rig


@pytest.mark.parametrize("resource", [EXTENDED, f"deviceclass.resource.kubernetes.io/{GPU}"])
@virtual
async def test_an_extended_resource_of_a_class_is_one_of_claims_and_not_of_the_nodes(resource):
    """No node has it in its books, as the scheduler makes a claim for it: the pod waited for ever."""
    rig = await serving({"n1": {}, "n2": {"a": 0}})
    await rig.create(asking(resource))
    assert nominated(rig) == "n2"
    assert rig.told("DevicesNotJudged") == rig.told("WaitsForNode") == []
    assert rig.allocation() is None


@virtual
async def test_devices_of_a_class_that_are_taken_are_not_promised_a_second_time():
    rig = await serving({"n1": {"a": 0}, "n2": {"b": 0}})
    for name in ("db", "other", "third"):
        await rig.create(asking(name=name))
    assert {nominated(rig, "db"), nominated(rig, "other")} == {"n1", "n2"}
    assert nominated(rig, "third") is None
    assert len(rig.told("DevicesNotJudged")) == 1


@virtual
async def test_where_a_device_plugin_has_the_resource_nodes_count_it():
    rig = await serving({"n1": {}, "n2": {}})
    known = rig.cluster.get(Kind.NODE, ObjectKey("", "n2"))
    allocatable = {**known["status"]["allocatable"], EXTENDED: "1"}
    rig.cluster.put(Kind.NODE, {**known, "status": {"allocatable": allocatable}})
    await rig.quiet()
    taken = pod("a", 2, on="n2")
    taken["spec"]["containers"][0]["resources"]["requests"][EXTENDED] = "1"
    taken["spec"]["containers"][0]["resources"]["limits"][EXTENDED] = "1"
    await rig.create(taken)
    await rig.create(asking())
    assert nominated(rig) is None  # n1 has no device, the one of n2 is taken


@virtual
async def test_a_resource_that_no_class_serves_is_waited_for():
    rig = await serving({"n1": {"a": 0}})
    await rig.create(asking("example.com/nic"))
    assert stored(rig)["spec"]["schedulingGates"] == [{"name": GATE}]
    assert len(rig.told("WaitsForNode")) == 1


@virtual
async def test_without_a_look_at_classes_pods_wait_as_before():
    rig = await serving({"n1": {"a": 0}})

    def refusing(moment, request):
        if moment == "before" and request == "list DeviceClass":
            raise errors.RefusedError(403, "Forbidden", "deviceclasses is forbidden")

    rig.cluster.fault = refusing
    await rig.create(asking())
    assert len(rig.told("WaitsForNode")) == 1
    rig.cluster.fault = no_fault
    await rig.create(pod("a", 2))
    await rig.quiet(15)
    await rig.delete("a")
    assert nominated(rig) == "n1"
