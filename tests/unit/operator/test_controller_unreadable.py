"""What cannot be read costs what it says, is told, and wedges no node."""

import copy

import pytest
from podnuma.api.node_conditions import NodeReason
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey
from podnuma.plumbing.kube import errors

from tests.unit.operator.fake_cluster import Json
from tests.unit.operator.rig import Rig, machine, pod, profile
from tests.unit.operator.test_controller_agents import hear
from tests.unit.operator.virtual import virtual

KEY = ObjectKey("", "n1")


def topology(rig: Rig) -> Json:
    found = rig.topology()
    assert found is not None
    return found


def put_status(rig, **parts):
    known = topology(rig)
    rig.cluster.put(Kind.TOPOLOGY, {**known, "status": {**known["status"], **parts}})


def snapshot(rig):
    return rig.controller.snapshot(leading=True, term=1, watch_age=0)


def states(rig):
    return {reason: count for reason, count in snapshot(rig).node_states.items() if count}


def condition(rig, kind):
    found = rig.condition(Kind.TOPOLOGY, "n1", kind)
    return found["status"], found["reason"], found["message"]


@virtual
async def test_a_spec_that_cannot_be_read_is_written_anew_from_the_profile():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("before"))
    known = topology(rig)
    rig.cluster.put(Kind.TOPOLOGY, {**known, "spec": {**known["spec"], "mode": "Nightly"}})
    await rig.quiet()
    assert topology(rig)["spec"] == known["spec"]
    await rig.create(pod("after"))
    assert (rig.cpus("before"), rig.cpus("after")) == ("1-2,9-10", "4-5,12-13")


@virtual
async def test_a_spec_by_hand_that_cannot_be_read_is_named_in_condition_event_and_metric_until_it_is_mended():
    rig = Rig()
    await rig.furnished()
    by_hand = {key: value for key, value in topology(rig)["spec"].items() if key != "profile"}
    await rig.create(pod("before"))
    rig.cluster.remove(Kind.PROFILE, ObjectKey("", "main"))
    rig.cluster.put(Kind.TOPOLOGY, {**topology(rig), "spec": {**by_hand, "topologyManagerPolicy": "odd"}})
    await rig.create(pod("after"))
    assert rig.cpus("before") == "1-2,9-10"
    assert rig.allocation("after") is None
    for kind in ("Ready", "SettingsValid"):
        status, reason, message = condition(rig, kind)
        assert (status, reason) == ("False", "InvalidObject")
        assert 'spec.topologyManagerPolicy "odd"' in message
    assert condition(rig, "Readable")[:2] == ("False", "FieldsUnreadable")
    assert any("topologyManagerPolicy" in message for message in rig.told("InvalidObject"))
    assert states(rig) == {NodeReason.INVALID_OBJECT: 1}
    assert snapshot(rig).unreadable["NodeTopology"] == 1
    assert rig.told("Undecided") == []  # nobody can tell which pods such settings would manage
    rig.cluster.put(Kind.TOPOLOGY, {**topology(rig), "spec": by_hand})
    await rig.quiet()
    assert rig.cpus("after") == "4-5,12-13"
    assert condition(rig, "Readable")[0] == "True"


@virtual
async def test_hardware_that_cannot_be_read_stops_new_decisions_only_and_says_so():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("before"))
    put_status(rig, hardware={"numaNodes": [{"id": 0, "cpus": "0-3", "memory": "-4Gi"}]})
    await rig.create(pod("after"))
    assert rig.cpus("before") == "1-2,9-10"
    assert rig.allocation("after") is None
    status, reason, message = condition(rig, "Ready")
    assert (status, reason) == ("False", "HardwareUnreadable")
    assert 'status.hardware.numaNodes[0].memory "-4Gi"' in message
    assert "status.hardware" in rig.told("Undecided")[0]
    assert states(rig) == {NodeReason.HARDWARE_UNREADABLE: 1}
    await rig.quiet(60)
    assert snapshot(rig).longest_node_wait == pytest.approx(60, abs=2)
    rig.report_hardware("n1", machine())
    await rig.quiet()
    assert rig.cpus("after") == "4-5,12-13"


@virtual
async def test_an_agent_that_reports_no_hardware_is_told_from_one_that_reports_nothing():
    rig = Rig()
    await rig.furnished()
    known = topology(rig)
    status = {key: value for key, value in known["status"].items() if key != "hardware"}
    rig.cluster.put(Kind.TOPOLOGY, {**known, "status": status})
    await rig.quiet()
    assert "the agent of node n1 has not reported its hardware" in condition(rig, "Ready")[2]
    why = {
        "type": "HardwareKnown",
        "status": "False",
        "reason": "Unknown",
        "message": "cpu7/topology is gone",
    }
    hear(rig, "2026-01-01T00:01:00Z")
    put_status(rig, conditions=[*topology(rig)["status"]["conditions"], why])
    await rig.quiet()
    told = condition(rig, "Ready")[2]
    assert "the agent of node n1 reports, but without hardware: cpu7/topology is gone" in told


@virtual
async def test_nothing_is_decided_while_it_cannot_be_read_whether_the_agent_is_paused():
    rig = Rig()
    await rig.furnished()
    conditions = topology(rig)["status"]["conditions"]
    put_status(rig, conditions=[*conditions, {"type": "Paused", "status": "Perhaps", "reason": "New"}])
    await rig.create(pod())
    assert rig.allocation() is None
    assert condition(rig, "Ready")[1] == "Paused"
    assert "cannot be read" in condition(rig, "Ready")[2]
    put_status(
        rig, conditions=[{"type": "Paused", "status": "False", "reason": "NoOtherManager", "message": ""}]
    )
    await rig.quiet()
    assert rig.cpus() == "1-2,9-10"


@virtual
async def test_a_status_of_a_newer_agent_costs_its_fields_only():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod())
    hear(rig, "2026-01-01T00:00:01Z")
    found = copy.deepcopy(rig.allocation())
    assert found is not None
    found["status"] = {
        "phase": "Migrating",
        "containers": [{"name": "main", "verdict": "Later"}, {"name": "side"}],
    }
    rig.cluster.put(Kind.ALLOCATION, found)
    rig.controller.resync()
    await rig.quiet()
    assert rig.told("Restored") == []
    assert rig.cpus() == "1-2,9-10"
    status, reason, message = condition(rig, "Readable")
    assert (status, reason) == ("False", "FieldsUnreadable")
    assert 'PodAllocation default/db, status.phase "Migrating"' in message
    assert snapshot(rig).unreadable == {"NodeProfile": 0, "NodeTopology": 0, "PodAllocation": 1}
    assert condition(rig, "Ready")[:2] == ("True", "Ready")


@virtual
async def test_a_status_of_a_profile_that_cannot_be_read_does_not_keep_it_from_being_selected():
    rig = Rig()
    await rig.furnished()
    rig.cluster.put(Kind.PROFILE, {**profile(reservedSystemCPUs="0-1,8-9"), "status": {"conditions": 7}})
    await rig.quiet()
    assert topology(rig)["spec"]["reservedSystemCPUs"] == "0-1,8-9"
    assert rig.condition(Kind.PROFILE, "main", "Ready")["reason"] == "Applied"


@virtual
async def test_a_node_on_which_every_run_fails_says_why():
    rig = Rig()
    await rig.furnished()

    def refuse(moment, request):
        if moment == "before" and request.startswith("create PodAllocation"):
            raise errors.RefusedError(403, "Forbidden", "podallocations is forbidden: no role binding")

    rig.cluster.fault = refuse
    await rig.create(pod())
    assert condition(rig, "Ready")[1] != "ReconcileFailing"
    await rig.quiet(60)
    status, reason, message = condition(rig, "Ready")
    assert (status, reason) == ("False", "ReconcileFailing")
    assert "no role binding" in message
    rig.cluster.fault = lambda _moment, _request: None
    await rig.quiet(30)
    assert rig.cpus() == "1-2,9-10"
    assert condition(rig, "Ready")[1] != "ReconcileFailing"
