"""Profiles win, lose, change and are unreadable; NodeTopologies follow."""

from dataclasses import replace

from podnuma.allocator import cpuset
from podnuma.api.hardware import Hardware, render_hardware
from podnuma.api.node_topology import registration
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey
from podnuma.plumbing.kube import errors

from tests.unit.operator.rig import Rig, machine, node, pod, profile
from tests.unit.operator.virtual import virtual


@virtual
async def test_a_node_with_a_profile_gets_a_nodetopology_that_goes_with_it():
    rig = Rig()
    await rig.furnished()
    found = rig.topology()
    assert found is not None
    known = rig.cluster.get(Kind.NODE, ObjectKey("", "n1"))
    assert known is not None
    assert found["spec"]["profile"] == {"name": "main", "generation": 1}
    assert found["metadata"]["ownerReferences"][0]["uid"] == known["metadata"]["uid"]
    assert found["status"]["allocation"]["sharedPool"] == "0-15"


@virtual
async def test_a_node_keeps_its_hardware_and_loses_its_settings_when_the_last_pod_has_ended():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("a"))
    rig.cluster.remove(Kind.PROFILE, ObjectKey("", "main"))
    await rig.quiet()
    await rig.create(pod("b"))
    assert rig.cpus("a") == "1-2,9-10"
    assert rig.allocation("b") is None
    before = rig.topology()
    assert before is not None
    assert before["spec"]["profile"] == {"name": "main", "generation": 1}
    await rig.delete("a")
    await rig.quiet()
    left = rig.topology()
    assert left is not None
    assert "profile" not in left["spec"]
    assert (left["spec"]["mode"], left["spec"]["cpuManagerPolicy"]) == ("Enforce", "none")
    assert left["status"]["hardware"]["cores"]
    assert rig.condition(Kind.TOPOLOGY, "n1", "Ready")["reason"] == "NoProfile"
    rig.cluster.put(Kind.PROFILE, profile())
    await rig.quiet()
    assert rig.cpus("b") == "1-2,9-10"


@virtual
async def test_a_node_that_its_agent_registered_has_an_owner_and_nobody_is_decided_there():
    rig = Rig()
    rig.cluster.put(Kind.NODE, node("n1"))
    rig.cluster.put(
        Kind.TOPOLOGY, {**registration("n1"), "status": {"hardware": render_hardware(Hardware(machine()))}}
    )
    await rig.start()
    await rig.create(pod("a"))
    found = rig.topology()
    assert found is not None
    assert found["metadata"]["ownerReferences"][0]["name"] == "n1"
    assert rig.condition(Kind.TOPOLOGY, "n1", "Ready")["reason"] == "NoProfile"
    assert rig.allocation("a") is None


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
    settled = rig.condition(Kind.TOPOLOGY, "n1", "PodsUpToDate")
    assert settled["status"] == "False"
    assert "default/old" in settled["message"]
    rig.assert_sound()
    ready = rig.condition(Kind.PROFILE, "main", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NodesPending")
    await rig.delete("old")
    await rig.quiet()
    assert rig.condition(Kind.TOPOLOGY, "n1", "PodsUpToDate")["status"] == "True"
    assert rig.condition(Kind.PROFILE, "main", "Ready")["status"] == "True"


@virtual
async def test_settings_that_do_not_fit_the_hardware_are_refused_and_the_last_good_ones_stay():
    rig = Rig()
    await rig.furnished()
    rig.cluster.put(Kind.PROFILE, profile(reservedSystemCPUs="0,96"))
    await rig.quiet()
    usable = rig.condition(Kind.TOPOLOGY, "n1", "SettingsValid")
    assert usable["status"] == "False"
    for words in ("NodeProfile main", "n1", "reservedSystemCPUs", "0,96", "still apply"):
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
    assert (ready["status"], ready["reason"]) == ("False", "InvalidObject")
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
    rig.controller.enqueue_all()
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
async def test_a_profile_that_selects_no_node_is_not_ready_and_an_event_says_so():
    rig = Rig()
    rig.cluster.put(Kind.PROFILE, profile(nodeSelector={"matchLabels": {"pool": "typo"}}))
    rig.cluster.put(Kind.NODE, node("n1"))
    await rig.start()
    await rig.quiet()
    ready = rig.condition(Kind.PROFILE, "main", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NoNodes")
    assert rig.condition(Kind.PROFILE, "main", "Reconciling")["status"] == "True"
    (told,) = [event for event in rig.cluster.events if event["reason"] == "NoNodes"]
    assert told["involvedObject"]["kind"] == "NodeProfile"
    rig.cluster.put(Kind.NODE, node("n2", pool="typo"))
    await rig.quiet()
    assert rig.condition(Kind.PROFILE, "main", "Ready")["reason"] == "NodesPending"
    assert len(rig.told("NodesPending")) == 0


@virtual
async def test_refused_settings_are_told_once_by_an_event_on_the_profile():
    rig = Rig()
    await rig.furnished()
    rig.cluster.put(Kind.PROFILE, profile(reservedSystemCPUs="0,99"))
    await rig.quiet()
    for name in ("a", "b"):
        await rig.create(pod(name, 2))
    told = [event for event in rig.cluster.events if event["reason"] == "NodesRefused"]
    assert [event["involvedObject"]["name"] for event in told] == ["main"]
    assert "99" in told[0]["message"]


@virtual
async def test_a_profile_counts_the_pods_that_its_settings_refuse():
    rig = Rig()
    await rig.crowded()
    known = rig.cluster.get(Kind.PROFILE, ObjectKey("", "main"))
    assert known is not None
    assert (known["status"]["nodesRefused"], known["status"]["podsRejected"]) == (0, 1)
    await rig.delete("a")
    known = rig.cluster.get(Kind.PROFILE, ObjectKey("", "main"))
    assert known is not None
    assert known["status"]["podsRejected"] == 0


@virtual
async def test_a_restart_never_says_of_a_profile_that_it_selects_no_node():
    rig = Rig()
    await rig.furnished("n1", "n2")
    await rig.crash()
    rig.cluster.requests.clear()
    await rig.start()
    await rig.quiet(3)
    assert rig.told("NoNodes") == []
    assert rig.condition(Kind.PROFILE, "main", "Ready")["status"] == "True"


@virtual
async def test_a_new_profile_is_not_said_to_select_no_node_before_nodes_were_looked_at():
    rig = Rig()
    rig.cluster.put(Kind.NODE, node("n1"))
    await rig.start()
    await rig.quiet()
    rig.cluster.delay = 2.0
    rig.cluster.put(Kind.PROFILE, profile())
    await rig.quiet(60)
    assert rig.told("NoNodes") == []
    assert rig.condition(Kind.PROFILE, "main", "Ready")["reason"] == "NodesPending"


@virtual
async def test_a_changed_profile_is_ready_only_once_its_nodes_have_what_it_says_now():
    rig = Rig()
    await rig.furnished("n1", "n2")
    rig.cluster.delay = 2.0
    known = rig.cluster.get(Kind.PROFILE, ObjectKey("", "main"))
    assert known is not None
    rig.cluster.put(Kind.PROFILE, {**known, **profile(reservedSystemCPUs="0-1,8-9")})
    said = set()
    for _ in range(600):
        await rig.quiet(0.1)
        stored = rig.cluster.get(Kind.PROFILE, ObjectKey("", "main"))
        assert stored is not None
        ready = rig.condition(Kind.PROFILE, "main", "Ready")
        if ready["observedGeneration"] == stored["metadata"]["generation"]:
            specs = [(rig.topology(name) or {})["spec"] for name in ("n1", "n2")]
            said.add((ready["status"], all(one["reservedSystemCPUs"] == "0-1,8-9" for one in specs)))
    assert ("True", False) not in said
    assert ("True", True) in said


@virtual
async def test_a_node_whose_runs_fail_keeps_no_profile_from_reporting_the_others():
    rig = Rig()
    await rig.furnished("n1", "n2")

    def refuse(moment: str, request: str) -> None:
        if moment == "before" and request.endswith("NodeTopology n1"):
            raise errors.BusyError(503, "ServiceUnavailable", "down")

    rig.cluster.fault = refuse
    rig.cluster.put(Kind.PROFILE, profile(reservedSystemCPUs="0-1,8-9"))
    await rig.quiet(30)
    stored = rig.cluster.get(Kind.PROFILE, ObjectKey("", "main"))
    assert stored is not None
    states = {one["name"]: one["state"] for one in stored["status"]["nodes"]}
    assert states == {"n1": "Pending", "n2": "Applied"}


@virtual
async def test_a_profile_can_say_which_kind_of_core_exclusive_cpus_come_from():
    rig = Rig()
    await rig.furnished("n1", "n2")
    kinds = {"performance": cpuset.parse("0-1,4-9,12-15"), "efficient": cpuset.parse("2-3,10-11")}
    rig.report_hardware("n1", replace(machine(), kinds=tuple(kinds.items())))
    rig.cluster.put(Kind.PROFILE, profile(exclusiveCoreKind="efficient", reservedSystemCPUs="0,8"))
    await rig.quiet()
    told = rig.condition(Kind.TOPOLOGY, "n2", "SettingsValid")
    assert told["status"] == "False"
    assert "exclusiveCoreKind" in told["message"]
    assert "all its cores are of one kind" in told["message"]
    await rig.create(pod())
    assert rig.cpus() == "2-3,10-11"
    found = rig.topology()
    assert found is not None
    assert found["status"]["allocation"]["sharedPool"] == "0-1,4-9,12-15"
    assert [free.get("cpus", "") for free in found["status"]["allocation"]["numaNodes"]] == ["", ""]
    await rig.create(pod("more", 2))
    assert rig.cpus("more") in {None, "-"}
