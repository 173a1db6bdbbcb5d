"""The API server takes no PodAllocation of one namespace, by a quota or a webhook: nobody else waits."""

import pytest
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey
from podnuma.plumbing.kube import errors

from tests.unit.operator.fake_cluster import no_fault
from tests.unit.operator.rig import Rig, pod
from tests.unit.operator.virtual import virtual

QUOTA = "exceeded quota: objects, requested: count/podallocations.podnuma.dev=1"


WEBHOOK = (
    'Internal error occurred: failed calling webhook "validate.policies.example": no endpoints available'
)
EXHAUSTED = errors.RefusedError(403, "Forbidden", QUOTA)
TOO_LARGE = errors.UncertainError(500, "", "etcdserver: request is too large")
UNANSWERED = errors.WebhookError(500, "InternalError", WEBHOOK)


def failing(error):
    def fail(moment, request):
        if moment == "before" and request in {
            "create PodAllocation tenant/a",
            "replace PodAllocation tenant/a",
            "create PodAllocation tenant/db",
            "create PodAllocation default/a",
        }:
            raise error

    return fail


exhausted = failing(EXHAUSTED)


def of_tenant(name):
    value = pod(name, creationTimestamp="2026-01-01T00:00:01Z")
    value["metadata"]["namespace"] = "tenant"
    return value


async def furnished():
    rig = Rig()
    rig.cluster.put(Kind.NAMESPACE, {"metadata": {"name": "tenant"}})
    await rig.furnished()
    return rig


def decided(rig, name):
    return rig.cluster.get(Kind.ALLOCATION, ObjectKey("tenant", name)) is not None


@pytest.mark.parametrize("error", [EXHAUSTED, UNANSWERED], ids=["quota", "webhook"])
@virtual
async def test_a_pod_whose_record_is_refused_waits_with_the_reason_and_others_are_decided(error):
    rig = await furnished()
    rig.cluster.fault = failing(error)
    await rig.create(of_tenant("a"))
    await rig.create(pod("b"))
    assert not decided(rig, "a")
    assert rig.cpus("b") == "1-2,9-10", "nothing is held by what is not stored"
    (told,) = rig.told("Undecided")
    assert error.message in told
    before = len(rig.cluster.requests)
    await rig.quiet(100)
    tried = rig.cluster.requests[before:].count("create PodAllocation tenant/a")
    assert 5 <= tried <= 11, "again and again, every ten seconds"
    ready = rig.condition(Kind.TOPOLOGY, "n1", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ReconcileFailing")
    assert "the API server refuses the PodAllocation of tenant/a" in ready["message"]
    rig.cluster.fault = lambda *_: None
    await rig.quiet(20)
    assert decided(rig, "a")
    assert rig.condition(Kind.TOPOLOGY, "n1", "Ready")["reason"] != "ReconcileFailing"
    rig.assert_sound()


@virtual
async def test_a_pod_whose_record_the_server_fails_to_store_again_and_again_holds_up_nobody():
    rig = await furnished()
    rig.cluster.fault = failing(TOO_LARGE)
    await rig.create(of_tenant("a"))
    await rig.create(pod("b"))
    await rig.quiet(15)
    assert not decided(rig, "a")
    assert rig.cpus("b") == "1-2,9-10", "nothing is held by what is not stored"
    (told,) = rig.told("Undecided")
    assert TOO_LARGE.message in told
    before = len(rig.cluster.requests)
    await rig.quiet(600)
    tried = rig.cluster.requests[before:].count("create PodAllocation tenant/a")
    assert 3 <= tried <= 8, "after pauses that grow"
    ready = rig.condition(Kind.TOPOLOGY, "n1", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ReconcileFailing")
    rig.cluster.fault = no_fault
    await rig.quiet(310)
    assert decided(rig, "a")
    rig.assert_sound()


@virtual
async def test_a_record_that_was_stored_although_the_server_failed_is_taken_over():
    rig = await furnished()
    failed = []

    def fault(moment, request):
        if moment == "after" and request == "create PodAllocation tenant/a":
            failed.append(request)
            raise TOO_LARGE

    rig.cluster.fault = fault
    await rig.create(of_tenant("a"))
    await rig.create(pod("b"))
    await rig.quiet(15)
    assert failed == ["create PodAllocation tenant/a"]
    assert decided(rig, "a")
    assert rig.cpus("b") == "4-5,12-13"
    rig.assert_sound()


@virtual
async def test_a_status_and_a_deletion_that_are_not_taken_hold_up_nobody():
    rig = await furnished()
    await rig.create(of_tenant("db"))

    def fault(moment, request):
        if moment == "before" and "PodAllocation tenant/" in request and not request.startswith("create"):
            raise EXHAUSTED

    rig.cluster.fault = fault
    big = of_tenant("big")
    big["spec"]["resources"] = {"requests": {"cpu": "12"}, "limits": {"cpu": "12", "memory": "1Gi"}}
    await rig.create(big)
    rig.cluster.remove(Kind.POD, ObjectKey("tenant", "db"))
    await rig.quiet()
    await rig.create(pod("b"))
    assert rig.cpus("b") == "4-5,12-13", "what the other one held is not free as long as it stands there"
    ready = rig.condition(Kind.TOPOLOGY, "n1", "Ready")
    await rig.quiet(40)
    ready = rig.condition(Kind.TOPOLOGY, "n1", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ReconcileFailing")
    rig.cluster.fault = no_fault
    await rig.quiet(20)
    assert not decided(rig, "db")
    rig.assert_sound()


@virtual
async def test_a_record_that_was_deleted_and_may_not_come_back_stops_nobody():
    rig = await furnished()
    await rig.create(of_tenant("db"))
    rig.cluster.fault = exhausted
    rig.cluster.remove_at_once(Kind.ALLOCATION, ObjectKey("tenant", "db"))
    await rig.quiet()
    await rig.create(pod("b"))
    assert rig.cpus("b") == "4-5,12-13", "the running pod keeps what it has"
    assert QUOTA in rig.told("Undecided")[0]
    rig.cluster.fault = lambda *_: None
    await rig.quiet(20)
    assert decided(rig, "db")
    rig.assert_sound()


@virtual
async def test_a_pod_that_does_not_fit_is_evicted_though_another_ones_record_is_refused():
    rig = await furnished()
    rig.cluster.fault = exhausted
    await rig.create(of_tenant("a"))
    await rig.create(pod("big", 9))
    assert len(rig.told("Evicted")) == 1
