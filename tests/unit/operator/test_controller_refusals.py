"""Pods that do not fit: told, evicted at a measured pace, decided again."""

import pytest
from podnuma.api.kept_refusals import SLOTS, read_kept_refusal, read_own_refusal
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey
from podnuma.plumbing.kube import errors

from tests.unit.operator.rig import Rig, owned_by, pod, profile
from tests.unit.operator.virtual import virtual


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
    known = rig.cluster.get(Kind.POD, ObjectKey("default", "big"))
    assert known is not None
    assert "deletionTimestamp" in known["metadata"]
    assert len(rig.told("Evicted")) == 1


@virtual
async def test_a_rejected_pod_is_decided_again_when_there_is_room():
    rig = Rig()
    await rig.crowded()
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


@virtual
async def test_an_eviction_that_fails_at_the_server_is_told_and_holds_up_nobody():
    """Two disruption budgets select the pod: the API server answers 500 as long as they do."""
    rig = Rig()
    await rig.furnished()
    text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."

    def several_budgets(when: str, request: str) -> None:
        if when == "before" and request == "evict default/big":
            raise errors.UncertainError(500, "InternalError", text)

    rig.cluster.fault = several_budgets
    await rig.create(pod("big", 9, ownerReferences=owned_by("ReplicaSet", "rs")))
    await rig.create(pod("other", 9, ownerReferences=owned_by("ReplicaSet", "another")))
    await rig.create(pod("small", 2))
    assert rig.cpus("small") == "1,9"
    await rig.quiet(600)
    assert 1 < rig.cluster.requests.count("evict default/big") <= 8
    assert [text in told for told in rig.told("EvictionBlocked")] == [True]
    assert len(rig.told("Evicted")) == 1
    state = rig.controller.node_state("n1")
    assert state is not None
    assert state.failure is None
    rig.cluster.fault = lambda *_: None
    await rig.quiet(600)
    assert len(rig.told("Evicted")) == 2


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
    # One more is kept on the ReplicaSet, and written again no oftener than every ten seconds.
    assert len(rig.told("TopologyAffinityError")) == 500 + 1
    assert rig.cluster.requests.count("apply Event default") <= 8
    assert rig.cluster.requests.count("apply NodeTopology/status n1") <= 66


@virtual
async def test_audit_decides_and_evicts_nobody():
    rig = Rig()
    await rig.furnished(mode="Audit")
    await rig.create(pod("big", 9))
    await rig.quiet(60)
    assert rig.cpus("big") == "-"
    assert "evict default/big" not in rig.cluster.requests


@virtual
async def test_a_refused_pod_carries_a_condition_until_it_is_admitted():
    rig = Rig()
    await rig.crowded()
    known = rig.cluster.get(Kind.POD, ObjectKey("default", "c"))
    assert known is not None
    (told,) = known["status"]["conditions"]
    assert (told["type"], told["status"], told["reason"]) == (
        "podnuma.dev/Admitted",
        "False",
        "TopologyAffinityError",
    )
    assert told["message"] == rig.allocation("c")["spec"]["decision"]["explanation"]  # type: ignore[index]
    writes = [request for request in rig.cluster.requests if request.startswith("apply Pod/status")]
    assert writes == ["apply Pod/status default/c"]
    await rig.delete("b")
    known = rig.cluster.get(Kind.POD, ObjectKey("default", "c"))
    assert known is not None
    assert known["status"]["conditions"] == []


@virtual
async def test_a_condition_that_may_not_be_written_holds_nothing_up():
    rig = Rig()

    def fault(moment, request):
        if moment == "before" and request.startswith("apply Pod/status"):
            raise errors.RefusedError(403, "Forbidden", "pods/status")

    rig.cluster.fault = fault
    await rig.crowded()
    assert rig.cpus("c") == "-"
    await rig.delete("a")
    assert rig.cpus("c") == "1-3,9-11"


@virtual
async def test_a_condition_outlives_a_restart_and_is_not_written_again():
    rig = Rig()
    await rig.crowded()
    await rig.crash()
    rig.cluster.requests.clear()
    await rig.start()
    await rig.quiet()
    assert not [request for request in rig.cluster.requests if request.startswith("apply Pod/status")]


@virtual
async def test_what_was_refused_is_kept_on_the_controller_per_node_and_counted():
    rig = Rig()
    await rig.furnished("n1", "n2", onRejection="Share")
    for number in range(6):
        on = "n1" if number % 2 else "n2"
        await rig.create(pod(f"big{number}", 9, on=on, ownerReferences=owned_by("ReplicaSet", "rs")))
        await rig.quiet(20)
    found = [read_kept_refusal(event) for event in rig.cluster.events]
    kept = {one.node: one for one in found if one is not None}
    assert {(one.pod, one.node, one.count) for one in kept.values()} == {("big5", "n1", 3), ("big4", "n2", 3)}
    decision = rig.allocation("big5")["spec"]["decision"]  # type: ignore[index]
    assert kept["n1"].cause == decision["explanation"]
    assert kept["n1"].kubelet_message == decision["message"]
    assert kept["n1"].controller_uid == "rs"


@virtual
async def test_a_controller_keeps_a_bounded_number_of_refusals():
    rig = Rig()
    names = [f"n{number}" for number in range(30)]
    await rig.furnished(*names, onRejection="Share")
    for name in names:
        await rig.create(pod(f"on-{name}", 9, on=name, ownerReferences=owned_by("ReplicaSet", "rs")))
    assert len([one for one in rig.cluster.events if read_kept_refusal(one)]) <= SLOTS


@virtual
async def test_the_event_about_a_pod_without_a_controller_is_read_back_as_its_refusal():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("big", 9))
    said = rig.allocation("big")["spec"]["decision"]  # type: ignore[index]
    (found,) = filter(None, map(read_own_refusal, rig.cluster.events))
    assert (found.pod, found.reason, found.cause) == ("big", said["reason"], said["explanation"])
    assert found.node == rig.allocation("big")["spec"]["nodeName"]  # type: ignore[index]


@virtual
async def test_an_event_in_audit_says_that_nothing_is_written():
    rig = Rig()
    await rig.furnished(mode="Audit")
    await rig.create(pod("a"))
    await rig.create(pod("large", 12))
    (allocated,) = rig.told("Allocated")
    assert "mode is Audit: nothing is written" in allocated
    (refused,) = [one for one in rig.cluster.events if one["involvedObject"]["name"] == "large"]
    assert refused["message"].endswith(" (on n1, mode Audit)")
    assert rig.told("Evicted") == []


@virtual
async def test_a_pod_that_waited_for_its_decision_is_not_said_to_have_run_elsewhere():
    rig = Rig()
    await rig.furnished()
    value = pod("a")
    rig.cluster.put(Kind.POD, value)
    rig.cluster.put(Kind.POD, {**value, "status": {**value["status"], "phase": "Running"}})
    await rig.quiet()
    (allocated,) = rig.told("Allocated")
    assert "runs already" not in allocated


@virtual
async def test_the_event_about_an_evicted_pod_without_a_controller_keeps_its_refusal():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("large", 12))
    kept = [found for one in rig.cluster.events if (found := read_kept_refusal(one)) is not None]
    assert [(one.pod, one.node) for one in kept] == [("large", "n1")]
    (evicted,) = rig.told("Evicted")
    assert evicted.startswith("Evicted from n1: ")
