"""Pods and nodes end, come again under their names, and the operator with them."""

import pytest
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey

from tests.unit.operator.rig import Rig, node, pod
from tests.unit.operator.virtual import virtual


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
    known = rig.cluster.get(Kind.POD, ObjectKey("default", "a"))
    assert known is not None
    known["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:10Z"
    rig.cluster.put(Kind.POD, known)
    await rig.quiet()
    assert rig.cpus("a") == "1-2,9-10"


@virtual
async def test_a_new_pod_of_the_same_name_is_another_pod_beside_what_the_former_one_may_still_hold():
    rig = Rig()
    await rig.furnished()
    first = await rig.create(pod("db"))
    rig.cluster.remove(Kind.POD, ObjectKey("default", "db"))
    second = rig.cluster.put(Kind.POD, pod("db", 6))["metadata"]["uid"]
    await rig.quiet()
    found = rig.allocation()
    assert found is not None
    assert first != second == found["spec"]["podUID"] == found["metadata"]["ownerReferences"][0]["uid"]
    assert rig.cpus() == "4-6,12-14"


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
    rig.cluster.remove(Kind.POD, ObjectKey("default", "a"))
    await rig.start()
    await rig.quiet()
    await rig.create(pod("b", 6))
    assert rig.allocation("a") is None
    assert rig.cpus("b") == "1-3,9-11"


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
    assert rig.cluster.get(Kind.ALLOCATION, ObjectKey("other", "next")) is not None


@virtual
async def test_a_node_created_again_keeps_its_nodetopology_and_what_its_pods_hold():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod())
    rig.cluster.remove(Kind.NODE, ObjectKey("", "n1"))
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
    rig.cluster.remove(Kind.NODE, ObjectKey("", "n1"))
    rig.cluster.remove(Kind.POD, ObjectKey("default", "db"))
    rig.cluster.collect_garbage()
    await rig.quiet()
    assert rig.topology("n1") is None
    assert rig.allocation() is None
    assert rig.topology("n2") is not None
    assert rig.controller.snapshot(leading=True, term=0, watch_age=0).nodes == 1


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
        rig.cluster.remove(Kind.POD, ObjectKey("default", name))
    began = len(rig.cluster.requests)
    await rig.create(pod("good"))
    assert rig.cpus("good") == "4-5,12-13"
    await rig.quiet(10)
    state = rig.controller.node_state("n1")
    assert state is not None
    assert [str(decision.key) for decision in state.decisions.values()] == ["default/good"]
    assert {*state.unconfirmed, *rig.controller._store._mismatched} == set()
    assert set(state.pods) <= set(state.decisions)
    assert len(rig.controller.cache.pods) == len(rig.controller.cache.allocations) == 1
    assert len(rig.cluster.objects[Kind.ALLOCATION]) == 1
    # What was gone before its node's turn came cost nothing.
    assert began < 8 * 3000 / 60
