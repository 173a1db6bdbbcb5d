"""Claims, what they got and where that is: exact where the objects are right, in words where they are not."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator import nodeset
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.device_claims import (
    AllocatedDevice,
    ClaimReference,
    DeviceSearch,
    read_allocated_devices,
    read_claim_references,
)

from tests.unit.api.objects import junk

GPU_0 = AllocatedDevice("gpu", "gpu.example.com", "node-1", "gpu-0")


def pod(**status):
    return {
        "metadata": {"name": "p", "namespace": "lab"},
        "spec": {
            "resourceClaims": [
                {"name": "own", "resourceClaimName": "shared-gpus"},
                {"name": "made", "resourceClaimTemplateName": "nics"},
            ],
            "initContainers": [
                {"name": "init", "resources": {"claims": [{"name": "own", "request": "gpu"}]}}
            ],
            "containers": [
                {"name": "main", "resources": {"claims": [{"name": "own"}, {"name": "made"}]}},
                {"name": "side"},
            ],
        },
        "status": status,
    }


def resource_slice(devices, *, generation=1, count=1, driver="gpu.example.com", pool="node-1"):
    return {
        "spec": {
            "driver": driver,
            "nodeName": "node-1",
            "pool": {"name": pool, "generation": generation, "resourceSliceCount": count},
            "devices": [{"name": name, "attributes": attributes} for name, attributes in devices.items()],
        }
    }


def numa(value, attribute="resource.kubernetes.io/numaNode"):
    return {attribute: value}


def looked_up(*slices, wanted=GPU_0):
    search = DeviceSearch(frozenset({wanted}))
    for one in slices:
        search.see(one)
    return search.device(wanted).nodes, list(search.problems())


def test_containers_use_claims_by_name_and_by_template():
    made = [{"name": "made", "resourceClaimName": "p-made-x7k2"}]
    assert read_claim_references(pod(resourceClaimStatuses=made)) == (
        ClaimReference("init", "shared-gpus", "gpu"),
        ClaimReference("main", "shared-gpus"),
        ClaimReference("main", "p-made-x7k2"),
    )


def test_a_claim_that_is_not_made_yet_has_no_name_and_one_that_is_not_needed_is_left_out():
    assert ClaimReference("main", "") in read_claim_references(pod())
    left_out = read_claim_references(pod(resourceClaimStatuses=[{"name": "made"}]))
    assert [one.claim for one in left_out] == ["shared-gpus", "shared-gpus"]


def test_extended_resources_that_a_claim_serves_are_uses_of_it():
    mapped = {
        "resourceClaimName": "p-extended-1",
        "requestMappings": [
            {
                "containerName": "main",
                "resourceName": "example.com/gpu",
                "requestName": "container-0-request-0",
            }
        ],
    }
    plain = {"spec": {"containers": [{"name": "main"}]}, "status": {"extendedResourceClaimStatus": mapped}}
    assert read_claim_references(plain) == (ClaimReference("main", "p-extended-1", "container-0-request-0"),)


def test_a_pod_without_claims_has_no_references():
    assert read_claim_references({"spec": {"containers": [{"name": "c"}]}, "status": {}}) == ()


def test_a_request_covers_the_choices_within_it():
    use = ClaimReference("main", "c", "gpu")
    assert use.covers("gpu")
    assert use.covers("gpu/large")
    assert not use.covers("gpu-2")
    assert ClaimReference("main", "c").covers("anything")


def test_allocated_devices_are_read_without_those_of_admin_access():
    results = [
        {"request": "gpu", "driver": "gpu.example.com", "pool": "node-1", "device": "gpu-0"},
        {
            "request": "all",
            "driver": "gpu.example.com",
            "pool": "node-1",
            "device": "gpu-1",
            "adminAccess": True,
        },
    ]
    claim = {"metadata": {"name": "c"}, "status": {"allocation": {"devices": {"results": results}}}}
    assert read_allocated_devices(claim) == (GPU_0,)
    assert read_allocated_devices({"metadata": {"name": "c"}, "status": {}}) is None
    assert read_allocated_devices({"metadata": {"name": "c"}, "status": {"allocation": {}}}) == ()


def test_a_claim_that_cannot_be_read_names_field_and_value():
    claim = {
        "metadata": {"name": "c"},
        "status": {"allocation": {"devices": {"results": [{"driver": 5, "pool": "p", "device": "d"}]}}},
    }
    with pytest.raises(InvalidObjectError, match=r"status.allocation.devices.results\[0\].driver 5"):
        read_allocated_devices(claim)


@pytest.mark.parametrize(
    ("attributes", "nodes"),
    [
        (numa({"int": 1}), [1]),
        (numa({"ints": [3, 2]}), [3]),
        (numa({"int": 0}, "dra.net/numaNode"), [0]),
        (numa({"int": 1}) | numa({"int": 0}, "dra.net/numaNode"), [1]),
        (numa({"int": -1}), []),
        ({}, []),
    ],
)
def test_numa_nodes_are_read_from_the_standard_attribute_then_from_older_ones(attributes, nodes):
    assert looked_up(resource_slice({"gpu-0": attributes})) == (nodeset.of(nodes), [])


@pytest.mark.parametrize("name", ["numaNode", "gpu.amd.com/numaNode"])
def test_what_a_driver_calls_its_own_counts_where_the_standard_attribute_is_missing(name):
    """ROCm/k8s-gpu-dra-driver#92."""
    gpu = AllocatedDevice("gpu", "gpu.amd.com", "node-1", "gpu-0")

    def found(attributes):
        return looked_up(resource_slice({"gpu-0": attributes}, driver="gpu.amd.com"), wanted=gpu)

    assert found({name: {"int": 1}}) == (nodeset.of([1]), [])
    assert found({name: {"int": 1}} | numa({"int": 0})) == (nodeset.of([0]), [])
    assert found({name: {"int": -1}}) == (nodeset.EMPTY, [])
    assert found({"nic.example.com/numaNode": {"int": 1}}) == (nodeset.EMPTY, [])


def test_a_driver_may_leave_its_own_domain_out():
    nic = AllocatedDevice("nic", "dra.net", "node-1", "eth1")
    found = looked_up(resource_slice({"eth1": {"numaNode": {"int": 1}}}, driver="dra.net"), wanted=nic)
    assert found == (nodeset.of([1]), [])


def test_only_the_highest_generation_of_a_pool_counts():
    old, new = (
        resource_slice({"gpu-0": numa({"int": 0})}),
        resource_slice({"gpu-0": numa({"int": 1})}, generation=2),
    )
    for order in ((old, new), (new, old)):
        assert looked_up(*order) == (nodeset.of([1]), [])


def test_slices_of_other_pools_and_drivers_say_nothing():
    other = resource_slice({"gpu-0": numa({"int": 0})}, pool="node-2")
    foreign = resource_slice({"gpu-0": numa({"int": 0})}, driver="nic.example.com")
    nodes, problems = looked_up(other, foreign)
    assert nodes == nodeset.EMPTY
    assert problems == [
        "device gpu.example.com node-1/gpu-0 is in no ResourceSlice of the node (0 of its pool seen)"
    ]


def test_two_slices_that_disagree_are_a_problem_and_no_wish():
    nodes, problems = looked_up(
        resource_slice({"gpu-0": numa({"int": 0})}, count=2),
        resource_slice({"gpu-0": numa({"int": 1})}, count=2),
    )
    assert nodes == nodeset.EMPTY
    assert problems == [
        "device gpu.example.com node-1/gpu-0: two ResourceSlices of generation 1 disagree, NUMA node 0 and 1"
    ]


def test_an_attribute_of_another_type_is_a_problem_with_field_and_value():
    nodes, problems = looked_up(resource_slice({"gpu-0": numa({"string": "one"})}))
    assert nodes == nodeset.EMPTY
    assert problems[0].endswith(
        'attribute resource.kubernetes.io/numaNode is string "one"; expected the int of a node'
    )


def test_an_incomplete_pool_is_named_as_such():
    _, problems = looked_up(resource_slice({}, count=3))
    assert problems[0].endswith("(1 of 3 of its pool seen)")


@given(junk)
def test_no_object_whatever_leads_to_another_error(value):
    search = DeviceSearch(frozenset({GPU_0}))
    search.see(value)
    search.see({"spec": value})
    search.see(resource_slice({"gpu-0": numa(value)}))
    list(search.problems())
    search.device(GPU_0)
    if isinstance(value, dict):
        read_claim_references(value)
        read_claim_references({"spec": value, "status": value})
    for claim in (value, {"status": value}, {"status": {"allocation": {"devices": {"results": value}}}}):
        with contextlib.suppress(InvalidObjectError):
            read_allocated_devices(claim)


@given(st.permutations([0, 1, 2, 3]))
def test_the_order_of_slices_makes_no_difference(order):
    slices = [
        resource_slice({"gpu-0": numa({"int": 0})}, generation=1),
        resource_slice({"gpu-1": numa({"int": 1})}, generation=2, count=3),
        resource_slice({"gpu-0": numa({"int": 1})}, generation=2, count=3),
        resource_slice({"gpu-2": numa({"int": 1})}, generation=2, count=3),
    ]
    assert looked_up(*(slices[place] for place in order)) == (nodeset.of([1]), [])
