"""From events to durable decisions, on a cluster in memory."""

import asyncio
import json

import pytest
from podnuma.operator.kinds import Kind
from podnuma.operator.records import Key
from podnuma.plumbing.kube import errors

from tests.unit.operator.rig import Rig, machine, node, owned_by, pod, profile
from tests.unit.operator.virtual import virtual


@virtual
async def test_a_bound_pod_gets_a_podallocation_of_its_own():
    rig = Rig()
    await rig.furnished()
    uid = await rig.create(pod())
    found = rig.allocation()
    assert found is not None
    assert found["spec"]["cpus"] == "1-2,9-10"
    assert found["spec"]["summary"] == {"cpus": "1-2,9-10", "numa": "0", "exclusive": "1-2,9", "shared": "10"}
    assert found["metadata"]["ownerReferences"][0]["uid"] == uid
    assert "finalizers" not in found["metadata"]
    assert rig.told("Allocated") == ["Holds CPUs 1-2,9-10 on NUMA nodes 0 of n1 (exclusive 1-2,9, shared 10)"]


@virtual
async def test_a_node_with_a_profile_gets_a_nodetopology_that_goes_with_it():
    rig = Rig()
    await rig.furnished()
    found = rig.topology()
    assert found is not None
    known = rig.cluster.get(Kind.NODE, Key("", "n1"))
    assert known is not None
    assert found["spec"]["profile"] == {"name": "main", "generation": 1}
    assert found["metadata"]["ownerReferences"][0]["uid"] == known["metadata"]["uid"]
    assert found["status"]["allocation"]["sharedPool"] == "0-15"


def hear(rig: Rig, heartbeat: str) -> None:
    """Let the agent of n1 report that all is well, with a heartbeat."""
    known = rig.topology()
    assert known is not None
    ready = [entry for entry in known["status"].get("conditions", []) if entry["type"] != "AgentReady"]
    ready.append({"type": "AgentReady", "status": "True", "reason": "Ready", "message": "all is well"})
    status = {**known["status"], "agent": {"version": "0", "heartbeatTime": heartbeat}, "conditions": ready}
    rig.cluster.put(Kind.TOPOLOGY, {**known, "status": status})


@virtual
async def test_a_node_whose_agent_fell_silent_says_so_until_it_is_heard_again():
    rig = Rig()
    await rig.furnished()
    hear(rig, "2026-01-01T00:01:00Z")
    await rig.quiet()
    assert rig.condition(Kind.TOPOLOGY, "n1", "Ready")["reason"] == "Ready"
    await rig.quiet(100)
    hear(rig, "2026-01-01T00:02:00Z")
    await rig.quiet(170)
    rig.service.look_again()
    await rig.quiet()
    assert rig.condition(Kind.TOPOLOGY, "n1", "Ready")["reason"] == "Ready"
    await rig.quiet(20)
    rig.service.look_again()
    await rig.quiet()
    silent = rig.condition(Kind.TOPOLOGY, "n1", "Ready")
    assert (silent["status"], silent["reason"]) == ("False", "AgentSilent")
    assert "last report is of 2026-01-01T00:02:00Z" in silent["message"]
    hear(rig, "2026-01-01T00:09:00Z")
    await rig.quiet()
    assert rig.condition(Kind.TOPOLOGY, "n1", "Ready")["status"] == "True"


@virtual
async def test_cpus_of_a_deleted_pod_go_to_the_next_one():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("a", 6))
    await rig.create(pod("b", 6))
    assert (rig.cpus("a"), rig.cpus("b")) == ("1-3,9-11", "4-6,12-14")
    await rig.delete("a")
    assert rig.allocation("a") is None
    await rig.create(pod("c", 6))
    assert rig.cpus("c") == "1-3,9-11"


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
@virtual
async def test_a_finished_pod_holds_nothing(phase):
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("a", 6))
    await rig.finish("a", phase)
    assert rig.allocation("a") is None
    await rig.create(pod("b", 6))
    assert rig.cpus("b") == "1-3,9-11"


@virtual
async def test_a_terminating_pod_holds_what_it_has_until_it_is_gone():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("a"))
    known = rig.cluster.get(Kind.POD, Key("default", "a"))
    assert known is not None
    known["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:10Z"
    rig.cluster.put(Kind.POD, known)
    await rig.quiet()
    assert rig.cpus("a") == "1-2,9-10"


@virtual
async def test_a_new_pod_of_the_same_name_is_another_pod():
    rig = Rig()
    await rig.furnished()
    first = await rig.create(pod("db"))
    rig.cluster.remove(Kind.POD, Key("default", "db"))
    second = rig.cluster.put(Kind.POD, pod("db", 6))["metadata"]["uid"]
    await rig.quiet()
    found = rig.allocation()
    assert found is not None
    assert first != second == found["spec"]["podUID"] == found["metadata"]["ownerReferences"][0]["uid"]
    assert rig.cpus() == "1-3,9-11"


@virtual
async def test_a_pod_that_does_not_fit_is_rejected_in_the_words_of_the_kubelet_and_evicted():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("big", 9))
    found = rig.allocation("big")
    assert found is not None
    assert found["spec"]["decision"]["admitted"] is False
    assert found["spec"]["decision"]["reason"] == "TopologyAffinityError"
    assert found["status"]["phase"] == "Rejected"
    assert found["spec"]["summary"]["cpus"] == "-"
    assert len(rig.told("TopologyAffinityError")) == 1
    known = rig.cluster.get(Kind.POD, Key("default", "big"))
    assert known is not None
    assert "deletionTimestamp" in known["metadata"]
    assert len(rig.told("Evicted")) == 1


@virtual
async def test_a_rejected_pod_is_decided_again_when_there_is_room():
    rig = Rig()
    await rig.furnished(onRejection="Share")
    await rig.create(pod("a", 6))
    await rig.create(pod("b", 6))
    await rig.create(pod("c", 6))
    assert rig.cpus("c") == "-"
    await rig.delete("b")
    found = rig.allocation("c")
    assert found is not None
    assert found["spec"]["cpus"] == "4-6,12-14"
    assert found["spec"]["decision"]["admitted"] is True
    assert found["status"]["phase"] == "Pending"
    assert found["status"].get("conditions") is None


@virtual
async def test_refusing_again_writes_and_tells_nothing():
    rig = Rig()
    await rig.furnished(onRejection="Share")
    await rig.create(pod("big", 9))
    version = rig.allocation("big")["metadata"]["resourceVersion"]  # type: ignore[index]
    for name in ("a", "b"):
        await rig.create(pod(name, 2))
        await rig.delete(name)
    assert rig.allocation("big")["metadata"]["resourceVersion"] == version  # type: ignore[index]
    assert len(rig.told("TopologyAffinityError")) == 1


@virtual
async def test_pods_that_are_not_guaranteed_are_not_even_remembered():
    rig = Rig()
    await rig.furnished()
    value = pod("web")
    value["status"]["qosClass"] = "Burstable"
    await rig.create(value)
    assert rig.allocation("web") is None
    assert len(rig.service.inventory.pods) == 0


def without_whole_cpus() -> dict[str, object]:
    value = pod("fraction")
    value["spec"]["containers"] = [{"name": "main", "resources": {}}]
    budget = {"cpu": "1500m", "memory": "1Gi"}
    value["spec"]["resources"] = {"requests": budget, "limits": budget}
    return value


@virtual
async def test_a_guaranteed_pod_that_gets_nothing_is_decided_too_for_its_agent_waits():
    rig = Rig()
    await rig.furnished(memoryManagerPolicy="None", reservedMemory=[])
    await rig.create(without_whole_cpus())
    spec = rig.allocation("fraction")["spec"]  # type: ignore[index]
    assert spec["summary"] == {"cpus": "-", "numa": "-", "exclusive": "-", "shared": "node"}
    assert spec["decision"]["admitted"]
    assert rig.told("Allocated") == []
    assert rig.topology()["status"]["allocation"]["pods"] == 0  # type: ignore[index]
    now = rig.service.snapshot(leading=True, term=1, watch_age=0.0)
    assert (now.pods_holding, now.pods_rejected, now.pods_waiting) == (0, 0, 0)
    await rig.crash()
    await rig.start()
    await rig.quiet()
    assert rig.allocation("fraction")["spec"] == spec  # type: ignore[index]
    rig.assert_sound()


@virtual
async def test_where_neither_manager_is_on_nobody_waits_and_nothing_is_written():
    rig = Rig()
    await rig.furnished(cpuManagerPolicy="none", memoryManagerPolicy="None", reservedMemory=[])
    await rig.create(without_whole_cpus())
    assert rig.allocation("fraction") is None


@virtual
async def test_the_numa_nodes_of_cpus_are_told_where_memory_is_not_bound():
    rig = Rig()
    await rig.furnished(memoryManagerPolicy="None", reservedMemory=[])
    await rig.create(pod())
    assert rig.allocation()["spec"]["summary"]["numa"] == "0"  # type: ignore[index]
    await rig.crash()
    await rig.start()
    await rig.quiet()
    assert rig.allocation()["spec"]["summary"]["numa"] == "0"  # type: ignore[index]
    assert rig.told("Restored") == []


@virtual
async def test_a_deleted_podallocation_comes_back_as_it_was_with_an_event():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod())
    before = rig.allocation()["spec"]  # type: ignore[index]
    rig.cluster.remove(Kind.ALLOCATION, Key("default", "db"))
    await rig.quiet()
    assert rig.allocation()["spec"] == before  # type: ignore[index]
    assert len(rig.told("Restored")) == 1
    assert "was deleted" in rig.told("Restored")[0]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("cpus", "4-7,12-15", "spec.cpus"),
        ("nodeName", "n2", "spec.nodeName says n2 instead of n1"),
        ("podUID", "somebody", "was"),
        ("containers", [], "spec.containers"),
        ("scope", "container", "spec.scope says container instead of pod"),
        ("cpus", "no list", "spec.cpus"),
        ("summary", {"cpus": "1", "numa": "0", "exclusive": "1", "shared": "-"}, "spec.summary"),
        ("uidOnNode", "another", "spec.uidOnNode says another instead of nothing"),
    ],
)
@virtual
async def test_an_edited_podallocation_is_put_back_with_an_event_that_names_the_field(field, value, says):
    rig = Rig()
    await rig.furnished()
    await rig.create(pod())
    before = rig.allocation()
    assert before is not None
    rig.cluster.put(Kind.ALLOCATION, {**before, "spec": {**before["spec"], field: value}})
    await rig.quiet()
    assert rig.allocation()["spec"] == before["spec"]  # type: ignore[index]
    assert says in rig.told("Restored")[0]
    rig.assert_sound()


@virtual
async def test_a_podallocation_that_lost_its_owner_gets_it_back():
    rig = Rig()
    await rig.furnished()
    uid = await rig.create(pod())
    before = rig.allocation()
    assert before is not None
    before["metadata"].pop("ownerReferences")
    rig.cluster.put(Kind.ALLOCATION, before)
    await rig.quiet()
    assert rig.allocation()["metadata"]["ownerReferences"][0]["uid"] == uid  # type: ignore[index]


@virtual
async def test_a_restart_takes_over_every_decision_and_writes_nothing():
    rig = Rig()
    await rig.furnished("n1", "n2", onRejection="Share")
    for number in range(6):
        await rig.create(pod(f"p{number}", 3, on=f"n{number % 2 + 1}"))
    await rig.create(pod("big", 9))
    before = dict(rig.cluster.objects[Kind.ALLOCATION].items())
    await rig.crash()
    rig.cluster.requests.clear()
    await rig.start()
    await rig.quiet()
    assert rig.cluster.objects[Kind.ALLOCATION] == before
    writes = [request for request in rig.cluster.requests if not request.startswith(("list", "get"))]
    # What a profile's status lists is not read back: it is told once more.
    assert writes == ["apply NodeProfile/status main"]


@virtual
async def test_a_pod_that_ended_while_nobody_watched_is_released():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("a", 6))
    await rig.crash()
    rig.cluster.remove(Kind.POD, Key("default", "a"))
    await rig.start()
    await rig.create(pod("b", 6))
    assert rig.allocation("a") is None
    assert rig.cpus("b") == "1-3,9-11"


@virtual
async def test_pods_wait_for_the_agent_and_are_told_so():
    rig = Rig()
    rig.cluster.put(Kind.NAMESPACE, {"metadata": {"name": "default"}})
    rig.cluster.put(Kind.PROFILE, profile())
    rig.cluster.put(Kind.NODE, node())
    await rig.start()
    await rig.create(pod())
    assert rig.allocation() is None
    assert "the agent of node n1 has not reported its hardware" in rig.told("Undecided")[0]
    snapshot = rig.service.snapshot(leading=True, term=1, watch_age=0)
    assert (snapshot.pods_waiting, snapshot.pods_holding) == (1, 0)
    rig.report_hardware("n1", machine())
    await rig.quiet()
    assert rig.cpus() == "1-2,9-10"
    assert len(rig.told("Undecided")) == 1


@virtual
async def test_older_pods_are_decided_first():
    rig = Rig()
    rig.cluster.put(Kind.NAMESPACE, {"metadata": {"name": "default"}})
    rig.cluster.put(Kind.PROFILE, profile())
    rig.cluster.put(Kind.NODE, node())
    await rig.start()
    rig.cluster.put(Kind.POD, pod("young", creationTimestamp="2026-01-01T00:00:09Z"))
    rig.cluster.put(Kind.POD, pod("old", creationTimestamp="2026-01-01T00:00:01Z"))
    await rig.quiet()
    rig.report_hardware("n1", machine())
    await rig.quiet()
    assert (rig.cpus("old"), rig.cpus("young")) == ("1-2,9-10", "4-5,12-13")


@virtual
async def test_opt_in_leaves_pods_without_the_label_alone():
    rig = Rig()
    await rig.furnished(management="OptIn")
    await rig.create(pod("a"))
    await rig.create(pod("b", labels={"podnuma.dev/managed": "true"}))
    assert rig.allocation("a") is None
    assert rig.cpus("b") == "1-2,9-10"


@virtual
async def test_a_namespace_selector_follows_the_labels_of_the_namespace():
    rig = Rig()
    await rig.furnished(namespaceSelector={"matchLabels": {"team": "db"}})
    await rig.create(pod())
    assert rig.allocation() is None
    rig.cluster.put(Kind.NAMESPACE, {"metadata": {"name": "default", "labels": {"team": "db"}}})
    await rig.quiet()
    assert rig.cpus() == "1-2,9-10"


@virtual
async def test_the_budget_annotation_counts_where_the_api_server_drops_the_field():
    rig = Rig()
    await rig.furnished()
    budget = {"cpu": "4", "memory": "4Gi"}
    value = pod(annotations={"podnuma.dev/resources": json.dumps({"limits": budget, "requests": budget})})
    del value["spec"]["resources"]
    value["status"]["qosClass"] = "Burstable"
    await rig.create(value)
    assert rig.cpus() == "1-2,9-10"


@virtual
async def test_a_pod_that_cannot_be_read_is_told_why_and_hinders_nobody():
    rig = Rig()
    await rig.furnished()
    value = pod("bad", annotations={"podnuma.dev/resources": "{" * 1000})
    del value["spec"]["resources"]
    await rig.create(value)
    await rig.create(pod("good"))
    assert rig.cpus("good") == "1-2,9-10"
    assert "podnuma.dev/resources" in rig.told("Unreadable")[0]


@virtual
async def test_nothing_is_created_in_a_namespace_that_is_going():
    rig = Rig()
    await rig.furnished()
    rig.cluster.put(
        Kind.NAMESPACE, {"metadata": {"name": "default", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    )
    await rig.create(pod())
    assert rig.allocation() is None
    rig.cluster.requests.clear()
    await rig.quiet(20)
    assert rig.cluster.requests.count("create PodAllocation default/db") <= 5
    await rig.delete("db")
    rig.cluster.put(Kind.NAMESPACE, {"metadata": {"name": "other"}})
    value = pod("next")
    value["metadata"]["namespace"] = "other"
    await rig.create(value)
    assert rig.cluster.get(Kind.ALLOCATION, Key("other", "next")) is not None


@virtual
async def test_evictions_for_one_controller_are_spaced_out():
    rig = Rig()
    await rig.furnished()
    for number in range(30):
        await rig.create(pod(f"big{number}", 9, ownerReferences=owned_by("ReplicaSet", "rs")))
    evicted = len(rig.told("Evicted"))
    assert 1 <= evicted <= 2
    await rig.quiet(3600)
    assert evicted < len(rig.told("Evicted")) <= 14


@virtual
async def test_a_disruption_budget_delays_an_eviction_and_is_asked_at_a_slow_pace():
    rig = Rig()
    await rig.furnished()
    rig.cluster.allows_eviction = lambda _: False
    await rig.create(pod("big", 9, ownerReferences=owned_by("ReplicaSet", "rs")))
    await rig.quiet(600)
    assert 1 < rig.cluster.requests.count("evict default/big") <= 8
    assert len(rig.told("EvictionBlocked")) == 1
    rig.cluster.allows_eviction = lambda _: True
    await rig.quiet(600)
    assert len(rig.told("Evicted")) == 1


@pytest.mark.parametrize(
    "metadata",
    [
        {"ownerReferences": owned_by("DaemonSet", "ds")},
        {"annotations": {"kubernetes.io/config.mirror": "abc", "kubernetes.io/config.hash": "abc"}},
        {"creationTimestamp": "2025-12-31T00:00:00Z"},
    ],
)
@virtual
async def test_pods_that_would_only_come_back_or_were_there_before_are_not_evicted(metadata):
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("big", 9, **metadata))
    await rig.quiet(100)
    assert rig.cpus("big") == "-"
    assert "evict default/big" not in rig.cluster.requests


@virtual
async def test_a_refusal_is_taken_back_when_no_profile_wants_the_pod_managed():
    rig = Rig()
    await rig.furnished(onRejection="Share")
    await rig.create(pod("big", 9))
    assert rig.cpus("big") == "-"
    rig.cluster.put(Kind.PROFILE, profile(management="OptIn", onRejection="Share"))
    await rig.quiet()
    assert rig.allocation("big") is None


@virtual
async def test_a_node_loses_its_nodetopology_only_when_the_last_pod_has_ended():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("a"))
    rig.cluster.remove(Kind.PROFILE, Key("", "main"))
    await rig.quiet()
    await rig.create(pod("b"))
    assert rig.cpus("a") == "1-2,9-10"
    assert rig.allocation("b") is None
    assert rig.topology() is not None
    await rig.delete("a")
    await rig.quiet()
    assert rig.topology() is None


@virtual
async def test_an_edit_of_the_profile_counts_for_new_pods_and_leaves_running_ones_alone():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("old"))
    rig.cluster.put(Kind.PROFILE, profile(reservedSystemCPUs="0-1,8-9"))
    await rig.quiet()
    assert rig.cpus("old") == "1-2,9-10"
    await rig.create(pod("new"))
    assert rig.cpus("new") not in {None, "-"}
    settled = rig.condition(Kind.TOPOLOGY, "n1", "Settled")
    assert settled["status"] == "False"
    assert "default/old" in settled["message"]
    rig.assert_sound()
    ready = rig.condition(Kind.PROFILE, "main", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NodesPending")
    await rig.delete("old")
    await rig.quiet()
    assert rig.condition(Kind.TOPOLOGY, "n1", "Settled")["status"] == "True"
    assert rig.condition(Kind.PROFILE, "main", "Ready")["status"] == "True"


@virtual
async def test_settings_that_do_not_fit_the_hardware_are_refused_and_the_last_good_ones_stay():
    rig = Rig()
    await rig.furnished()
    rig.cluster.put(Kind.PROFILE, profile(reservedSystemCPUs="0,96"))
    await rig.quiet()
    usable = rig.condition(Kind.TOPOLOGY, "n1", "SettingsUsable")
    assert usable["status"] == "False"
    for words in ("NodeProfile main", "n1", "reservedSystemCPUs", "0,96", "stay in force"):
        assert words in usable["message"]
    ready = rig.condition(Kind.PROFILE, "main", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NodesRefused")
    assert "0,96" in ready["message"]
    assert rig.topology()["spec"]["reservedSystemCPUs"] == "0,8"  # type: ignore[index]
    await rig.create(pod())
    assert rig.cpus() == "1-2,9-10"


@virtual
async def test_an_unreadable_profile_says_so_and_its_last_good_settings_stay():
    rig = Rig()
    await rig.furnished()
    rig.cluster.put(Kind.PROFILE, profile(topologyManagerPolicy="one-numa-node"))
    await rig.quiet()
    ready = rig.condition(Kind.PROFILE, "main", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Unreadable")
    for words in ("NodeProfile main", "topologyManagerPolicy", "one-numa-node", "single-numa-node"):
        assert words in ready["message"]
    await rig.create(pod())
    assert rig.cpus() == "1-2,9-10"


@virtual
async def test_profiles_of_equal_priority_are_named_in_both():
    rig = Rig()
    await rig.furnished()
    rig.cluster.put(Kind.PROFILE, profile("other"))
    await rig.quiet()
    for name in ("main", "other"):
        conflict = rig.condition(Kind.PROFILE, name, "Conflict")
        assert conflict["status"] == "True"
        for words in ("main", "other", "n1", "spec.priority 0", "raise the priority"):
            assert words in conflict["message"]
    assert rig.topology()["spec"]["profile"]["name"] == "main"  # type: ignore[index]


@virtual
async def test_settings_of_a_nodetopology_edited_by_hand_are_put_back_where_a_profile_wins():
    rig = Rig()
    await rig.furnished()
    known = rig.topology()
    assert known is not None
    rig.cluster.put(
        Kind.TOPOLOGY,
        {**known, "spec": {**known["spec"], "mode": "Audit", "podSelector": {"matchLabels": {"a": "b"}}}},
    )
    await rig.quiet()
    found = rig.topology()
    assert found is not None
    assert found["spec"] == known["spec"]
    rig.cluster.requests.clear()
    rig.service.mark_everything()
    await rig.quiet()
    assert [request for request in rig.cluster.requests if "NodeTopology" in request] == []


@virtual
async def test_settings_written_by_hand_hold_where_no_profile_wins():
    rig = Rig()
    rig.cluster.put(Kind.NAMESPACE, {"metadata": {"name": "default"}})
    rig.cluster.put(Kind.NODE, node())
    await rig.start()
    spec = {key: value for key, value in profile()["spec"].items() if key not in {"nodeSelector", "priority"}}
    rig.cluster.put(Kind.TOPOLOGY, {"metadata": {"name": "n1"}, "spec": spec})
    rig.report_hardware("n1", machine())
    await rig.quiet()
    await rig.create(pod())
    assert rig.cpus() == "1-2,9-10"


@virtual
async def test_a_node_created_again_keeps_its_nodetopology_and_what_its_pods_hold():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod())
    rig.cluster.remove(Kind.NODE, Key("", "n1"))
    again = rig.cluster.put(Kind.NODE, node())
    await rig.quiet()
    rig.cluster.collect_garbage()
    await rig.quiet()
    assert rig.topology()["metadata"]["ownerReferences"][0]["uid"] == again["metadata"]["uid"]  # type: ignore[index]
    assert rig.cpus() == "1-2,9-10"


@virtual
async def test_a_node_that_is_gone_takes_its_objects_along():
    rig = Rig()
    await rig.furnished("n1", "n2")
    await rig.create(pod())
    rig.cluster.remove(Kind.NODE, Key("", "n1"))
    rig.cluster.remove(Kind.POD, Key("default", "db"))
    rig.cluster.collect_garbage()
    await rig.quiet()
    assert rig.topology("n1") is None
    assert rig.allocation() is None
    assert rig.topology("n2") is not None
    assert rig.service.snapshot(leading=True, term=0, watch_age=0).nodes == 1


@virtual
async def test_hardware_that_changed_under_a_running_pod_takes_nothing_away():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod())
    rig.report_hardware("n1", machine(cores=2, nodes=1))
    await rig.quiet()
    assert rig.cpus() == "1-2,9-10"
    assert rig.allocation() is not None


@virtual
async def test_two_podallocations_that_claim_one_cpu_leave_it_to_the_older_pod():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("a"))
    await rig.create(pod("b"))
    await rig.crash()
    a, b = rig.allocation("a"), rig.allocation("b")
    assert a is not None
    assert b is not None
    keep = {key: value for key, value in b["spec"].items() if key not in {"cpus", "containers"}}
    b["spec"] = {**keep, "cpus": a["spec"]["cpus"], "containers": a["spec"]["containers"]}
    rig.cluster.put(Kind.ALLOCATION, b)
    await rig.start()
    await rig.quiet()
    assert rig.cpus("a") == "1-2,9-10"
    assert rig.cpus("b") not in {None, "-", "1-2,9-10"}
    assert len(rig.told("AllocationConflict")) == 1
    rig.assert_sound()


@virtual
async def test_series_do_not_grow_with_pods():
    rig = Rig()
    await rig.furnished(onRejection="Share")
    rig.metrics.watch_state(lambda: rig.service.snapshot(leading=True, term=1, watch_age=0))

    def series() -> int:
        return len(rig.metrics.exposition()[1].splitlines())

    await rig.create(pod("first"))
    await rig.create(pod("big", 9))
    before = series()
    for number in range(100):
        await rig.create(pod(f"p{number}"))
        await rig.delete(f"p{number}")
    assert series() == before


@virtual
async def test_a_storm_of_refused_pods_costs_one_event_each_and_few_status_writes():
    rig = Rig(status_interval=1.0)
    await rig.furnished(onRejection="Share")
    await rig.create(pod("full", 8))
    rig.cluster.requests.clear()
    rig.cluster.events.clear()
    for number in range(500):
        rig.cluster.put(Kind.POD, pod(f"p{number}", 9, ownerReferences=owned_by("ReplicaSet", "rs")))
        await rig.quiet(0.12)
    await rig.quiet(5)
    assert len(rig.told("TopologyAffinityError")) == 500
    assert rig.cluster.requests.count("apply NodeTopology/status n1") <= 66


@virtual
async def test_a_full_list_puts_right_what_events_did_not_tell():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("a"))
    rig.cluster.deaf = True
    await rig.create(pod("b"))
    await rig.delete("a")
    rig.cluster.deaf = False
    assert rig.allocation("b") is None
    await rig.service.sync(Kind)
    await rig.quiet()
    assert rig.allocation("a") is None
    assert rig.cpus("b") not in {None, "-"}


@virtual
async def test_nothing_is_decided_where_the_agent_stands_back():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("before"))
    known = rig.topology()
    assert known is not None
    back = {
        "type": "StandingBack",
        "status": "True",
        "reason": "StaticKubelet",
        "message": "the kubelet's own static CPU manager is on; set cpuManagerPolicy none",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    conditions = [*known["status"]["conditions"], back]
    rig.cluster.put(Kind.TOPOLOGY, {**known, "status": {**known["status"], "conditions": conditions}})
    await rig.quiet()
    await rig.create(pod("after", 9))
    assert rig.cpus("before") == "1-2,9-10"
    assert rig.allocation("after") is None
    ready = rig.condition(Kind.PROFILE, "main", "Ready")
    assert ready["reason"] == "NodesRefused"
    assert "set cpuManagerPolicy none" in ready["message"]


@virtual
async def test_audit_decides_and_evicts_nobody():
    rig = Rig()
    await rig.furnished(mode="Audit")
    await rig.create(pod("big", 9))
    await rig.quiet(60)
    assert rig.cpus("big") == "-"
    assert "evict default/big" not in rig.cluster.requests


@virtual
async def test_what_an_unusable_object_says_is_not_given_to_others_while_it_is_there():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("victim", 6, creationTimestamp="2026-01-01T00:00:09Z"))
    await rig.crash()
    known = rig.allocation("victim")
    assert known is not None
    rig.cluster.put(Kind.ALLOCATION, {**known, "spec": {**known["spec"], "scope": "nonsense"}})
    # Older than the victim, so it is decided first, and onto the CPUs that the victim had.
    rig.cluster.put(Kind.POD, pod("older", 6, creationTimestamp="2026-01-01T00:00:01Z"))

    broken = []

    def fault(moment, request):
        if moment == "after" and "PodAllocation" in request:
            try:
                rig.assert_sound()
            except AssertionError as error:
                broken.append(error)

    rig.cluster.fault = fault
    await rig.start()
    await rig.quiet()
    assert broken == []
    assert {rig.cpus("older"), rig.cpus("victim")} == {"1-3,9-11", "4-6,12-14"}


@virtual
async def test_an_admission_whose_write_had_no_answer_is_not_taken_back():
    rig = Rig()
    await rig.furnished(onRejection="Share")
    await rig.create(pod("a", 6))
    await rig.create(pod("b", 6))
    await rig.create(pod("c", 6))
    assert rig.cpus("c") == "-"
    lose = iter([True, True, True])
    seen = []

    def fault(moment, request):
        if moment == "after" and request == "replace PodAllocation default/c":
            seen.append(rig.cpus("c"))
            if next(lose, False):
                raise errors.UncertainError(0, "NoAnswer", "cut")

    rig.cluster.fault = fault
    await rig.delete("b")
    await rig.quiet(10)
    assert rig.cpus("c") == "4-6,12-14"
    assert set(seen) == {"4-6,12-14"}


def carried_out(rig: Rig, request: str, after: float) -> None:
    """Lose the answer to the first request of this name; carry it out so much later and tell nobody."""
    waits = iter([after])
    loop = asyncio.get_running_loop()

    def late(name: str) -> float | None:
        wait = next(waits, None) if name == request else None
        if wait is not None:
            loop.call_later(wait, setattr, rig.cluster, "deaf", True)
            loop.call_later(wait + 0.01, setattr, rig.cluster, "deaf", False)
        return wait

    rig.cluster.late = late


@pytest.mark.parametrize("after", [0.0, 0.15, 2.0, 4.9])
@virtual
async def test_what_is_written_for_a_pod_that_has_gone_meets_nobody(after):
    rig = Rig()
    await rig.furnished()
    carried_out(rig, "create PodAllocation default/a", after)
    rig.cluster.put(Kind.POD, pod("a", 6))
    await rig.quiet(0.1)
    rig.cluster.remove(Kind.POD, Key("default", "a"))
    for name in ("b", "c"):
        rig.cluster.put(Kind.POD, pod(name, 6))
    for _ in range(200):
        rig.assert_sound()
        await rig.quiet(0.05)
    assert {rig.cpus("b"), rig.cpus("c")} == {"1-3,9-11", "4-6,12-14"}
    assert rig.allocation("a") is None


@pytest.mark.parametrize("after", [0.0, 2.0])
@virtual
async def test_what_is_put_back_while_its_pod_goes_meets_nobody(after):
    rig = Rig()
    await rig.furnished()
    for name in ("a", "b"):
        await rig.create(pod(name, 6))
    carried_out(rig, "create PodAllocation default/a", after)
    rig.cluster.remove(Kind.ALLOCATION, Key("default", "a"))
    await rig.quiet(0.1)
    rig.cluster.remove(Kind.POD, Key("default", "a"))
    rig.cluster.put(Kind.POD, pod("c", 6))
    for _ in range(200):
        rig.assert_sound()
        await rig.quiet(0.05)
    assert rig.cpus("c") == "1-3,9-11"
    assert rig.allocation("a") is None


@pytest.mark.parametrize("after", [0.0, 2.0])
@virtual
async def test_a_late_admission_of_a_refused_pod_that_has_gone_meets_nobody(after):
    rig = Rig()
    await rig.furnished(onRejection="Share")
    for name in ("a", "b", "c"):
        await rig.create(pod(name, 6))
    carried_out(rig, "replace PodAllocation default/c", after)
    rig.cluster.remove(Kind.POD, Key("default", "b"))
    await rig.quiet(0.1)
    rig.cluster.remove(Kind.POD, Key("default", "c"))
    rig.cluster.put(Kind.POD, pod("d", 6))
    for _ in range(200):
        rig.assert_sound()
        await rig.quiet(0.05)
    assert rig.cpus("d") == "4-6,12-14"
    assert rig.allocation("c") is None


@virtual
async def test_pods_created_and_deleted_by_the_thousand_leave_nothing_and_hold_up_nobody():
    rig = Rig()
    await rig.furnished()
    rig.cluster.requests.clear()
    for number in range(3000):
        name = f"p{number % 50}"
        rig.cluster.put(Kind.POD, pod(name, 9 if number % 2 else 3))
        if number % 60 == 0:
            await rig.quiet(0.03)
        rig.cluster.remove(Kind.POD, Key("default", name))
    began = len(rig.cluster.requests)
    await rig.create(pod("good"))
    assert rig.cpus("good") == "1-2,9-10"
    await rig.quiet(10)
    book = rig.service.desk("n1")
    assert book is not None
    assert [str(decided.key) for decided in book.decided.values()] == ["default/good"]
    assert {*book.unconfirmed, *book.refused_at, *book.idle, *book.evicted, *book.as_stored} == set()
    assert len(rig.service.inventory.pods) == len(rig.service.inventory.allocations) == 1
    assert len(rig.cluster.objects[Kind.ALLOCATION]) == 1
    # What was gone before its node's turn came cost nothing.
    assert began < 6 * 3000 / 60
