"""PodAllocations that somebody else deleted, edited or made up."""

import copy

import pytest
from podnuma.api.node_topology import operator_part
from podnuma.api.spec_checksum import with_checksum
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey

from tests.unit.operator.rig import Rig, pod, profile
from tests.unit.operator.test_controller_endings import beat
from tests.unit.operator.virtual import virtual


@virtual
async def test_a_deleted_podallocation_comes_back_as_it_was_with_an_event():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod())
    before = rig.allocation()["spec"]  # type: ignore[index]
    rig.cluster.remove_at_once(Kind.ALLOCATION, ObjectKey("default", "db"))
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
async def test_a_stored_amount_below_zero_is_written_anew_and_pods_go_on():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("a"))
    stored = rig.topology()
    assert stored is not None
    allocation = copy.deepcopy(stored["status"]["allocation"])
    allocation["numaNodes"][0]["freeMemory"]["memory"] = "-4Gi"
    rig.cluster.put(Kind.TOPOLOGY, {**stored, "status": {**stored["status"], "allocation": allocation}})
    await rig.create(pod("b"))
    assert rig.cpus("b") not in {None, "-"}
    after = rig.topology()
    assert after is not None
    assert not after["status"]["allocation"]["numaNodes"][0]["freeMemory"]["memory"].startswith("-")


@virtual
async def test_reserving_below_what_is_held_leaves_no_memory_free_and_pods_go_on():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("a", 4, "28Gi"))
    more = [{"numaNode": node, "limits": {"memory": "20Gi"}} for node in (0, 1)]
    rig.cluster.put(Kind.PROFILE, profile(reservedMemory=more))
    await rig.quiet()
    after = rig.topology()
    assert after is not None
    free = [entry["freeMemory"]["memory"] for entry in after["status"]["allocation"]["numaNodes"]]
    assert free == ["0", "12Gi"]
    assert after["status"]["allocation"]["numaNodes"][0]["overcommittedMemory"] == {"memory": "16Gi"}
    await rig.create(pod("b"))
    assert rig.cpus("b") not in {None, "-"}


def accepted(rig, name="db", **status):
    """Let the agent say that it acts on the spec as it is now."""
    known = rig.allocation(name)
    said = {
        "observedGeneration": known["metadata"].get("generation", 1),
        "phase": "Applied",
        "acceptedSpec": copy.deepcopy(known["spec"]),
    }
    rig.cluster.put(Kind.ALLOCATION, {**known, "status": {**known.get("status", {}), **said, **status}})


@pytest.mark.parametrize(
    "edit",
    [
        {"containers": []},
        {"cpus": "9-1"},
        {"nodeName": "n2"},
        {"podUID": "somebody"},
        {"scope": "nonsense"},
        {"decision": {"admitted": True, "reason": "Admitted", "checksum": "0"}},
    ],
)
@virtual
async def test_what_was_edited_while_no_operator_looked_is_put_back_from_what_the_agent_acts_on(edit):
    rig = Rig()
    await rig.furnished("n1", "n2")
    await rig.create(pod("first"))
    await rig.create(pod())
    accepted(rig)
    before = rig.allocation()
    assert before is not None
    await rig.crash()
    rig.cluster.put(Kind.ALLOCATION, {**before, "spec": {**before["spec"], **edit}})
    await rig.start()
    await rig.quiet()
    assert rig.allocation()["spec"] == before["spec"]  # type: ignore[index]
    assert rig.cpus() == "4-5,12-13"
    assert len(rig.told("Restored")) == 1
    assert rig.told("AllocationConflict") == []


@virtual
async def test_a_finalizer_that_somebody_removed_comes_back():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod())
    before = rig.allocation()
    assert before is not None
    rig.cluster.put(Kind.ALLOCATION, {**before, "metadata": {**before["metadata"], "finalizers": []}})
    await rig.quiet()
    assert rig.allocation()["metadata"]["finalizers"] == ["podnuma.dev/cgroup"]  # type: ignore[index]
    assert "metadata.finalizers lacks podnuma.dev/cgroup" in rig.told("Restored")[0]


async def claimed_twice() -> Rig:
    """Return a rig without an operator, whose pods a and b claim the same CPUs; a is the older one."""
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("a", creationTimestamp="2026-01-01T00:00:01Z"))
    await rig.create(pod("b", creationTimestamp="2026-01-01T00:00:02Z"))
    beat(rig)
    await rig.crash()
    a, b = rig.allocation("a"), rig.allocation("b")
    assert a is not None
    assert b is not None
    stolen = with_checksum({**a["spec"], "podUID": b["spec"]["podUID"]})
    rig.cluster.put(Kind.ALLOCATION, {**b, "spec": stolen})
    return rig


def refused(rig, name):
    condition = {
        "type": "Ready",
        "status": "False",
        "reason": "Refused",
        "message": "spec.cpus: already held",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    accepted(rig, name, phase="Pending", conditions=[condition])


@virtual
async def test_of_two_podallocations_that_claim_one_cpu_the_one_stays_that_the_agent_finds_running_there():
    rig = await claimed_twice()
    refused(rig, "a")
    accepted(rig, "b")
    await rig.start()
    await rig.quiet()
    assert rig.cpus("b") == "1-2,9-10"
    assert rig.cpus("a") not in {None, "-", "1-2,9-10"}
    rig.assert_sound()


@virtual
async def test_while_the_agent_has_not_said_who_runs_there_nobody_loses_and_nothing_is_given():
    rig = await claimed_twice()
    await rig.start()
    await rig.create(pod("c"))
    assert rig.cpus("a") == rig.cpus("b") == "1-2,9-10"
    assert rig.allocation("c") is None
    assert "what is in force for PodAllocation default/a, default/b" in rig.told("Undecided")[0]
    refused(rig, "a")
    accepted(rig, "b")
    await rig.quiet(8)
    assert rig.cpus("b") == "1-2,9-10"
    assert rig.cpus("a") == "4-5,12-13"
    rig.assert_sound()


@virtual
async def test_an_agent_that_has_gone_silent_is_not_waited_for():
    rig = await claimed_twice()
    await rig.start()
    await rig.quiet(200)
    assert rig.cpus("a") == "1-2,9-10"
    assert rig.cpus("b") == "4-5,12-13"
    rig.assert_sound()


AT = "2026-01-01T00:00:00Z"
STATUS_EDITS = {
    "a text for people": ("summary", {"exclusive": "all", "shared": "none"}),
    "what is given out": ("allocation", {"pods": 99}),
    "a generation": ("observedGeneration", 99),
    "everything": ("", {}),
}


@pytest.mark.parametrize("edit", STATUS_EDITS)
@virtual
async def test_what_somebody_writes_into_the_status_of_a_nodetopology_is_put_back(edit):
    rig = Rig()
    await rig.furnished()
    await rig.create(pod())
    known = rig.topology()
    assert known is not None
    field, value = STATUS_EDITS[edit]
    status = {**known["status"], field: value} if field else {"hardware": known["status"]["hardware"]}
    rig.cluster.put(Kind.TOPOLOGY, {**known, "status": status})
    await rig.quiet(8)
    found = rig.topology()
    assert found is not None
    assert operator_part(found["status"]) == operator_part(known["status"])
    assert rig.condition(Kind.TOPOLOGY, "n1", "Readable")["status"] == "True"
    rig.cluster.requests.clear()
    rig.controller.enqueue_all()
    await rig.quiet(8)
    assert [one for one in rig.cluster.requests if "status" in one] == []


@virtual
async def test_conditions_and_counts_that_somebody_writes_are_put_back():
    rig = Rig()
    await rig.furnished()
    for kind, name in ((Kind.TOPOLOGY, "n1"), (Kind.PROFILE, "main")):
        known = rig.cluster.get(kind, ObjectKey("", name))
        assert known is not None
        others = [one for one in known["status"]["conditions"] if one["type"] != "Ready"]
        edited = {"type": "Ready", "status": "False", "reason": "Edited", "lastTransitionTime": AT}
        status = {**known["status"], "nodesMatched": 7, "conditions": [*others, edited]}
        rig.cluster.put(kind, {**known, "status": status})
    await rig.quiet(8)
    assert rig.condition(Kind.TOPOLOGY, "n1", "Ready")["reason"] == "AgentMissing"
    assert rig.condition(Kind.PROFILE, "main", "Ready")["reason"] != "Edited"
    main = rig.cluster.get(Kind.PROFILE, ObjectKey("", "main"))
    assert main is not None
    assert main["status"]["nodesMatched"] == 1


@virtual
async def test_the_status_of_a_refused_pod_is_put_back_and_follows_its_reason():
    rig = Rig()
    await rig.furnished(onRejection="Share")
    await rig.create(pod(cpus=9))
    known = rig.allocation()
    assert known is not None
    assert known["status"]["phase"] == "Rejected"
    others = [one for one in known["status"]["conditions"] if one["type"] != "Ready"]
    for status in ({**known["status"], "phase": "Applied"}, {**known["status"], "conditions": others}, {}):
        found = rig.allocation()
        assert found is not None
        rig.cluster.put(Kind.ALLOCATION, {**found, "status": status})
        await rig.quiet()
        found = rig.allocation()
        assert found is not None
        assert found["status"]["phase"] == "Rejected"
        told = {one["type"]: one["reason"] for one in found["status"]["conditions"]}
        assert told["Ready"] == "TopologyAffinityError"
