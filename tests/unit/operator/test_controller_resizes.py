"""Pods that are resized in place, on a cluster in memory."""

from typing import Any
from unittest.mock import patch

from podnuma.allocator import cpuset
from podnuma.allocator.explain.brief import brief_resize
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey
from podnuma.operator.node import resize
from podnuma.plumbing.kube import errors

from tests.unit.operator.fake_cluster import Json, no_fault
from tests.unit.operator.rig import Rig, pod, profile
from tests.unit.operator.virtual import virtual


async def change(rig: Rig, cpus: int, name: str = "db", generation: int | None = None, **status: Any) -> None:
    """Resize a pod's budget and its first container, as `kubectl patch --subresource resize` does."""
    known = rig.cluster.get(Kind.POD, ObjectKey("default", name))
    assert known is not None
    spec = pod(name, cpus)["spec"]
    metadata = {**known["metadata"], "generation": generation} if generation else known["metadata"]
    now = {**known, "metadata": metadata, "spec": spec, "status": {**known["status"], **status}}
    rig.cluster.put(Kind.POD, now)
    await rig.quiet()


def allocated(cpus: int) -> dict[str, Any]:
    """Return what a kubelet reports of a pod with so many CPUs."""
    first = {"name": "main", "allocatedResources": {"cpu": str(cpus - 1), "memory": "1Gi"}}
    return {"containerStatuses": [first], "allocatedResources": {"cpu": str(cpus), "memory": "4Gi"}}


def decision(rig: Rig, name: str = "db") -> Json:
    found = rig.allocation(name)
    assert found is not None
    said: Json = found["spec"]["decision"]
    return said


@virtual
async def test_a_resize_that_the_kubelet_has_not_accepted_changes_nothing():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod())
    before = rig.allocation()["spec"]  # type: ignore[index]
    await change(rig, 6, **allocated(4))
    assert rig.allocation()["spec"] == before  # type: ignore[index]
    deferred = {"type": "PodResizePending", "status": "True", "reason": "Deferred"}
    await change(rig, 6, **allocated(6), conditions=[deferred])
    assert rig.allocation()["spec"] == before  # type: ignore[index]


@virtual
async def test_a_resize_before_the_containers_start_is_followed_when_the_kubelet_has_seen_it():
    """Until then its status says nothing of it, neither what is allocated nor that it refuses."""
    rig = Rig()
    await rig.furnished()
    value = pod()
    await rig.create({**value, "metadata": {**value["metadata"], "generation": 1}})
    before = rig.allocation()["spec"]  # type: ignore[index]
    await change(rig, 6, generation=2, observedGeneration=1)
    assert rig.allocation()["spec"] == before  # type: ignore[index]
    infeasible = {"type": "PodResizePending", "status": "True", "reason": "Infeasible"}
    await change(rig, 6, generation=2, observedGeneration=2, conditions=[infeasible])
    assert rig.allocation()["spec"] == before  # type: ignore[index]
    await change(rig, 5, generation=3, observedGeneration=2, conditions=[])
    assert rig.allocation()["spec"] == before  # type: ignore[index]
    await change(rig, 5, generation=3, observedGeneration=3, conditions=[])
    assert cpuset.parse(rig.cpus() or "").bit_count() == 5


@virtual
async def test_a_rejected_pod_that_is_resized_to_fit_is_decided_again():
    rig = Rig()
    await rig.furnished(onRejection="Share")
    await rig.create(pod("db", 9))
    assert rig.cpus() == "-"
    await change(rig, 6)
    assert rig.cpus() == "1-3,9-11"
    assert decision(rig)["admitted"]


@virtual
async def test_a_pod_that_asked_for_nothing_and_now_does_is_decided():
    rig = Rig()
    await rig.furnished(cpuManagerPolicy="static", memoryManagerPolicy="None", reservedMemory=[])
    value = pod()
    value["status"]["qosClass"] = "Burstable"
    await rig.create(value)
    assert rig.cpus() is None
    await change(rig, 4, qosClass="Guaranteed")
    assert rig.cpus() == "1-2,9-10"


def fraction(rig: Rig, cpu: str = "1500m") -> Json:
    """Return the pod with a first container that requests a fraction."""
    known = rig.cluster.get(Kind.POD, ObjectKey("default", "db"))
    assert known is not None
    amounts = {"cpu": cpu, "memory": "1Gi"}
    first = {"name": "main", "resources": {"requests": amounts, "limits": amounts}}
    return {**known, "spec": {**known["spec"], "containers": [first, known["spec"]["containers"][1]]}}


@virtual
async def test_a_resize_is_followed_on_the_pods_own_numa_node():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod())
    revision = decision(rig)["revision"]
    await change(rig, 6, **allocated(6))
    spec = rig.allocation()["spec"]  # type: ignore[index]
    assert spec["cpus"] == "1-3,9-11"
    assert [one["cpus"] for one in spec["containers"]] == ["1-3,9,11", "10"]
    assert decision(rig)["revision"] != revision
    assert "pendingResize" not in decision(rig)
    (told,) = rig.told("Resized")
    assert told.startswith("Resized. Allocated CPUs 1-3,9-11 on NUMA node 0: 1-3,9,11 exclusive")
    assert rig.told("Restored") == []
    await change(rig, 3, **allocated(3))
    assert rig.cpus() == "1,9-10"
    assert 'podnuma_resizes_total{result="followed"} 2.0' in rig.metrics.exposition()[1].decode()


@virtual
async def test_what_a_shrunken_pod_gives_up_another_gets():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("a", 6))
    await rig.create(pod("b", 6))
    await rig.create(pod("c", 3))
    assert rig.cpus("c") == "-"
    await change(rig, 3, "a")
    assert rig.cpus("c") not in {"-", None}
    rig.assert_sound()


@virtual
async def test_a_resize_without_room_keeps_what_the_pod_has_and_is_tried_again_when_there_is_some():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("db", 4))
    await rig.create(pod("other", 2))
    before = rig.allocation()["spec"]  # type: ignore[index]
    await change(rig, 6)
    said = decision(rig)["pendingResize"]
    assert said["reason"] == "Deferred"
    assert said["message"].startswith("needs 2 more CPUs on NUMA node 0, where 0 are free. Fits with: ")
    assert rig.cpus() == before["cpus"]
    await rig.crash()
    await rig.start()
    await rig.quiet()
    assert decision(rig)["pendingResize"] == said
    assert len(rig.told("ResizePending")) == 1
    assert rig.controller.snapshot(leading=True, term=1, watch_age=0.0).pods_resize_pending == 1
    await rig.delete("other")
    assert rig.cpus() == "1-3,9-11"
    assert "pendingResize" not in decision(rig)


@virtual
async def test_a_pending_resize_that_could_not_be_stored_is_stored_by_the_next_run():
    refusals = {
        "busy": errors.BusyError(429, "TooManyRequests", "come back later"),
        "conflict": errors.ConflictError(409, "Conflict", "changed meanwhile"),
        "uncertain": errors.UncertainError(0, "Lost", "the connection was lost"),
    }
    for name, refusal in refusals.items():
        rig = Rig()
        await rig.furnished()
        await rig.create(pod("db", 4))
        await rig.create(pod("other", 2))
        left = [refusal]

        def fail(when: str, request: str, left: list[errors.KubeError] = left) -> None:
            if when == "before" and "PodAllocation" in request and "list" not in request and left:
                raise left.pop()

        rig.cluster.fault = fail
        await change(rig, 6)
        await rig.quiet(15)
        assert not left, name
        assert decision(rig).get("pendingResize", {}).get("reason") == "Deferred", name
        rig.assert_sound()


@virtual
async def test_a_resize_that_is_taken_back_leaves_nothing_behind():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod())
    before = rig.allocation()["spec"]  # type: ignore[index]
    await change(rig, 12)
    assert decision(rig)["pendingResize"]["reason"] == "Infeasible"
    await change(rig, 4)
    assert rig.allocation()["spec"] == before  # type: ignore[index]


@virtual
async def test_a_slice_of_a_fraction_is_shared_and_comes_back_with_as_many_cpus():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod())
    rig.cluster.put(Kind.POD, fraction(rig))
    await rig.quiet()
    spec = rig.allocation()["spec"]  # type: ignore[index]
    assert [one["assignment"]["cpu"] for one in spec["containers"]] == ["pod_shared", "pod_shared"]
    await change(rig, 4)
    spec = rig.allocation()["spec"]  # type: ignore[index]
    assert (spec["cpus"], spec["summary"]["shared"]) == ("1-2,9-10", "10")


@virtual
async def test_whole_cpus_stay_where_the_profile_wants_whole_cpus_only():
    rig = Rig()
    await rig.furnished(resize="WholeCPUsOnly")
    await rig.create(pod())
    cpus = rig.cpus()
    for cpu in ("1500m", "1600m", "1700m"):
        rig.cluster.put(Kind.POD, fraction(rig, cpu))
        await rig.quiet()
    assert rig.cpus() == cpus
    assert decision(rig)["pendingResize"]["reason"] == "Ignored"
    assert "container main" in decision(rig)["pendingResize"]["message"]
    assert len(rig.told("ResizePending")) == 1
    await change(rig, 6)
    assert rig.cpus() == "1-3,9-11"


@virtual
async def test_a_profile_can_ignore_resizes():
    rig = Rig()
    await rig.furnished(resize="Ignore")
    await rig.create(pod())
    await change(rig, 6)
    assert rig.cpus() == "1-2,9-10"
    assert decision(rig)["pendingResize"]["reason"] == "Ignored"
    rig.cluster.put(Kind.PROFILE, profile(resize="Follow"))
    await rig.quiet()
    assert rig.cpus() == "1-3,9-11"


@virtual
async def test_a_decision_without_a_revision_gets_one_and_keeps_its_cpus():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod())
    stored = rig.allocation()
    assert stored is not None
    before = stored["spec"]
    await rig.crash()
    older = {**stored, "spec": {**before, "decision": {"admitted": True, "reason": "Admitted"}}}
    rig.cluster.put(Kind.ALLOCATION, older)
    await rig.start()
    await rig.quiet()
    assert rig.allocation()["spec"]["containers"] == before["containers"]  # type: ignore[index]
    assert decision(rig)["revision"] == before["decision"]["revision"]


@virtual
async def test_a_storm_of_resizes_costs_no_more_writes_than_there_are_states_to_see():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod())
    rig.cluster.requests.clear()
    for step in range(1000):
        known = rig.cluster.get(Kind.POD, ObjectKey("default", "db"))
        assert known is not None
        rig.cluster.put(Kind.POD, {**known, "spec": pod("db", 4 + step % 3)["spec"]})
        await rig.quiet(0.06)
    await rig.quiet()
    writes = [request for request in rig.cluster.requests if "PodAllocation" in request]
    assert len(writes) <= 1001
    assert rig.cpus() == "1-2,9-10"


@virtual
async def test_a_storm_of_resizes_that_do_not_fit_works_out_what_would_fit_for_some_and_later_for_the_last():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod())
    briefs = []

    def brief(allocator: Any, request: Any, refused: Any) -> str:
        briefs.append(request)
        return brief_resize(allocator, request, refused)

    with patch.object(resize, "brief_resize", brief):
        rig.cluster.requests.clear()
        for step in range(1000):
            known = rig.cluster.get(Kind.POD, ObjectKey("default", "db"))
            assert known is not None
            rig.cluster.put(Kind.POD, {**known, "spec": pod("db", 9 + step % 3)["spec"]})
            await rig.quiet(0.06)
        writes = [request for request in rig.cluster.requests if "PodAllocation" in request]
        assert len(writes) <= 1001
        assert len(briefs) <= 120
        pending = decision(rig)["pendingResize"]
        assert pending["reason"] == "Infeasible"
        await rig.quiet(130)
    assert "Fits with: " in decision(rig)["pendingResize"]["message"]
    assert len(briefs) <= 121
    assert rig.cpus() == "1-2,9-10"


@virtual
async def test_a_resized_pod_whose_record_is_deleted_while_no_operator_looks_stays_where_it_is():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("first", 4))
    await rig.create(pod("db", 4))
    await change(rig, 6, "db")
    await rig.delete("first")
    before = rig.allocation()["spec"]  # type: ignore[index]
    assert before["cpus"] == "4-6,12-14"
    await rig.crash()
    rig.cluster.remove(Kind.ALLOCATION, ObjectKey("default", "db"))
    await rig.start()
    await rig.quiet()
    await rig.create(pod("other", 6))
    assert rig.allocation()["spec"] == before  # type: ignore[index]
    assert rig.cpus("other") == "1-3,9-11"
    await change(rig, 4, "db")
    assert count(rig, "db") == 4
    rig.assert_sound()


@virtual
async def test_of_a_running_pod_whose_record_is_lost_for_good_is_said_that_it_is_decided_anew():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("first", 4))
    await rig.create(pod("db", 4))
    await change(rig, 6, "db", phase="Running")
    await rig.delete("first")
    assert rig.cpus() == "4-6,12-14"
    (told,) = [text for text in rig.told("Allocated") if "4-5,12-13" in text]
    assert "runs already" not in told
    await rig.crash()
    rig.cluster.remove_at_once(Kind.ALLOCATION, ObjectKey("default", "db"))
    await rig.start()
    await rig.quiet()
    assert rig.cpus() == "1-3,9-11"
    (told,) = [text for text in rig.told("Allocated") if "1-3,9-11" in text]
    assert told.endswith(
        "the pod runs already and had no PodAllocation: until now it may have had other CPUs"
    )
    assert decision(rig)["revision"]
    rig.assert_sound()


@virtual
async def test_a_crash_at_any_request_loses_no_resize_and_gives_no_cpu_twice():
    for moment in ("before", "after"):
        for number in range(4):
            rig = Rig()
            await rig.furnished()
            await rig.create(pod("a", 4))
            await rig.create(pod("b", 4))
            countdown = [number]

            def fail(when: str, request: str, countdown: list[int] = countdown, moment: str = moment) -> None:
                if when == moment and "PodAllocation" in request and "list" not in request:
                    countdown[0] -= 1
                    if countdown[0] == -1:
                        raise errors.UncertainError(0, "Lost", "the connection was lost")

            rig.cluster.fault = fail
            await change(rig, 3, "a")
            await change(rig, 6, "b")
            await rig.crash()
            rig.cluster.fault = no_fault
            await rig.start()
            await rig.quiet(15)
            rig.assert_sound()
            assert (count(rig, "a"), count(rig, "b")) == (3, 6)


def count(rig: Rig, name: str) -> int:
    return cpuset.parse(rig.cpus(name) or "").bit_count()


def in_a_sandbox(cpus: int, told: str) -> Json:
    """Return a running pod whose runtime class has an overhead, with its kubelet's sum of both."""
    value = pod("db", cpus)
    value["spec"]["overhead"] = {"cpu": "250m", "memory": "160Mi"}
    status = {**allocated(cpus), "allocatedResources": {"cpu": told, "memory": "4256Mi"}}
    return {**value, "status": {**value["status"], "phase": "Running", **status}}


@virtual
async def test_a_budget_is_whole_though_its_kubelet_counts_the_overhead_with_it():
    """kubernetes/kubernetes#139627: a budget of 4 CPUs of a pod in a sandbox is 4250m in its status."""
    rig = Rig()
    await rig.furnished()
    await rig.create(in_a_sandbox(4, "4250m"))
    assert rig.cpus() == "1-2,9-10"


@virtual
async def test_a_resize_of_a_pod_with_an_overhead_is_followed():
    rig = Rig()
    await rig.furnished()
    await rig.create(in_a_sandbox(4, "4250m"))
    rig.cluster.put(Kind.POD, in_a_sandbox(6, "6250m"))
    await rig.quiet()
    assert rig.cpus() == "1-3,9-11"
    assert len(rig.told("Resized")) == 1
