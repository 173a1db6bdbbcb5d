"""Devices of a real plugin and a real DRA driver on the real kubelet: CPUs and memory come from near them.

First the table as in test_1_reference.py, then what goes wrong around a device plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testbed.e2e import device_pods
from testbed.e2e.deviations import differences, kind_of
from testbed.e2e.device_pods import Shape
from testbed.e2e.devices import NICS, at_work
from testbed.e2e.figures import podresources
from testbed.e2e.product import CONTAINER_SCOPE, POD_SCOPE
from testbed.e2e.reference import Recording
from testbed.e2e.table import side_by_side

from .conftest import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.api import Json
    from testbed.e2e.devices import Devices
    from testbed.e2e.product import Product
    from testbed.e2e.target import MachineTarget

pytestmark = pytest.mark.machine
# An emulated kubelet can take longer for its answer than a pod waits by default.
PATIENT = {"onDevicesUnknown": "Wait"}
SOCKET = "/var/lib/kubelet/pod-resources/kubelet.sock"


@pytest.fixture(scope="module")
def devices(machine: MachineTarget, podnuma: Product) -> Iterator[Devices]:
    assert podnuma.cluster is machine.cluster
    with at_work(machine) as started:
        yield started


def test_the_kubelet_places_by_the_devices_of_plugins_only(device_recording: Recording) -> None:
    """With its own managers the kubelet has CPUs and memory at a plugin's devices; claims it does not see."""
    near = {("pod/nics-four", "0"), ("pod/nics-one", "1"), ("pod/nics-two", "1"), ("pod/nics-pair", "1")}
    assert {(pod, device_recording.values[pod, "app"].mems) for pod, _ in near} == near
    assert device_recording.outcomes["pod/nics-six"] == "TopologyAffinityError"
    assert device_recording.outcomes["pod/claims-six"] == "admitted"
    assert device_recording.values["pod/claims-one", "app"].mems == "0"


def test_pods_with_devices_are_where_the_kubelet_has_them(
    device_recording: Recording,
    podnuma: Product,
    devices: Devices,
    table: list[str],
    figures: list[str],
) -> None:
    """Pods with a plugin's devices, pods with claims: the kubelet's CPUs and memory nodes, or explained."""
    devices.wait_plugin()
    recording = Recording()

    def look(shape: Shape, pod: Json) -> None:
        name = pod["metadata"]["name"]
        allocation = podnuma.allocation(name)
        if allocation and allocation["spec"]["decision"]["admitted"]:
            assert places(allocation) == shape.devices, name

    try:
        for scope, settings, waves in (
            ("pod", POD_SCOPE, device_pods.POD_SCOPE),
            ("container", CONTAINER_SCOPE, device_pods.CONTAINER_SCOPE),
        ):
            podnuma.profile(settings | PATIENT)
            for names in device_pods.record(podnuma.cluster, scope, waves, recording, look):
                say(f"       recorded {names}")
                podnuma.wait_released()
    finally:
        podnuma.profile(POD_SCOPE)
    table += side_by_side(device_recording, recording)
    figures.append(podresources(podnuma.agent_metrics()))
    unexplained = [
        str(difference)
        for difference in differences(device_recording, recording)
        if kind_of(difference) is None
    ]
    assert unexplained == []
    assert of_claims(recording) == of_twins(device_recording, recording)


def of_claims(recording: Recording) -> dict[str, object]:
    """Return outcomes, CPUs and memory nodes of the pods with claims."""
    return {
        **{key: outcome for key, outcome in recording.outcomes.items() if device_pods.twin(key)},
        **{
            f"{key}/{container}": (seen.cpus, seen.mems)
            for (key, container), seen in recording.values.items()
            if container and device_pods.twin(key)
        },
    }


def of_twins(kubelet: Recording, podnuma: Recording) -> dict[str, object]:
    """Return the same of their twins under the kubelet, by the names of the pods with claims."""
    names = {device_pods.twin(key): key for key in podnuma.outcomes}
    return {
        **{names[key]: outcome for key, outcome in kubelet.outcomes.items() if key in names},
        **{
            f"{names[key]}/{container}": (seen.cpus, seen.mems)
            for (key, container), seen in kubelet.values.items()
            if container and key in names
        },
    }


def places(allocation: Json) -> dict[str, dict[int, int]]:
    """Return how many devices of each NUMA node a decision was made with, by container."""
    found: dict[str, dict[int, int]] = {}
    for entry in allocation["spec"].get("containers", []):
        for device in entry.get("devices", []):
            numa = int(device["numaNodes"])
            counts = found.setdefault(entry["name"], {})
            counts[numa] = counts.get(numa, 0) + 1
    return found


def test_a_plugin_that_comes_back_with_other_devices(podnuma: Product, devices: Devices) -> None:
    """A running pod keeps its CPUs when its plugin names other NUMA nodes; the next is placed by these."""
    cluster = podnuma.cluster
    podnuma.profile(POD_SCOPE | PATIENT)
    (early,), (late,) = (
        Shape(name, {"app": "2"}, {"app": {0: 1}}).with_nics(cluster.image) for name in ("early", "late")
    )
    try:
        with cluster.running(early) as (first,):
            spec = podnuma.wait_applied("nics-early")["spec"]
            before = cluster.snapshot().container(first, "app")
            assert before.effective_mems == {0}
            devices.plug_in(dict.fromkeys(list(NICS)[:7], 1))
            with cluster.running(late) as (second,):
                assert places(podnuma.wait_applied("nics-late")) == {"app": {1: 1}}
                kernel = cluster.snapshot()
                assert kernel.container(second, "app").effective_mems == {1}
                assert kernel.container(first, "app") == before
                assert podnuma.wait_applied("nics-early")["spec"] == spec
    finally:
        devices.plug_in(NICS)


def test_a_kubelet_that_cannot_be_asked(podnuma: Product, devices: Devices) -> None:
    """Without the podresources socket a pod is decided without its devices, and that is said."""
    cluster = podnuma.cluster
    devices.wait_plugin()
    podnuma.profile(POD_SCOPE | {"onDevicesUnknown": "Decide"})
    (pod,) = Shape("unknown", {"app": "2"}, {"app": {0: 1}}).with_nics(cluster.image)
    cluster.shell(f"mv {SOCKET} {SOCKET}.away")
    try:
        with cluster.running(pod) as (settled,):
            allocation = podnuma.wait_applied("nics-unknown")
            assert allocation["spec"]["decision"]["admitted"] is True
            assert places(allocation) == {}
            (known,) = [one for one in allocation["status"]["conditions"] if one["type"] == "DevicesKnown"]
            assert (known["status"], known["reason"]) == ("False", "NotRead")
            assert len(cluster.snapshot().container(settled, "app").effective_cpus) == 2
            assert "DevicesUnknown" in {event["reason"] for event in cluster.events("nics-unknown")}
    finally:
        cluster.shell(f"mv {SOCKET}.away {SOCKET}")
