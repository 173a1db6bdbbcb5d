"""What the controller makes of the agents: silent, new, paused, with other hardware."""

from podnuma.operator.cache.kinds import Kind

from tests.unit.operator.rig import Rig, machine, node, pod, profile
from tests.unit.operator.virtual import virtual


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
    rig.controller.resync()
    await rig.quiet()
    assert rig.condition(Kind.TOPOLOGY, "n1", "Ready")["reason"] == "Ready"
    await rig.quiet(20)
    rig.controller.resync()
    await rig.quiet()
    silent = rig.condition(Kind.TOPOLOGY, "n1", "Ready")
    assert (silent["status"], silent["reason"]) == ("False", "AgentSilent")
    assert "last reported at 2026-01-01T00:02:00Z" in silent["message"]
    hear(rig, "2026-01-01T00:09:00Z")
    await rig.quiet()
    assert rig.condition(Kind.TOPOLOGY, "n1", "Ready")["status"] == "True"


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
    snapshot = rig.controller.snapshot(leading=True, term=1, watch_age=0)
    assert (snapshot.pods_waiting, snapshot.pods_holding) == (1, 0)
    rig.report_hardware("n1", machine())
    await rig.quiet()
    assert rig.cpus() == "1-2,9-10"
    assert len(rig.told("Undecided")) == 1


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
async def test_nothing_is_decided_where_the_agent_stands_back():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("before"))
    known = rig.topology()
    assert known is not None
    back = {
        "type": "Paused",
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
