"""What is free: of each pool the newest generation, each device once, without what claims have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator import nodeset
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.device_inventory import DeviceInventory

from testbed import dra
from tests.unit.allocator.shapes import unhurried
from tests.unit.api.objects import junk

GPU = "gpu.example.com"


def claimed(*devices, name="c", pool="n1", **more):
    results = [
        {"request": "device", "driver": GPU, "pool": pool, "device": device, **more} for device in devices
    ]
    return {
        "metadata": {"name": name, "namespace": "lab"},
        "status": {"allocation": {"devices": {"results": results}}},
    }


def inventory(*slices, claims=()):
    found = DeviceInventory()
    for one in slices:
        found.see_slice(one)
    for one in claims:
        found.see_claim(one)
    return found


def free(*slices, claims=(), node="n1"):
    """Return the free devices of the driver by NUMA node, -1: at none."""
    counts = inventory(*slices, claims=claims).free(node).get(GPU, {})
    return {next(nodeset.ids(nodes), -1): count for nodes, count in counts.items()}


def changed(value, **device):
    value["spec"]["devices"][0].update(device)
    return value


def test_devices_are_counted_by_numa_node_less_those_that_claims_have():
    published = dra.resource_slice(GPU, "n1", {"a": 0, "b": 0, "c": 1, "d": None})
    assert free(published) == {0: 2, 1: 1, -1: 1}
    assert free(published, claims=[claimed("a"), claimed("c", "d")]) == {0: 1}
    assert free(published, claims=[claimed("a", pool="n2"), {"metadata": {"name": "d"}}]) == {
        0: 2,
        1: 1,
        -1: 1,
    }
    assert free(published, node="n2") == {}
    found = inventory(published, claims=[claimed("a", name="x")])
    assert found.allocated == {("lab", "x")}


def test_administrative_access_takes_no_device():
    published = dra.resource_slice(GPU, "n1", {"a": 0})
    assert free(published, claims=[claimed("a", adminAccess=True)]) == {0: 1}


def test_the_highest_generation_of_a_pool_counts_in_any_order():
    old = dra.resource_slice(GPU, "n1", {"a": 0, "b": 0}, generation=1)
    new = dra.resource_slice(GPU, "n1", {"a": 1}, generation=2)
    assert free(old, new) == free(new, old) == {1: 1}


def test_a_device_that_slices_repeat_is_one_and_at_no_numa_node_if_they_disagree():
    one = dra.resource_slice(GPU, "n1", {"a": 0, "b": 0})
    other = dra.resource_slice(GPU, "n1", {"a": 0, "b": 1})
    assert free(one, other) == {0: 1, -1: 1}


def test_the_scheduler_takes_nothing_of_a_pool_with_missing_slices_nor_what_is_tainted():
    partial = dra.resource_slice(GPU, "n1", {"a": 0})
    partial["spec"]["pool"]["resourceSliceCount"] = 2
    assert free(partial) == {}
    published = dra.resource_slice(GPU, "n1", {"a": 0, "b": 0})
    assert free(changed(published, taints=[{"key": "k", "effect": "NoSchedule"}])) == {0: 1}
    assert free(changed(published, taints=[{"key": "k", "effect": "None"}])) == {0: 2}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"nodeName": None, "allNodes": True}, "has devices that are not of one node"),
        ({"nodeName": None, "perDeviceNodeSelection": True}, "has devices that are not of one node"),
        ({"sharedCounters": [{"name": "x"}]}, "has devices that are parts of others"),
        ({"devices": [{"name": "a", "consumesCounters": [{}]}]}, "has devices that are parts of others"),
        (
            {"devices": [{"name": "a", "allowMultipleAllocations": True}]},
            "has devices that several claims share",
        ),
    ],
)
def test_of_some_devices_nobody_knows_what_is_free(change, why):
    published = dra.resource_slice(GPU, "n1", {"a": 0})
    newer = dra.resource_slice(GPU, "n1", {"a": 0}, generation=2)
    published["spec"].update(change)
    assert inventory(published).unknown(GPU) == f"pool n1 of {GPU} {why}"
    assert inventory(published).unknown("nic.example.com") == ""
    assert inventory(published, newer).unknown(GPU) == ""


def test_a_claim_that_cannot_be_read_is_an_error_by_name():
    with pytest.raises(InvalidObjectError, match="ResourceClaim lab/c"):
        inventory(claims=[claimed(5)])


devices = st.dictionaries(st.sampled_from("abcde"), st.none() | st.integers(0, 1))


@unhurried(200)
@given(
    slices=st.lists(st.tuples(devices, st.integers(1, 2)), max_size=4),
    taken=st.lists(st.lists(st.sampled_from("abcde"), unique=True), max_size=3),
    order=st.randoms(use_true_random=False),
)
def test_no_device_is_counted_twice_nor_while_a_claim_has_it_whatever_the_order(slices, taken, order):
    published = [dra.resource_slice(GPU, "n1", own, generation=number) for own, number in slices]
    claims = [claimed(*own, name=str(number)) for number, own in enumerate(taken)]
    newest = max((number for _, number in slices), default=0)
    names = {name for own, number in slices if number == newest for name in own}
    names -= {name for own in taken for name in own}
    before = free(*published, claims=claims)
    assert sum(before.values()) == len(names)
    order.shuffle(published)
    assert free(*published, claims=claims) == before


@given(spec=junk, device=junk)
def test_nothing_that_a_driver_publishes_makes_it_raise(spec, device):
    published = dra.resource_slice(GPU, "n1", {})
    for value in (spec, {"spec": spec}, {"spec": {**published["spec"], "devices": [device]}}):
        found = inventory(value)
        found.unknown(GPU)
        found.free("n1")
