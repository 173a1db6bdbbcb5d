"""Pods whose volumes are there already go where these can be attached."""

from typing import Any

import pytest

from tests.unit.cli.commands.test_plan_running import Tried, node, workload

ZONE = "topology.kubernetes.io/zone"


def in_zone(zone: str) -> dict[str, Any]:
    found = node()
    found["metadata"]["labels"][ZONE] = zone
    return found


def claim(name: str, volume: str = "") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "a"},
        "spec": {"volumeName": volume} if volume else {},
    }


def volume(name: str, zone: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": ZONE, "operator": "In", "values": [zone]}]}
    affinity = {"required": {"nodeSelectorTerms": [term]}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {"nodeAffinity": affinity},
    }


def database() -> dict[str, Any]:
    templates = [{"metadata": {"name": "data"}, "spec": {}}]
    value = workload("StatefulSet", 6, 2)
    value["spec"]["volumeClaimTemplates"] = templates
    return value


@pytest.mark.parametrize(("zone", "result"), [("east", "admitted"), ("west", "pending")])
def test_a_pod_of_a_stateful_set_goes_where_its_volume_is(tmp_path, zone, result):
    stored = [in_zone("east"), claim("data-w-0", "pv-1"), claim("data-w-1"), volume("pv-1", zone)]
    tried = Tried(tmp_path, stored, database())
    assert {name: found for name, (found, _) in tried.pods.items()} == {"w-0": result, "w-1": "admitted"}
    assert "not considered in where pods may go: volumes" in tried.said


def test_a_pod_goes_where_the_volume_of_its_claim_is(tmp_path):
    value = workload("Deployment", 6, 1)
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "shared"}}]
    value["spec"]["template"]["spec"]["volumes"] = volumes
    tried = Tried(tmp_path, [in_zone("east"), claim("shared", "pv-1"), volume("pv-1", "west")], value)
    assert [found for found, _ in tried.pods.values()] == ["pending"]


def test_a_volume_that_is_not_known_keeps_no_pod_off_a_node(tmp_path):
    tried = Tried(tmp_path, [in_zone("east"), claim("data-w-0", "pv-1")], database())
    assert {found for found, _ in tried.pods.values()} == {"admitted"}
