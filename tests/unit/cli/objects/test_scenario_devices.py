"""Devices of a scenario's step: chosen ones are a fixed wish, of others the limits say how many."""

from typing import Any

import pytest
from podnuma.allocator import PodRequest, nodeset
from podnuma.allocator.request import ContainerRequest, Device, DeviceRequest
from podnuma.cli.objects.scenario_devices import with_devices
from podnuma.cli.objects.scenarios import ScenarioError

GPU = "example.com/gpu"
POD = PodRequest("u", "default", "p", (ContainerRequest("a"), ContainerRequest("b")))
WRITTEN = {"spec": {"containers": [{"name": "a", "resources": {"limits": {GPU: "2"}}}, {"name": "b"}]}}
ROWS: list[dict[str, Any]] = [{"id": "d0", "numaNodes": [0]}, {"id": "d1", "busy": True}]
D0, D1 = Device("d0", nodeset.of([0])), Device("d1", nodeset.EMPTY)


def test_the_limits_say_how_many_devices_are_wanted_of_those_that_are_not_busy():
    first, second = with_devices(POD, WRITTEN, {GPU: ROWS}).containers
    assert first.devices == (DeviceRequest(GPU, 2, (D0,), (D0, D1)),)
    assert second.devices == ()


def test_devices_that_a_container_has_are_its_fixed_wish():
    rows = [{**ROWS[0], "container": "b"}, {"id": "d1"}]
    first, second = with_devices(POD, WRITTEN, {GPU: rows}).containers
    assert first.devices == ()
    assert second.devices == (DeviceRequest.chosen(GPU, (D0,), (D0, D1)),)


def test_a_step_without_devices_changes_nothing():
    assert with_devices(POD, WRITTEN, None) is POD


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        ([], ""),
        ("x", "devices: 'x' is not an object"),
        ({GPU: 5}, "devices.example.com/gpu: 5 is not a list"),
        ({GPU: [{"id": "d", "numaNodes": ["0"]}]}, "numaNodes: ['0'] is not a list of node ids"),
        ({GPU: [{"id": "d", "numaNodes": [5000]}]}, "NUMA node id 5000 is outside 0-1023"),
    ],
)
def test_what_is_wrong_is_said_with_its_path(devices, message):
    if not message:
        assert with_devices(POD, WRITTEN, devices) is POD
        return
    with pytest.raises(ScenarioError) as error:
        with_devices(POD, WRITTEN, devices)
    assert message in str(error.value)
