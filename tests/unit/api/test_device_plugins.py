import pytest
from podnuma.allocator import GrantedDevice, nodeset
from podnuma.api.conditions import Condition, Status
from podnuma.api.device_plugins import (
    DEVICES_KNOWN,
    MAX_REPORTED,
    ExtendedResource,
    ReportedDevice,
    bounded,
    devices_known,
    read_extended_resources,
)

GPU = "nvidia.com/gpu"


def limited(name, limits):
    return {"name": name, "resources": {"limits": limits, "requests": limits}}


def pod(*containers, init=(), status=None):
    return {"spec": {"initContainers": list(init), "containers": list(containers)}, "status": status or {}}


def reported(name, node, container="main"):
    return ReportedDevice(container, GrantedDevice(GPU, name, nodeset.of([node])))


def test_a_container_asks_device_plugins_for_what_its_limits_name():
    asked = pod(
        limited("main", {"cpu": "4", "memory": "1Gi", GPU: "2", "hugepages-2Mi": "4Mi"}),
        limited("side", {"cpu": "1"}),
        init=[limited("setup", {"example.com/nic": 1})],
    )
    assert read_extended_resources(asked) == (
        ExtendedResource("setup", "example.com/nic", 1),
        ExtendedResource("main", GPU, 2),
    )


@pytest.mark.parametrize(
    "resource", ["cpu", "kubernetes.io/x", "batch.kubernetes.io/x", "requests.example.com/x", "hugepages-1Gi"]
)
def test_kubernetes_own_names_are_no_extended_resources(resource):
    assert read_extended_resources(pod(limited("main", {resource: "1"}))) == ()


def test_a_domain_that_only_looks_like_kubernetes_own_is_an_extended_resource():
    resource = "notkubernetes.io/x"
    assert read_extended_resources(pod(limited("main", {resource: "1"}))) == (
        ExtendedResource("main", resource, 1),
    )


def test_what_dynamic_resource_allocation_serves_is_no_device_plugins():
    mapping = {"containerName": "main", "resourceName": GPU, "requestName": "r-0"}
    status = {"extendedResourceClaimStatus": {"resourceClaimName": "c", "requestMappings": [mapping]}}
    asked = pod(limited("main", {GPU: "1"}), limited("other", {GPU: "1"}), status=status)
    assert read_extended_resources(asked) == (ExtendedResource("other", GPU, 1),)


@pytest.mark.parametrize("amount", ["0", 0, "-1", "x", None, [], {}, True, "\N{SUPERSCRIPT TWO}"])
def test_an_amount_that_no_api_server_stores_is_left_out(amount):
    assert read_extended_resources(pod(limited("main", {GPU: amount}))) == ()


def test_the_api_server_shortens_amounts():
    assert read_extended_resources(pod(limited("main", {GPU: "16k"}))) == (
        ExtendedResource("main", GPU, 16000),
    )


@pytest.mark.parametrize(
    "value", [{}, {"spec": None}, {"spec": []}, {"spec": {"containers": {}}}, {"spec": {"containers": [1]}}]
)
def test_what_is_no_pod_asks_for_nothing(value):
    assert read_extended_resources(value) == ()


def test_of_too_many_devices_one_at_each_place_is_kept():
    many = [reported(f"unit-{number}", 0) for number in range(5000)]
    kept = bounded([*many, reported("far", 7), reported("unit-1", 0, "side")])
    assert len(kept) == MAX_REPORTED
    assert {(one.container, nodeset.render(one.device.nodes)) for one in kept} == {
        ("main", "0"),
        ("main", "7"),
        ("side", "0"),
    }


def test_few_devices_are_all_kept():
    few = [reported("a", 0), reported("b", 0), reported("c", 1)]
    assert set(bounded(few)) == set(few)


def test_devices_are_told_about_when_the_condition_says_yes_or_no():
    def said(status):
        return devices_known([Condition("Ready", Status.TRUE, "R"), Condition(DEVICES_KNOWN, status, "R")])

    assert devices_known([Condition("Ready", Status.TRUE, "R")]) is None
    assert said(Status.UNKNOWN) is None
    for status in (Status.TRUE, Status.FALSE):
        found = said(status)
        assert found is not None
        assert found.status is status
