"""Gated pods: reserved, nominated, freed; taken over or given back."""

from __future__ import annotations

import pytest
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey
from podnuma.operator.node.reservations import BIND_WITHIN
from podnuma.plumbing.kube import errors

from tests.unit.operator.fake_cluster import no_fault
from tests.unit.operator.rig import QUIET, Rig, machine, owned_by, pod, profile
from tests.unit.operator.virtual import virtual

GATE = "podnuma.dev/placement"


def gated(name="db", cpus=4, gates=(GATE,), **metadata):
    value = pod(name, cpus, **metadata)
    del value["spec"]["nodeName"]
    value["spec"]["schedulingGates"] = [{"name": gate} for gate in gates]
    return value


def stored(rig, name="db"):
    return rig.cluster.get(Kind.POD, ObjectKey("default", name))


def gates(rig, name="db"):
    return [gate["name"] for gate in stored(rig, name)["spec"]["schedulingGates"]]


def nominated(rig, name="db"):
    return stored(rig, name)["status"].get("nominatedNodeName")


async def placing(*nodes, seed=1, **spec):
    rig = Rig(seed, placement=True)
    await rig.furnished(*nodes, placement="BeforeBinding", **spec)
    return rig


async def bind(rig, name="db", to=None):
    known = stored(rig, name)
    rig.cluster.put(Kind.POD, {**known, "spec": {**known["spec"], "nodeName": to or nominated(rig, name)}})
    await rig.quiet()


@virtual
async def test_a_gated_pod_is_reserved_then_nominated_then_freed():
    rig = await placing()
    rig.cluster.requests.clear()
    await rig.create(gated())
    assert rig.allocation()["spec"]["decision"]["reason"] == "Reserved"
    assert rig.allocation()["spec"]["nodeName"] == nominated(rig) == "n1"
    assert gates(rig) == []
    steps = [request for request in rig.cluster.requests if "default/db" in request]
    assert steps == [
        "create PodAllocation default/db",
        "nominate Pod default/db",
        "lift gate of Pod default/db",
    ]


@virtual
async def test_a_reservation_is_taken_over_unchanged_when_the_pod_is_bound_there():
    rig = await placing()
    await rig.create(gated())
    cpus = rig.cpus()
    assert rig.told("Allocated") == []
    await bind(rig)
    assert rig.cpus() == cpus
    assert rig.allocation()["spec"]["decision"]["reason"] == "Admitted"
    assert len(rig.told("Allocated")) == 1


@virtual
async def test_what_is_reserved_is_free_again_when_the_scheduler_takes_another_node():
    rig = await placing("n1", "n2")
    await rig.create(gated())
    other = {"n1": "n2", "n2": "n1"}[nominated(rig)]
    await bind(rig, to=other)
    await rig.quiet()
    assert rig.allocation()["spec"]["nodeName"] == other
    assert rig.allocation()["spec"]["decision"]["reason"] == "Admitted"
    assert rig.told("AllocationConflict") == rig.told("Restored") == []
    state = rig.controller.node_state(nominated(rig))
    assert state is None or not state.decisions


@virtual
async def test_a_deleted_pod_that_never_had_a_node_holds_nothing_although_no_agent_answers():
    rig = await placing()
    rig.cluster.agents_answer = False
    await rig.create(gated())
    assert rig.allocation() is not None
    await rig.delete("db")
    await rig.quiet()
    assert rig.allocation() is None
    assert rig.told("ReleasedUnseen") == []


@virtual
async def test_a_pod_that_is_not_bound_in_time_gives_its_reservation_back():
    rig = await placing()
    await rig.create(gated())
    await rig.quiet(BIND_WITHIN - 2)
    assert rig.allocation() is not None
    await rig.quiet(5)
    assert rig.allocation() is None
    assert len(rig.told("ReservationLapsed")) == 1
    await bind(rig, to="n1")
    assert rig.allocation()["spec"]["decision"]["reason"] == "Admitted"


@virtual
async def test_a_pod_that_no_node_can_hold_waits_and_is_told_why_until_there_is_room():
    rig = await placing()
    for name in ("a", "b"):
        await rig.create(pod(name, 6))
    await rig.create(gated("c", 6))
    await rig.quiet()
    assert gates(rig, "c") == [GATE]
    (condition,) = stored(rig, "c")["status"]["conditions"]
    assert condition["reason"] == "WaitsForNode"
    assert condition["message"].startswith(
        "0 of 1 nodes can hold it now (TopologyAffinityError 1); on n1: needs 6"
    )
    assert rig.told("WaitsForNode") == [condition["message"]]
    await rig.delete("a")
    await rig.quiet()
    assert gates(rig, "c") == []
    await bind(rig, "c")
    assert stored(rig, "c")["status"]["conditions"] == []


@virtual
async def test_pods_of_one_controller_that_may_go_to_different_nodes_do_not_wait_for_each_other():
    rig = await placing("n1", "n2")
    for name in ("a", "b"):
        await rig.create(pod(name, 6))
    for name, to in (("c", "n1"), ("d", "n2")):
        value = gated(name, 6, ownerReferences=owned_by("Job", "uid-of-train"))
        terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [to]}]}]
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        value["spec"]["affinity"] = {"nodeAffinity": required}
        rig.cluster.put(Kind.POD, value)
    await rig.quiet()
    assert gates(rig, "c") == [GATE]
    assert gates(rig, "d") == []
    assert nominated(rig, "d") == "n2"


@virtual
async def test_the_more_urgent_pod_comes_first_then_the_older_one():
    rig = await placing()
    for name in ("a", "b"):
        await rig.create(pod(name, 6))
    await rig.create(gated("old", 6))
    await rig.quiet(2)
    await rig.create(gated("young", 6))
    urgent = gated("urgent", 6)
    urgent["spec"]["priority"] = 10
    await rig.quiet(2)
    await rig.create(urgent)
    await rig.delete("a")
    await rig.quiet()
    assert {name: gates(rig, name) == [] for name in ("urgent", "old", "young")} == {
        "urgent": True,
        "old": False,
        "young": False,
    }
    await rig.delete("b")
    await rig.quiet()
    assert gates(rig, "old") == []
    assert gates(rig, "young") == [GATE]


@virtual
async def test_gates_of_others_are_waited_for_and_stay():
    rig = await placing()
    await rig.create(gated(gates=("kueue.x-k8s.io/admission", GATE)))
    assert gates(rig) == ["kueue.x-k8s.io/admission", GATE]
    assert rig.allocation() is None
    known = stored(rig)
    rig.cluster.put(Kind.POD, {**known, "spec": {**known["spec"], "schedulingGates": [{"name": GATE}]}})
    await rig.quiet()
    assert gates(rig) == []
    assert rig.allocation() is not None


@virtual
async def test_a_pod_that_asks_for_nothing_exclusive_is_left_to_the_scheduler():
    rig = await placing()
    value = gated()
    value["status"]["qosClass"] = "Burstable"
    value["spec"]["resources"] = {"requests": {"cpu": "1"}}
    for container in value["spec"]["containers"]:
        container["resources"] = {}
    await rig.create(value)
    assert gates(rig) == []
    assert rig.allocation() is None
    assert nominated(rig) is None


@virtual
async def test_a_gated_pod_is_let_go_where_no_profile_places():
    rig = Rig(placement=True)
    await rig.furnished()
    await rig.create(gated())
    await rig.quiet()
    assert gates(rig) == []
    assert rig.allocation() is None


@virtual
async def test_a_pod_waits_for_nodes_whose_hardware_is_not_known_yet():
    rig = Rig(placement=True)
    rig.cluster.put(Kind.NAMESPACE, {"metadata": {"name": "default"}})
    from tests.unit.operator.rig import node, profile

    rig.cluster.put(Kind.PROFILE, profile(placement="BeforeBinding"))
    rig.cluster.put(Kind.NODE, node())
    await rig.start()
    await rig.create(gated())
    await rig.quiet(15)
    assert gates(rig) == [GATE]
    rig.report_hardware("n1", machine())
    await rig.quiet(1)
    assert gates(rig) == []
    assert rig.allocation() is not None


@virtual
async def test_an_unfit_pod_is_released_off_the_nodes_that_cannot_hold_it():
    rig = await placing("n1", "n2", whenNothingFits="Release")
    value = gated(cpus=9)
    value["spec"]["affinity"] = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "pool", "operator": "In", "values": ["a"]}]},
                    {"matchExpressions": [{"key": "pool", "operator": "Exists"}]},
                ]
            }
        }
    }
    await rig.create(value)
    await rig.quiet()
    assert gates(rig) == []
    terms = stored(rig)["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    for term in terms["nodeSelectorTerms"]:
        assert term["matchFields"] == [
            {"key": "metadata.name", "operator": "NotIn", "values": [name]} for name in ("n1", "n2")
        ]
        assert term["matchExpressions"][0]["key"] == "pool"


@virtual
async def test_a_pod_that_is_released_has_no_node_nominated_any_more():
    """The cluster autoscaler would add none for it, even if the node that was nominated before is gone."""
    rig = await placing("n1", whenNothingFits="Release")
    value = gated(cpus=9)
    value.setdefault("status", {})["nominatedNodeName"] = "gone"
    await rig.create(value)
    await rig.quiet()
    assert gates(rig) == []
    assert nominated(rig) is None


@virtual
@pytest.mark.parametrize("name", ["n1", "n2"])
async def test_no_pod_is_released_off_nodes_that_karpenter_has_added(name):
    """It ignores pods whose affinity names nodes: it would add none, and those that it has are excluded."""
    rig = await placing("n1", "n2", whenNothingFits="Release")
    known = rig.cluster.get(Kind.NODE, ObjectKey("", name))
    labels = {**known["metadata"]["labels"], "karpenter.sh/nodepool": "default"}
    rig.cluster.put(Kind.NODE, {**known, "metadata": {**known["metadata"], "labels": labels}})
    await rig.create(gated(cpus=9))
    await rig.quiet()
    assert gates(rig) == [GATE]
    assert "affinity" not in stored(rig)["spec"]
    (text,) = rig.told("WaitsForNode")
    assert text.endswith("; not released, as Karpenter adds no node for a pod that excludes nodes by name")


@virtual
async def test_a_cordoned_node_is_passed_by_and_one_cordoned_meanwhile_gives_back():
    rig = await placing("n1", "n2")
    node = rig.cluster.get(Kind.NODE, ObjectKey("", "n1"))
    rig.cluster.put(Kind.NODE, {**node, "spec": {"unschedulable": True}})
    await rig.create(gated())
    assert nominated(rig) == "n2"
    await rig.create(gated("late", gates=(GATE,)))
    assert nominated(rig, "late") == "n2"


@virtual
async def test_a_node_that_is_deleted_before_the_binding_gives_back():
    rig = await placing()
    await rig.create(gated())
    rig.cluster.remove(Kind.NODE, ObjectKey("", "n1"))
    await rig.quiet()
    assert rig.allocation() is None
    assert nominated(rig) is None


@virtual
async def test_what_all_pods_request_of_a_node_counts():
    rig = await placing()
    node = rig.cluster.get(Kind.NODE, ObjectKey("", "n1"))
    rig.cluster.put(
        Kind.NODE, {**node, "status": {"allocatable": {"cpu": "16", "memory": "64Gi", "pods": "110"}}}
    )
    other = pod("burstable")
    other["status"]["qosClass"] = "Burstable"
    other["spec"]["resources"] = {"requests": {"cpu": "13"}}
    other["spec"]["containers"] = [{"name": "x", "resources": {}}]
    await rig.create(other)
    await rig.create(gated())
    await rig.quiet()
    assert gates(rig) == [GATE]
    assert rig.told("WaitsForNode") == ["0 of 1 nodes can hold it now (resources 1)"]
    await rig.delete("burstable")
    await rig.quiet()
    assert gates(rig) == []


@virtual
async def test_a_refused_nomination_does_not_keep_the_pod():
    rig = await placing()

    def fault(moment, request):
        if moment == "before" and request.startswith("nominate"):
            raise errors.RefusedError(403, "Forbidden", "no")

    rig.cluster.fault = fault
    await rig.create(gated())
    assert gates(rig) == []
    assert rig.allocation() is not None


async def come_together(rig, *names, **needs):
    """Let pods appear before the next pass."""
    for name in names:
        rig.cluster.put(Kind.POD, gated(name, **needs))
    await rig.quiet(10)


@virtual
async def test_pods_that_come_together_are_reserved_at_once_in_their_order():
    rig = await placing()
    asked = []

    def fault(moment, request):
        if moment == "after" and request.startswith("create PodAllocation"):
            asked.append(sum(one.startswith("create PodAllocation") for one in rig.cluster.requests))

    rig.cluster.fault = fault
    await come_together(rig, "a", "b", "c", "d", cpus=3)
    assert asked == [4] * 4  # when the first one was answered
    assert [gates(rig, name) for name in "abcd"] == [[]] * 4
    rig.assert_sound()
    together = {name: rig.cpus(name) for name in "abcd"}
    rig = await placing()
    for name in "abcd":
        await rig.create(gated(name, 3))
    assert {name: rig.cpus(name) for name in "abcd"} == together


@virtual
async def test_what_pods_that_come_together_request_counts_for_each_other():
    rig = await placing()
    node = rig.cluster.get(Kind.NODE, ObjectKey("", "n1"))
    rig.cluster.put(
        Kind.NODE, {**node, "status": {"allocatable": {"cpu": "16", "memory": "6Gi", "pods": "110"}}}
    )
    await come_together(rig, "a", "b")
    assert (gates(rig, "a"), gates(rig, "b")) == ([], [GATE])
    assert rig.told("WaitsForNode") == ["0 of 1 nodes can hold it now (resources 1)"]


@virtual
async def test_pods_that_are_bound_together_are_taken_over_at_once():
    rig = await placing()
    await come_together(rig, "a", "b", "c", cpus=3)
    asked = []

    def fault(moment, request):
        if moment == "after" and request.startswith("replace PodAllocation"):
            asked.append(sum(one.startswith("replace PodAllocation") for one in rig.cluster.requests))

    rig.cluster.fault = fault
    for name in "abc":
        known = stored(rig, name)
        rig.cluster.put(Kind.POD, {**known, "spec": {**known["spec"], "nodeName": "n1"}})
    await rig.quiet()
    assert asked == [3] * 3
    assert {rig.allocation(name)["spec"]["decision"]["reason"] for name in "abc"} == {"Admitted"}
    rig.assert_sound()


@pytest.mark.parametrize("error", [errors.BusyError, errors.UncertainError])
@virtual
async def test_a_pod_whose_reservation_fails_keeps_no_other_that_came_with_it(error):
    rig = await placing("n1", "n2")
    left = 1

    def fault(moment, request):
        nonlocal left
        if moment == "before" and request == "create PodAllocation default/b" and left:
            left -= 1
            raise error(503, "Unavailable", "not now")

    rig.cluster.fault = fault
    await come_together(rig, "a", "b", "c")
    assert left == 0
    assert [gates(rig, name) for name in "abc"] == [[]] * 3
    rig.assert_sound()


async def die_while_placing(seed):
    """Let a process die at a request drawn by a seed, another one follow, and every pod be bound."""
    rig = await placing("n1", "n2", seed=seed)
    left = rig.cluster.rng.randrange(1, 24)
    killed = []

    def fault(moment, request):
        nonlocal left
        left -= 1
        if left == 0:
            killed.append((moment, request))
            raise errors.UncertainError(0, "NoAnswer", "the process ends")

    rig.cluster.fault = fault
    names = [f"p{number}" for number in range(4)]
    for name in names:
        rig.cluster.put(Kind.POD, gated(name, 6))
    for _ in range(200):
        if killed:
            break
        await rig.quiet(0.01)
    rig.cluster.fault = no_fault
    await rig.crash()
    rig.assert_sound()
    await rig.start()
    await rig.quiet(10)
    rig.assert_sound()
    for name in names:
        assert gates(rig, name) == [], killed
        await bind(rig, name)
    await rig.quiet(QUIET)
    rig.assert_sound()
    assert {rig.allocation(name)["spec"]["decision"]["reason"] for name in names} == {"Admitted"}, killed
    for name in names:
        await rig.delete(name)
    await rig.quiet(2)
    assert rig.cluster.objects[Kind.ALLOCATION] == {}


@pytest.mark.parametrize("seed", range(40))
@virtual
async def test_no_pod_stays_gated_and_none_shares_wherever_the_operator_dies(seed):
    await die_while_placing(seed)


@virtual
async def test_a_reservation_whose_write_has_no_answer_is_made_once():
    rig = await placing("n1", "n2")
    lost: list[str] = []

    def fault(moment, request):
        if moment == "after" and request.startswith("create PodAllocation") and not lost:
            lost.append(request)
            raise errors.UncertainError(0, "NoAnswer", "the connection was cut")

    rig.cluster.fault = fault
    await rig.create(gated())
    await rig.quiet(5)
    assert gates(rig) == []
    created = [request for request in rig.cluster.requests if request == "create PodAllocation default/db"]
    assert len(created) <= 2
    assert nominated(rig) == rig.allocation()["spec"]["nodeName"]
    states = [rig.controller.node_state(name) for name in ("n1", "n2")]
    assert sum(len(state.decisions) for state in states if state is not None) == 1


@virtual
async def test_a_profile_says_that_this_operator_does_not_place():
    rig = Rig()
    await rig.furnished(placement="BeforeBinding")
    told = rig.condition(Kind.PROFILE, "main", "Placement")
    assert (told["status"], told["reason"]) == ("False", "Disabled")
    ready = rig.condition(Kind.PROFILE, "main", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "PlacementDisabled")
    for words in ("spec.placement", "BeforeBinding", "--placement", "placement.enabled"):
        assert words in ready["message"]
    assert len(rig.told("PlacementDisabled")) == 1
    await rig.create(pod())  # decided once it is bound
    assert rig.cpus() == "1-2,9-10"


@virtual
async def test_a_profile_says_whether_pods_are_placed_only_where_it_asks_for_that():
    rig = await placing()
    told = rig.condition(Kind.PROFILE, "main", "Placement")
    assert (told["status"], told["reason"]) == ("True", "BeforeBinding")
    assert rig.condition(Kind.PROFILE, "main", "Ready")["status"] == "True"
    rig.cluster.put(Kind.PROFILE, profile())
    await rig.quiet()
    conditions = rig.cluster.get(Kind.PROFILE, ObjectKey("", "main"))["status"]["conditions"]
    assert "Placement" not in {one["type"] for one in conditions}


@virtual
async def test_a_waiting_pod_is_let_go_when_its_profile_stops_placing():
    rig = await placing()
    await rig.create(gated("big", 9))
    assert gates(rig, "big") == [GATE]
    rig.cluster.put(Kind.PROFILE, profile(placement="AfterBinding"))
    await rig.quiet(15)
    assert gates(rig, "big") == []


@virtual
async def test_why_a_pod_waits_is_told_anew_when_the_reason_has_changed_and_nothing_else_happens():
    rig = await placing()
    for name in ("a", "b"):
        await rig.create(pod(name, 6))
    await rig.create(gated("c", 6))
    await rig.quiet()
    value = rig.cluster.get(Kind.NODE, ObjectKey("", "n1"))
    rig.cluster.put(Kind.NODE, {**value, "spec": {"unschedulable": True}})
    await rig.quiet(90)
    (condition,) = stored(rig, "c")["status"]["conditions"]
    assert condition["message"] == "0 of 1 nodes can hold it now (cordoned 1)"
    assert len(rig.told("WaitsForNode")) == 2


@virtual
async def test_a_profile_that_stops_placing_changes_nothing_that_is_reserved():
    rig = await placing()
    await rig.create(gated())
    cpus = rig.cpus()
    rig.cluster.put(Kind.PROFILE, profile(placement="AfterBinding"))
    await rig.quiet()
    await bind(rig)
    assert rig.cpus() == cpus
    assert rig.allocation()["spec"]["decision"]["reason"] == "Admitted"


@virtual
async def test_a_reservation_that_somebody_deletes_or_edits_is_put_back():
    rig = await placing()
    await rig.create(gated())
    cpus = rig.cpus()
    rig.cluster.remove(Kind.ALLOCATION, ObjectKey("default", "db"))
    await rig.quiet(5)
    assert rig.cpus() == cpus
    edited = rig.allocation()
    rig.cluster.put(Kind.ALLOCATION, {**edited, "spec": {**edited["spec"], "cpus": "4-7"}})
    await rig.quiet(5)
    assert rig.cpus() == cpus
    await bind(rig)
    assert rig.cpus() == cpus
    assert rig.allocation()["spec"]["decision"]["reason"] == "Admitted"


@virtual
async def test_gated_pods_that_cannot_be_read_are_let_go_and_hold_nobody_up():
    rig = await placing()
    unreadable, odd = gated("bad"), gated("odd")
    unreadable["spec"]["resources"]["limits"]["cpu"] = "lots"
    odd["spec"] |= {"nodeSelector": {"pool": 7}, "tolerations": "no", "affinity": [1]}
    for value in (unreadable, odd, gated("good")):
        await rig.create(value)
    await rig.quiet(15)
    assert gates(rig, "bad") == gates(rig, "odd") == []
    assert rig.allocation("bad") is None
    assert nominated(rig, "good") == "n1"


@virtual
async def test_a_gated_pod_whose_record_the_server_fails_to_store_holds_up_no_node():
    rig = await placing("n1", "n2")

    def fault(moment, request):
        if moment == "before" and request == "create PodAllocation default/a":
            raise errors.UncertainError(500, "", "etcdserver: request is too large")

    rig.cluster.fault = fault
    await rig.create(gated("a"))
    await rig.create(gated("b"))
    await rig.quiet(15)
    assert gates(rig, "a") == [GATE]
    assert gates(rig, "b") == []
    before = len(rig.cluster.requests)
    await rig.quiet(300)
    assert 1 <= rig.cluster.requests[before:].count("create PodAllocation default/a") <= 30
    rig.cluster.fault = no_fault
    await rig.quiet(310)
    assert gates(rig, "a") == []
    rig.assert_sound()
