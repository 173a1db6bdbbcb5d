"""Pods with devices of device plugins on a real API server; podresources is a gRPC server on a socket."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from testbed.cleanup import GROUP
from testbed.podresources import devices, pod, serving
from testbed.waiting import until

if TYPE_CHECKING:
    from testbed.api import Json

ROOT = Path(__file__).resolve().parents[2]
PODNUMA = Path(sys.executable).with_name("podnuma")
NIC = "example.com/nic"

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def kubelet(system):
    """The kubelet of node-1, which has eight of a device plugin's devices."""
    system.cluster.kubectl(
        *("patch", "node", "node-1", "--subresource=status", "--type=merge", "-p"),
        json.dumps({"status": {"capacity": {NIC: "8"}, "allocatable": {NIC: "8"}}}),
    )
    with serving(system.nodes["node-1"].kubelet_root / "pod-resources" / "kubelet.sock") as running:
        yield running


def database(namespace: str, count: int = 1) -> Json:
    value: Json = yaml.safe_load((ROOT / "examples" / "pods" / "database.yaml").read_text())
    value["metadata"]["namespace"] = namespace
    (main,) = [one for one in value["spec"]["containers"] if one["name"] == "database"]
    for side in ("requests", "limits"):
        main["resources"][side][NIC] = str(count)
    return value


def told(system, namespace: str, reason: str) -> str:
    """Wait for an event and return its message."""

    def messages() -> list[str]:
        events = system.cluster.api.items(f"/api/v1/namespaces/{namespace}/events")
        return [event["message"] for event in events if event["reason"] == reason]

    return until(messages, f"the event {reason}", 30)[0]


def answer(system, *words: str) -> Json:
    command = [PODNUMA, *words, "-o", "json", "--kubeconfig", system.cluster.kubeconfig]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=50)
    assert done.stdout, done.stderr
    found: Json = json.loads(done.stdout)
    return found


def test_cpus_and_memory_come_from_the_numa_node_of_the_device_that_the_kubelet_gave(
    system, namespace, kubelet, tmp_path
):
    file = tmp_path / "database.yaml"
    file.write_text(yaml.safe_dump(database(namespace)))
    planned = answer(system, "plan", "-f", str(file))["items"][0]
    assert planned["node"] == "node-1"
    assert f"not considered: {NIC} (chosen by the node's kubelet)" in planned["note"]
    path = f"{GROUP}/namespaces/{namespace}/podallocations/database"
    agent = system.agents["node-1"]
    agent.pause()  # so that the pod waits for as long as it is asked about
    try:
        system.cluster.api.create(database(namespace))

        def waits() -> bool:
            found = system.cluster.api.find(path)
            return found is not None and found["spec"]["decision"]["reason"] == "DevicesPending"

        until(waits, "the pod to wait for its devices", 30)
        (seen,) = answer(system, "explain", "database", "-n", namespace)["items"]
        assert seen["stored"]["message"] == f"waits for the devices of {NIC} that the kubelet gives it"
        kubelet.pods = [pod(namespace, "database", database=[devices(NIC, ["nic-6"], 5)])]
    finally:
        agent.resume()
    allocation = system.wait_applied(namespace, "database")
    spec, status = allocation["spec"], allocation["status"]
    assert (spec["summary"]["numa"], spec["memoryNodes"]) == ("5", "5")
    by_name = {container["name"]: container for container in spec["containers"]}
    assert by_name["database"]["devices"] == [{"resource": NIC, "name": "nic-6", "numaNodes": "5"}]
    assert status["devices"] == [
        {"container": "database", "resource": NIC, "name": "nic-6", "numaNodes": "5"}
    ]
    (known,) = [one for one in status["conditions"] if one["type"] == "DevicesKnown"]
    assert (known["status"], known["reason"]) == ("True", "Reported")
    assert f"for {NIC} nic-6 (NUMA node 5)" in told(system, namespace, "Allocated")
    written = system.written(allocation)
    assert written["database"].mems == {5}

    (near,) = answer(system, "locality", "-n", namespace)["items"]
    assert (near["name"], near["locality"]) == ("database", "local")
    assert near["devices"] == [
        {"container": "database", "resource": NIC, "device": "nic-6", "numaNodes": "5"}
    ]


def test_what_the_kubelet_does_not_tell_is_decided_without_and_said(system, namespace, kubelet):
    kubelet.refusal = "rejected by rate limit"
    system.cluster.api.create(database(namespace))
    allocation = system.wait_applied(namespace, "database")
    assert allocation["spec"]["decision"]["admitted"] is True
    assert "rejected by rate limit" in told(system, namespace, "DevicesUnknown")
    (known,) = [one for one in allocation["status"]["conditions"] if one["type"] == "DevicesKnown"]
    assert (known["status"], known["reason"]) == ("False", "NotRead")
