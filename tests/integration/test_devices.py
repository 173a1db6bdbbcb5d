"""Pods with ResourceClaims on a real API server, allocated by the real scheduler: CPUs at their devices."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from testbed import dra
from testbed.cleanup import GROUP, delete
from testbed.waiting import until
from tests.integration.cli_runs import podnuma

if TYPE_CHECKING:
    from testbed.api import Json

ROOT = Path(__file__).resolve().parents[2]
PODNUMA = Path(sys.executable).with_name("podnuma")
DRIVER = "gpu.example.com"

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def published(system, namespace):
    """A driver's class and its slice of node-1: one device on NUMA node 5. Returns the API."""
    api = system.cluster.api
    api.create(dra.device_class(DRIVER))
    api.create(dra.resource_slice(DRIVER, "node-1", {"gpu-0": 5}))
    api.create(dra.resource_claim("gpu", namespace, DRIVER))
    yield api
    delete(api, f"/api/v1/namespaces/{namespace}/pods/database")
    api.delete(f"{dra.COLLECTION}/namespaces/{namespace}/resourceclaims/gpu")
    for found in api.items(f"{dra.COLLECTION}/resourceslices"):
        api.delete(f"{dra.COLLECTION}/resourceslices/{found['metadata']['name']}")
    api.delete(f"{dra.COLLECTION}/deviceclasses/{DRIVER}")


def database(namespace: str) -> Json:
    pod = yaml.safe_load((ROOT / "examples" / "pods" / "database.yaml").read_text())
    pod["metadata"]["namespace"] = namespace
    return dra.use_claim(pod, "gpu")


def test_cpus_and_memory_come_from_the_numa_node_of_the_allocated_device(
    system, namespace, published, tmp_path
):
    topology = f"{GROUP}/nodetopologies/node-1"

    def settled() -> bool:
        return bool(system.cluster.api.get(topology)["spec"]["profile"]["name"] == "databases")

    until(settled, "the settings of node-1", 30)
    file = tmp_path / "database.yaml"
    file.write_text(yaml.safe_dump(database(namespace)))
    for words in (("plan", "-f", file), ("explain", "-f", file, "--node", "node-1")):
        said = podnuma(*words, kubeconfig=system.cluster.kubeconfig)
        assert said.returncode == 0, said.stderr
        text = " ".join((said.stdout + said.stderr).split())
        assert "where its devices are is not considered: ResourceClaim gpu (chosen by the scheduler)" in text
    published.create(database(namespace))
    allocation = system.wait_applied(namespace, "database")
    spec = allocation["spec"]
    assert spec["summary"]["numa"] == "5"
    assert spec["memoryNodes"] == "5"
    by_name = {container["name"]: container for container in spec["containers"]}
    assert by_name["database"]["devices"] == [{"resource": DRIVER, "name": "node-1/gpu-0", "numaNodes": "5"}]
    assert allocation["status"]["phase"] == "Applied"

    def told() -> list[str]:
        events = published.items(f"/api/v1/namespaces/{namespace}/events")
        return [event["message"] for event in events if event["reason"] == "Allocated"]

    assert f"for {DRIVER} node-1/gpu-0 (NUMA node 5)" in until(told, "the event", 30)[0]

    done = subprocess.run(
        [PODNUMA, "locality", "-n", namespace, "-o", "json", "--kubeconfig", system.cluster.kubeconfig],
        check=True,
        capture_output=True,
        text=True,
        timeout=50,
    )
    (seen,) = json.loads(done.stdout)["items"]
    assert (seen["name"], seen["locality"], seen["cpus"]) == ("database", "local", spec["cpus"])
    assert seen["devices"] == [
        {"container": "database", "resource": DRIVER, "device": "node-1/gpu-0", "numaNodes": "5"}
    ]


def test_a_slice_of_the_next_generation_is_the_one_that_counts(system, namespace, published):
    published.create(dra.resource_slice(DRIVER, "node-1", {"gpu-0": 6}, generation=2))
    published.create(database(namespace))
    allocation = system.wait_applied(namespace, "database")
    assert allocation["spec"]["summary"]["numa"] == "6"


def test_a_bound_pod_whose_claim_has_no_allocation_waits_and_says_so(namespace, published):
    pod = database(namespace)
    pod["spec"]["nodeName"] = "node-1"
    published.create(pod)

    def told() -> bool:
        events = published.items(f"/api/v1/namespaces/{namespace}/events")
        return any("has no allocation" in event["message"] for event in events)

    until(told, "an event about the claim", 30)
    assert published.find(f"{GROUP}/namespaces/{namespace}/podallocations/database") is None
