"""Bad input at work gets a message that names object, field and value; nothing that runs is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from testbed.api import ApiStatusError
from testbed.cleanup import GROUP
from testbed.demo import expectations
from testbed.waiting import until

pytestmark = pytest.mark.timeout(120)
TOLD_SECONDS = 30
CRDS = Path(__file__).resolve().parents[2] / "crds"


def wait_condition(system, plural, name, kind, status):
    """Wait until a condition of a cluster-scoped object has a status, and return its message."""

    def told() -> str | None:
        found = system.cluster.api.get(f"{GROUP}/{plural}/{name}")
        conditions = found.get("status", {}).get("conditions", [])
        present = {entry["type"]: (entry["status"], entry["message"]) for entry in conditions}
        assert kind in present, present
        assert present[kind][0] == status, present
        return str(present[kind][1])

    return until(told, f"{kind} of {name} to be {status}", TOLD_SECONDS)


def wait_topology(system, name):
    path = f"{GROUP}/nodetopologies/{name}"
    until(lambda: system.cluster.api.find(path), f"the NodeTopology of {name}", TOLD_SECONDS)


@pytest.fixture
def profile_spec(system):
    """Return the spec of the profile "databases"; it is put back afterwards."""
    path = f"{GROUP}/nodeprofiles/databases"
    before = system.cluster.api.get(path)
    yield before["spec"]
    system.cluster.api.merge(path, {"spec": {"reservedSystemCPUs": before["spec"]["reservedSystemCPUs"]}})
    wait_condition(system, "nodetopologies", "node-1", "SettingsValid", "True")


@pytest.mark.usefixtures("profile_spec")
def test_reserved_cpus_that_the_node_lacks_are_named_and_running_pods_keep_what_they_hold(system, namespace):
    system.create_example(namespace, "database")
    before = system.written(system.wait_applied(namespace, "database"))
    system.cluster.api.merge(f"{GROUP}/nodeprofiles/databases", {"spec": {"reservedSystemCPUs": "0,96"}})
    message = wait_condition(system, "nodetopologies", "node-1", "SettingsValid", "False")
    for part in ("databases", "reservedSystemCPUs", "96", "node-1"):
        assert part in message
    until(
        lambda: "reservedSystemCPUs" in system.cluster.kubectl("describe", "nodeprofile", "databases"),
        "kubectl describe to name the field",
        TOLD_SECONDS,
    )
    allocation = system.allocations(namespace)["database"]
    assert system.written(allocation) == before
    # The previous settings still apply, to new pods too.
    system.create_example(namespace, "database", "second")
    second = system.wait_applied(namespace, "second")
    assert expectations.database(system.node_of(second).machine, system.written(second)) == []


def test_two_profiles_of_equal_priority_for_one_node_name_each_other(system):
    api = system.cluster.api
    rival = {
        "apiVersion": "podnuma.dev/v1alpha1",
        "kind": "NodeProfile",
        "metadata": {"name": "other-databases"},
        "spec": {
            "nodeSelector": {"matchLabels": {"node-pool": "databases"}},
            "cpuManagerPolicy": "static",
            "reservedSystemCPUs": "0-3",
        },
    }
    api.create(rival)
    try:
        first = wait_condition(system, "nodeprofiles", "databases", "Conflict", "True")
        second = wait_condition(system, "nodeprofiles", "other-databases", "Conflict", "True")
    finally:
        api.delete(f"{GROUP}/nodeprofiles/other-databases")
    assert "other-databases" in first
    assert "databases" in second
    assert "priority" in first
    # The name decides, so nothing changes for the node.
    assert api.get(f"{GROUP}/nodetopologies/node-1")["spec"]["profile"]["name"] == "databases"
    wait_condition(system, "nodeprofiles", "databases", "Conflict", "False")


def test_a_pod_whose_limits_are_below_its_containers_sum_is_refused_by_the_api_server(system, namespace):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "too-small", "namespace": namespace},
        "spec": {
            "containers": [{"name": "main", "image": "none", "resources": {"requests": {"cpu": "3"}}}],
            "resources": {"requests": {"cpu": "2"}},
        },
    }
    with pytest.raises(ApiStatusError, match=r"spec\.resources\.requests\[cpu\].*aggregate container"):
        system.cluster.api.create(pod)


def test_an_allocation_edited_by_hand_is_restored_with_an_event(system, namespace):
    api = system.cluster.api
    system.create_example(namespace, "database")
    allocation = system.wait_applied(namespace, "database")
    path = f"{GROUP}/namespaces/{namespace}/podallocations/database"
    before = system.written(allocation)
    api.merge(path, {"spec": {"cpus": "10-17"}})

    def restored() -> bool:
        found = api.find(path)
        return found is not None and found["spec"] == allocation["spec"]

    until(restored, "the allocation to be as it was", TOLD_SECONDS)

    def told() -> str | None:
        events = api.items(f"/api/v1/namespaces/{namespace}/events")
        texts = [event["message"] for event in events if event["type"] == "Warning"]
        return next((text for text in texts if "database" in text or "edited" in text), None)

    assert until(told, "an event", TOLD_SECONDS)
    until(
        lambda: system.written(system.wait_applied(namespace, "database")) == before,
        "the cgroups to be as they were",
        TOLD_SECONDS,
    )


def test_an_allocation_deleted_by_hand_stays_in_force_until_its_pod_has_ended(system, namespace):
    system.create_example(namespace, "database")
    allocation = system.wait_applied(namespace, "database")
    system.create_example(namespace, "database", "neighbour")
    system.wait_applied(namespace, "neighbour")
    path = f"{GROUP}/namespaces/{namespace}/podallocations/database"
    system.cluster.api.delete(path)

    def told() -> bool:
        found = system.cluster.api.items(f"/api/v1/namespaces/{namespace}/events")
        return any(event["reason"] == "Kept" for event in found)

    until(told, "an event that says why it stays", TOLD_SECONDS)
    kept = system.cluster.api.get(path)
    assert kept["metadata"]["uid"] == allocation["metadata"]["uid"]
    assert kept["spec"] == allocation["spec"]
    assert expectations.database(system.node_of(kept).machine, system.written(kept)) == []
    system.cluster.api.delete(f"/api/v1/namespaces/{namespace}/pods/database", grace_seconds=0)
    until(lambda: system.cluster.api.find(path) is None, "the allocation to go with its pod", TOLD_SECONDS)


def test_broken_sysfs_files_are_named_in_the_nodes_status_and_the_agent_lives(system, kwok):
    node = system.add_node(kwok, "node-broken", "xeon-2s-snc2-irregular", {"node-pool": "databases"})
    folder = node.sys_root / "devices" / "system" / "node"
    (folder / "node0" / "meminfo").unlink()
    (folder / "node1" / "distance").write_text("a lot\n")
    agent = system.start_agent("node-broken")
    agent.wait_ready()
    wait_topology(system, "node-broken")
    message = wait_condition(system, "nodetopologies", "node-broken", "HardwareKnown", "True")
    assert "node0/meminfo" in message
    assert "node1/distance" in message
    agent.process.check()


def test_a_machine_without_any_readable_cpu_is_reported_and_never_decided_on(system, kwok):
    node = system.add_node(kwok, "node-blind", "laptop-hybrid-6p8e", {"node-pool": "databases"})
    cpus = node.sys_root / "devices" / "system" / "cpu"
    cpus.rename(cpus.with_name("gone"))
    agent = system.start_agent("node-blind")
    wait_topology(system, "node-blind")
    message = wait_condition(system, "nodetopologies", "node-blind", "HardwareKnown", "False")
    assert "names no online CPU" in message
    wait_condition(system, "nodetopologies", "node-blind", "Ready", "False")
    agent.process.check()


def test_a_status_that_the_api_server_refuses_reaches_a_person_on_both_sides_and_comes_later(system, kwok):
    """A number of firmware that is wider than the field of an older CRD; open-mpi/hwloc#482."""
    older = yaml.safe_load((CRDS / "nodetopologies.yaml").read_text())
    status = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    cache = status["properties"]["hardware"]["properties"]["caches"]["items"]["properties"]
    cache["id"]["maximum"] = 2**31 - 1
    node = system.add_node(kwok, "node-wide", "epyc7401-2s-8numa-16l3", {"node-pool": "databases"})
    for number in node.sys_root.glob("devices/system/cpu/cpu*/cache/index3/id"):
        number.write_text(f"{2**31 + int(number.read_text())}\n")
    system.cluster.api.apply(older)
    try:
        wait_topology(system, "node-wide")
        path = f"{GROUP}/nodetopologies/node-wide/status"
        probe = {"status": {"hardware": {"caches": [{"id": 2**31, "cpus": "0"}]}}}

        def refused() -> bool:
            try:
                system.cluster.api.merge(path, probe, dryRun="All")
            except ApiStatusError as error:
                return "2147483647" in str(error)
            return False

        until(refused, "the API server to serve the older schema", 30)
        agent = system.start_agent("node-wide")
        until_told(system, "node-wide", "HardwareKnown", "StatusRefused", "status.hardware.caches")
        agent.process.check()
        said = "reports, but without hardware: the API server refuses this agent's status"
        until_told(system, "node-wide", "Ready", "HardwareUnknown", said)
    finally:
        system.cluster.apply_crds(CRDS)
    until_told(system, "node-wide", "Ready", "Ready")
    caches = system.cluster.api.get(f"{GROUP}/nodetopologies/node-wide")["status"]["hardware"]["caches"]
    assert min(cache["id"] for cache in caches) >= 2**31


def until_told(system, name, kind, reason, words=""):
    """Wait until a condition of a NodeTopology has a reason and says some words."""

    def told() -> bool:
        status = system.cluster.api.get(f"{GROUP}/nodetopologies/{name}").get("status", {})
        found = {(one["type"], one["reason"]): str(one["message"]) for one in status.get("conditions", [])}
        return (kind, reason) in found and words in found[kind, reason]

    until(told, f"{kind} of {name} to be {reason}\n{system.logs()}", 60)


def test_describe_of_a_node_that_cannot_be_used_says_what_to_do_next(system):
    state = system.nodes["node-2"].kubelet_root / "cpu_manager_state"
    state.write_text('{"policyName":"static","defaultCpuSet":""}')
    try:
        for kind, name in (("nodetopology", "node-2"), ("nodeprofile", "training")):

            def described(kind=kind, name=name):
                told = system.cluster.kubectl("describe", kind, name)
                assert "is paused" in told, told
                assert "set cpuManagerPolicy: none in its configuration, remove that file" in told, told
                return True

            until(described, f"{kind} {name} to say what to do", TOLD_SECONDS)
        wait_condition(system, "nodetopologies", "node-2", "Ready", "False")
    finally:
        state.unlink()
    wait_condition(system, "nodetopologies", "node-2", "Ready", "True")
