"""Gated pods that others hold back (a gate, the API server), and nominations that no longer hold."""

from __future__ import annotations

import pytest
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey
from podnuma.operator.node.reservations import BIND_WITHIN
from podnuma.plumbing.kube import errors

from tests.unit.operator.fake_cluster import no_fault
from tests.unit.operator.rig import node, pod
from tests.unit.operator.test_controller_placement import GATE, bind, gated, gates, nominated, placing, stored
from tests.unit.operator.virtual import virtual


@virtual
async def test_a_pod_that_is_not_bound_in_time_keeps_no_room_in_the_books_of_the_scheduler():
    """Schedulers from v1.34 on leave a nomination alone: others were kept off the node for the pod."""
    rig = await placing()
    await rig.create(gated())
    assert nominated(rig) == "n1"
    await rig.quiet(BIND_WITHIN + 3)
    assert nominated(rig) is None
    assert rig.told("ReservationLapsed")


@virtual
async def test_a_nomination_of_somebody_else_stays_when_a_reservation_lapses():
    rig = await placing("n1", "n2")
    await rig.create(gated())
    other = {"n1": "n2", "n2": "n1"}[nominated(rig)]
    known = stored(rig)
    rig.cluster.put(Kind.POD, {**known, "status": {**known["status"], "nominatedNodeName": other}})
    await rig.quiet(BIND_WITHIN + 3)
    assert rig.allocation() is None
    assert nominated(rig) == other


@pytest.mark.parametrize("fault", [errors.RefusedError, errors.ConflictError, errors.UncertainError])
@virtual
async def test_a_nomination_that_cannot_be_taken_back_keeps_no_reservation(fault):
    rig = await placing()
    await rig.create(gated())
    failures = [fault(403, "Forbidden", "no")]

    def failing(moment: str, request: str) -> None:
        if moment == "before" and request.startswith("nominate") and failures:
            raise failures.pop()

    rig.cluster.fault = failing
    await rig.quiet(BIND_WITHIN + 10)
    assert not failures
    assert rig.allocation() is None


@virtual
async def test_a_pod_that_waits_for_a_gate_of_others_does_not_wait_for_a_node():
    """A queue (Kueue) may hold it for days: that is nobody's to look at, and no alert."""
    rig = await placing()
    for name in ("a", "b"):
        await rig.create(pod(name, 6))
    await rig.create(gated("queued", 6, gates=(GATE, "kueue.x-k8s.io/admission")))
    await rig.quiet(3600)
    told = rig.controller.snapshot(leading=True, term=1, watch_age=0.0)
    assert (told.pods_gated, told.longest_gated_wait) == (0, 0.0)
    known = stored(rig, "queued")
    left = {**known["spec"], "schedulingGates": [{"name": GATE}]}
    rig.cluster.put(Kind.POD, {**known, "spec": left})
    await rig.quiet(100)
    told = rig.controller.snapshot(leading=True, term=1, watch_age=0.0)
    assert told.pods_gated == 1
    assert 90 < told.longest_gated_wait < 110


@pytest.mark.parametrize(
    "error",
    [
        errors.RefusedError(403, "Forbidden", "exceeded quota: count/podallocations.podnuma.dev"),
        errors.WebhookError(500, "InternalError", "failed calling webhook"),
        errors.BusyError(429, "TooManyRequests", "later"),
    ],
    ids=["quota", "webhook", "busy"],
)
@virtual
async def test_a_reservation_that_the_api_server_does_not_take_is_tried_after_pauses_that_grow(error):
    """Each node was asked in turn, twice a second: six requests a second for every pod that waits."""
    rig = await placing("n1", "n2", "n3", "n4")

    def refusing(moment: str, request: str) -> None:
        if moment == "before" and request == "create PodAllocation default/db":
            raise error

    rig.cluster.fault = refusing
    rig.cluster.requests.clear()
    await rig.create(gated())
    await rig.create(gated("other"))
    assert rig.allocation("other") is not None
    await rig.quiet(300)
    asked = rig.cluster.requests.count("create PodAllocation default/db")
    assert 5 <= asked <= 15
    rig.cluster.fault = no_fault
    await rig.quiet(65)
    assert rig.allocation() is not None


SCC = "pods is forbidden: unable to validate against any security context constraint"


@pytest.mark.parametrize(
    "error",
    [
        errors.RefusedError(403, "Forbidden", SCC),
        errors.RefusedError(422, "Invalid", "ValidatingAdmissionPolicy 'labels' denied request: no metadata"),
        errors.WebhookError(500, "InternalError", 'failed calling webhook "policies.example.com"'),
    ],
    ids=["constraints", "policy", "webhook"],
)
@virtual
async def test_a_gate_that_may_not_be_removed_is_told_and_holds_nothing_meanwhile(error):
    """The pod waited without a word, and had its CPUs reserved for good."""
    rig = await placing()

    def refusing(moment: str, request: str) -> None:
        if moment == "before" and request == "lift gate of Pod default/db":
            raise error

    rig.cluster.fault = refusing
    rig.cluster.requests.clear()
    await rig.create(gated("db", 6))
    (text,) = rig.told("GateNotRemoved")
    assert text.startswith(f"The scheduling gate {GATE} cannot be removed: {error.message}; ")
    assert rig.allocation() is nominated(rig) is None
    for name in ("other", "another"):  # all that the node has
        await rig.create(gated(name, 6))
        assert gates(rig, name) == []
    await rig.delete("other")
    await rig.quiet(300)
    assert 5 <= rig.cluster.requests.count("lift gate of Pod default/db") <= 15
    assert len(set(rig.told("GateNotRemoved"))) == 1
    rig.cluster.fault = no_fault
    await rig.quiet(65)
    assert gates(rig) == []
    assert rig.allocation() is not None


@virtual
async def test_a_released_pod_whose_gate_may_not_be_removed_is_told_and_tried_after_pauses_that_grow():
    rig = await placing()

    def refusing(moment: str, request: str) -> None:
        if moment == "before" and request.startswith("lift gate"):
            raise errors.RefusedError(403, "Forbidden", SCC)

    rig.cluster.fault = refusing
    rig.cluster.requests.clear()
    nothing = gated()
    for one in nothing["spec"]["containers"]:
        one["resources"] = {}
    del nothing["spec"]["resources"]
    nothing["status"]["qosClass"] = "BestEffort"
    await rig.create(nothing)
    assert len(rig.told("GateNotRemoved")) == 1
    await rig.quiet(300)
    assert 5 <= rig.cluster.requests.count("lift gate of Pod default/db") <= 15
    rig.cluster.fault = no_fault
    await rig.quiet(65)
    assert gates(rig) == []


def with_volume():
    value = gated("db", 6)
    value["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db"}}]
    return value


@virtual
async def test_a_pod_whose_volume_is_made_on_its_node_keeps_its_reservation_meanwhile():
    """The scheduler has chosen the node, and binds the pod when the volume is there: CPUs were gone then."""
    rig = await placing()
    await rig.create(with_volume())
    cpus = rig.cpus()
    await rig.quiet(300)
    for name in ("a", "b"):
        await rig.create(gated(name, 6))
    assert nominated(rig) == "n1"
    assert len([name for name in ("a", "b") if gates(rig, name) == []]) == 1
    await bind(rig)
    assert rig.allocation()["spec"]["decision"]["reason"] == "Admitted"
    assert rig.cpus() == cpus
    assert rig.told("ReservationLapsed") == []


@pytest.mark.parametrize(("priority", "placed"), [(99, False), (100, False), (101, True)])
@virtual
async def test_room_that_the_scheduler_keeps_for_a_pod_is_taken_by_more_urgent_ones_only(priority, placed):
    """Others are evicted for it; what they leave is not for those that come later and matter less."""
    rig = await placing()
    sized = node("n1") | {"status": {"allocatable": {"cpu": "16", "memory": "64Gi", "pods": "110"}}}
    rig.cluster.put(Kind.NODE, sized)
    urgent = gated("urgent", gates=(), uid="uid-urgent")
    urgent["spec"] = {
        "priority": 100,
        "containers": [{"name": "c", "resources": {"requests": {"cpu": "12"}}}],
    }
    urgent["status"] = {"phase": "Pending", "qosClass": "Burstable", "nominatedNodeName": "n1"}
    await rig.create(urgent)
    value = gated("db", 6)
    value["spec"]["priority"] = priority
    await rig.create(value)
    assert (gates(rig) == []) is placed
    await rig.delete("urgent")
    await rig.quiet()
    assert gates(rig) == []


def on_node(name):
    term = {"matchExpressions": [{"key": "host", "operator": "In", "values": [name]}]}
    return {"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}}}


async def named_nodes(*names):
    rig = await placing(*names)
    for name in names:
        rig.cluster.put(Kind.NODE, node(name, host=name))
    await rig.quiet()
    return rig


@pytest.mark.parametrize("where", ["n1", "n2"])
@virtual
async def test_a_pod_whose_volume_is_there_is_placed_where_that_can_be_attached(where):
    rig = await named_nodes("n1", "n2")
    rig.cluster.volumes[ObjectKey("default", "data-db")] = on_node(where)
    await rig.create(with_volume())
    assert nominated(rig) == where
    assert rig.allocation()["spec"]["nodeName"] == where


@virtual
async def test_a_pod_whose_volume_is_elsewhere_waits_for_room_there_and_is_told_so():
    rig = await named_nodes("n1", "n2")
    for name in ("a", "b"):
        await rig.create(pod(name, 6))
    rig.cluster.volumes[ObjectKey("default", "data-db")] = on_node("n1")
    await rig.create(with_volume())
    await rig.quiet()
    (said,) = rig.told("WaitsForNode")
    assert said.startswith("0 of 2 nodes can hold it now (volume 1, TopologyAffinityError 1)")
    await rig.delete("a")
    await rig.quiet()
    assert nominated(rig) == "n1"


@virtual
async def test_a_volume_that_cannot_be_read_keeps_no_pod_waiting():
    rig = await named_nodes("n1")

    def fault(moment, request):
        if moment == "before" and request == "get volume of default/data-db":
            raise errors.RefusedError(403, "Forbidden", "persistentvolumeclaims is forbidden")

    rig.cluster.fault = fault
    await rig.create(with_volume())
    assert gates(rig) == []
    await rig.quiet(25)
    assert rig.cluster.requests.count("get volume of default/data-db") == 1


@pytest.mark.parametrize("reason", ["Unschedulable", "SchedulerError"])
@virtual
async def test_a_pod_with_volumes_that_the_scheduler_could_not_bind_gives_its_reservation_back(reason):
    rig = await placing()
    await rig.create(with_volume())
    await rig.quiet(200)
    assert rig.allocation() is not None
    condition = {"type": "PodScheduled", "status": "False", "reason": reason}
    known = stored(rig)
    rig.cluster.put(Kind.POD, {**known, "status": {**known["status"], "conditions": [condition]}})
    await rig.quiet()
    assert rig.allocation() is None
    assert len(rig.told("ReservationLapsed")) == 1


@pytest.mark.parametrize(
    ("asked", "waits"),
    [
        ({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}, 600),
        ({"volumes": [{"name": "data", "ephemeral": {}}], "schedulingGroup": {"podGroupName": "g"}}, 600),
        ({"schedulingGroup": {"podGroupName": "training"}}, 300),
        ({"workloadRef": {"name": "training", "podGroup": "workers"}}, 300),
        ({"volumes": [{"name": "scratch", "emptyDir": {}}]}, 0),
    ],
)
@virtual
async def test_a_reservation_lasts_as_long_as_the_scheduler_may_wait_with_a_node_chosen(asked, waits):
    """For a volume, or for the other pods of a group, which are bound together."""
    rig = await placing()
    value = gated()
    value["spec"] |= asked
    await rig.create(value)
    await rig.quiet(BIND_WITHIN + waits - 5)
    assert rig.allocation() is not None
    await rig.quiet(10)
    assert rig.allocation() is None
