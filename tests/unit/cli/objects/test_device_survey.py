"""Pods with devices: local, partly, apart, unbound or unknown, whatever of podnuma is installed."""

from dataclasses import replace
from typing import Any

import pytest
from podnuma.allocator import cpuset, nodeset
from podnuma.cli.objects.device_survey import FoundDevice, PodLocality, SurveyedCluster, survey_devices

from testbed import dra
from tests.unit.cli.builders import allocation_object, container, grant, topology_object

EPYC = "epyc7401-2s-8numa-16l3"
DRIVER = "gpu.example.com"


def pod(name: str = "train", **spec: Any) -> dict[str, Any]:
    value = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "ml", "uid": f"uid-{name}"},
        "spec": {"nodeName": "node-a", "containers": [{"name": "main", "resources": {}}], **spec},
        "status": {"phase": "Running"},
    }
    return dra.use_claim(value, "gpus")


def claim(*devices: str) -> dict[str, Any]:
    results = [
        {"request": "device", "driver": DRIVER, "pool": "node-a", "device": device} for device in devices
    ]
    made = dra.resource_claim("gpus", "ml", DRIVER, len(devices))
    return {**made, "status": {"allocation": {"devices": {"results": results}}}}


def cluster(cpus: str = "", *devices: str, **numa: int | None) -> SurveyedCluster:
    """A pod with a claim; with `cpus` podnuma holds these for it."""
    held = grant("ml/train", "", container("main", "node_exclusive", cpus)) if cpus else None
    return SurveyedCluster(
        pods=[pod()],
        claims=[claim(*devices)],
        slices=[dra.resource_slice(DRIVER, "node-a", numa)],
        allocations=[allocation_object(held)] if held else [],
        topologies=[topology_object(EPYC, reserved="0,48")],
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (cluster("6-8", "gpu0", gpu0=1), PodLocality.LOCAL),
        (cluster("6-8", "gpu0", "gpu1", gpu0=1, gpu1=2), PodLocality.PARTLY),
        (cluster("6-8", "gpu0", gpu0=5), PodLocality.APART),
        (cluster("", "gpu0", gpu0=5), PodLocality.UNBOUND),
        (cluster("6-8", "gpu0", gpu0=None), PodLocality.UNKNOWN),
        (replace(cluster("6-8", "gpu0", gpu0=1), topologies=[]), PodLocality.UNBOUND),
    ],
)
def test_a_pod_is_as_near_as_its_own_cpus_are(found, expected):
    (only,) = survey_devices(found).pods
    assert only.locality is expected
    assert survey_devices(found).by_locality[expected] == 1


def test_a_report_names_devices_numa_nodes_and_cpus():
    (only,) = survey_devices(cluster("6-8", "gpu0", gpu0=1)).pods
    assert (only.namespace, only.pod, only.node, only.cpus) == ("ml", "train", "node-a", cpuset.parse("6-8"))
    assert only.devices == (FoundDevice("main", DRIVER, "node-a/gpu0", nodeset.of([1])),)


def test_devices_of_plugins_are_known_by_number_only():
    limits = {"cpu": "4", "memory": "1Gi", "hugepages-2Mi": "2Mi", "example.com/nic": "2", "x.io/none": "0"}
    asked = pod(containers=[{"name": "main", "resources": {"limits": limits}}])
    (only,) = survey_devices(SurveyedCluster([asked])).pods
    assert only.devices == (FoundDevice("main", "example.com/nic", "2", nodeset.EMPTY),)
    assert only.locality is PodLocality.UNKNOWN


def test_devices_of_plugins_that_the_kubelet_told_are_known_with_their_numa_nodes():
    limits = {"cpu": "4", "memory": "1Gi", "example.com/nic": "2", "example.com/fuse": "1"}
    asked = pod(containers=[{"name": "main", "resources": {"limits": limits}}])
    asked["spec"].pop("resourceClaims", None)
    held = allocation_object(grant("ml/train", "", container("main", "node_exclusive", "6-8")))
    held["status"]["devices"] = [
        {"container": "main", "resource": "example.com/nic", "name": f"nic-{number}", "numaNodes": "1"}
        for number in (0, 1)
    ]
    (only,) = survey_devices(replace(cluster(), pods=[asked], allocations=[held])).pods
    assert only.devices == (
        FoundDevice("main", "example.com/nic", "nic-0", nodeset.of([1])),
        FoundDevice("main", "example.com/nic", "nic-1", nodeset.of([1])),
        FoundDevice("main", "example.com/fuse", "1", nodeset.EMPTY),
    )
    assert only.locality is PodLocality.LOCAL


def test_an_extended_resource_that_a_claim_serves_is_listed_once():
    asked = pod(containers=[{"name": "main", "resources": {"limits": {"example.com/gpu": "1"}}}])
    mapped = {"containerName": "main", "resourceName": "example.com/gpu", "requestName": "device"}
    asked["spec"].pop("resourceClaims")
    asked["spec"]["containers"][0]["resources"].pop("claims", None)
    asked["status"]["extendedResourceClaimStatus"] = {
        "resourceClaimName": "gpus",
        "requestMappings": [mapped],
    }
    (only,) = survey_devices(replace(cluster("", "gpu0", gpu0=3), pods=[asked])).pods
    assert [device.name for device in only.devices] == ["node-a/gpu0"]


def test_pods_that_ended_or_wait_for_a_node_or_have_no_device_are_left_out():
    ended, waiting = pod("ended"), pod("waiting")
    ended["status"]["phase"] = "Succeeded"
    waiting["spec"].pop("nodeName")
    without = {**pod("without"), "spec": {"nodeName": "node-a", "containers": [{"name": "c"}]}}
    found = survey_devices(replace(cluster("", "gpu0", gpu0=1), pods=[ended, waiting, without]))
    assert (found.looked_at, found.pods) == (3, ())


def test_what_cannot_be_read_is_said_and_the_rest_reported():
    broken = claim("gpu0")
    broken["status"]["allocation"]["devices"]["results"][0]["driver"] = 5
    found = survey_devices(
        replace(cluster("", "gpu0", gpu0=1), claims=[broken], pods=[pod(), {"kind": "Pod", "metadata": 3}])
    )
    assert found.pods == ()
    assert len(found.problems) == 2
