"""An API server that stores PodAllocations otherwise than they are sent: a policy, or an older CRD."""

import pytest
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.pod_allocation import read_pod_allocation
from podnuma.operator.cache.kinds import Kind

from tests.unit.operator.rig import Rig, pod
from tests.unit.operator.virtual import virtual

HOUR = 3600.0


def changed(**fields):
    return lambda spec: {**spec, **fields}


def without(*fields):
    return lambda spec: {name: value for name, value in spec.items() if name not in fields}


def writes(rig):
    return sum(request.startswith(("create PodA", "replace PodA")) for request in rig.cluster.requests)


def container(spec, **fields):
    first, *rest = spec["containers"]
    return {**spec, "containers": [{**first, **fields}, *rest]}


@pytest.mark.parametrize(
    ("admit", "says"),
    [
        (changed(podCPUQuota=5), "spec.podCPUQuota says 5 instead of 400000"),
        (changed(nodeName="n2"), "spec.nodeName says n2 instead of n1"),
        (changed(scope="container"), "spec.scope says container instead of pod"),
        (changed(memoryNodes="1", containers=[]), "spec.containers says []"),
        (without("memory"), "spec.memory says nothing"),
        (without("cpus"), "spec.cpus"),
        (lambda spec: container(spec, cpus="4"), "spec.cpus"),
        (lambda spec: container(spec, cpuQuota=5000), "spec.containers"),
    ],
    ids=["quota", "node", "scope", "containers", "memory", "no-cpus", "a-containers-cpus", "a-limit"],
)
@virtual
async def test_nobody_acts_on_what_says_something_else_and_an_event_names_it_once(admit, says):
    rig = Rig()
    await rig.furnished("n1", "n2")
    rig.cluster.admit_allocation = admit
    await rig.create(pod())
    stored = rig.allocation()
    with pytest.raises(InvalidObjectError):
        read_pod_allocation(stored)
    (told,) = rig.told("StoredOtherwise")
    assert says in told
    assert "no agent acts on it" in told
    assert rig.told("Allocated") == rig.told("Restored") == []
    before = writes(rig)
    await rig.quiet(HOUR)
    assert writes(rig) == before, "nothing is written again and again"
    rig.controller.resync()
    await rig.quiet()
    assert writes(rig) - before <= 1
    assert len(rig.told("StoredOtherwise")) == 1


@virtual
async def test_the_node_says_so_and_its_other_pods_go_on_and_get_none_of_its_cpus():
    rig = Rig()
    await rig.furnished()
    rig.cluster.admit_allocation = changed(podCPUQuota=5)
    await rig.create(pod("a"))
    rig.cluster.admit_allocation = lambda spec: spec
    await rig.create(pod("b"))
    assert (rig.cpus("a"), rig.cpus("b")) == ("1-2,9-10", "4-5,12-13")
    readable = rig.condition(Kind.TOPOLOGY, "n1", "Readable")
    assert readable["status"] == "False"
    assert "PodAllocation default/a" in readable["message"]
    rig.assert_sound()


@virtual
async def test_when_the_policy_is_gone_the_next_resync_stores_what_was_decided():
    rig = Rig()
    await rig.furnished()
    rig.cluster.admit_allocation = changed(podCPUQuota=5)
    await rig.create(pod())
    rig.cluster.admit_allocation = lambda spec: spec
    rig.controller.resync()
    await rig.quiet()
    stored = read_pod_allocation(rig.allocation())
    assert stored.grant.pod_quota == 400000
    assert len(rig.told("Restored")) == 1


@pytest.mark.parametrize(
    ("admit", "says"),
    [
        (without("podCPUShares"), "spec.podCPUShares says 0 instead of"),
        (lambda spec: container(spec, cpuShares=2), "spec.containers"),
        (changed(summary={"cpus": "1"}), "spec.summary"),
    ],
    ids=["dropped", "shares", "summary"],
)
@virtual
async def test_what_no_node_acts_on_may_be_otherwise_and_an_event_names_it(admit, says):
    rig = Rig()
    await rig.furnished()
    rig.cluster.admit_allocation = admit
    await rig.create(pod())
    assert read_pod_allocation(rig.allocation()).grant.pod_quota == 400000
    (told,) = rig.told("StoredOtherwise")
    assert says in told
    assert "nothing on the node depends on that" in told
    assert len(rig.told("Allocated")) == 1
    before = writes(rig)
    await rig.quiet(HOUR)
    assert writes(rig) == before


@virtual
async def test_settings_that_are_stored_otherwise_are_told_on_the_node_and_not_fought_for():
    rig = Rig()
    rig.cluster.admit_topology = changed(mode="Audit")
    await rig.furnished()
    await rig.quiet(60)
    ready = rig.condition(Kind.TOPOLOGY, "n1", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ReconcileFailing")
    assert (
        "NodeTopology n1 is stored otherwise than sent, spec.mode says Audit instead of" in ready["message"]
    )

    def written():
        return sum(
            one in {"apply NodeTopology n1", "replace NodeTopology n1"} for one in rig.cluster.requests
        )

    before = written()
    for number in range(5):
        await rig.create(pod(f"p{number}", 2))
    assert written() == before
    rig.cluster.admit_topology = lambda spec: spec
    rig.controller.resync()
    await rig.quiet(60)
    assert (rig.topology() or {})["spec"].get("mode") != "Audit"
    assert rig.condition(Kind.TOPOLOGY, "n1", "Ready")["reason"] != "ReconcileFailing"


@virtual
async def test_a_restart_does_not_make_a_decision_of_what_was_stored_otherwise():
    rig = Rig()
    await rig.furnished()
    rig.cluster.admit_allocation = changed(podCPUQuota=5)
    await rig.create(pod())
    await rig.crash()
    await rig.start()
    await rig.quiet()
    with pytest.raises(InvalidObjectError):
        read_pod_allocation(rig.allocation())
    before = writes(rig)
    await rig.quiet(HOUR)
    assert writes(rig) == before
