"""Pods that are resized in place, on a cluster in memory."""

from typing import Any

from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey

from tests.unit.operator.fake_cluster import Json
from tests.unit.operator.rig import Rig, pod
from tests.unit.operator.virtual import virtual


async def change(rig: Rig, cpus: int, name: str = "db", **status: Any) -> None:
    """Resize a pod's budget and its first container, as `kubectl patch --subresource resize` does."""
    known = rig.cluster.get(Kind.POD, ObjectKey("default", name))
    assert known is not None
    spec = pod(name, cpus)["spec"]
    rig.cluster.put(Kind.POD, {**known, "spec": spec, "status": {**known["status"], **status}})
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


@virtual
async def test_a_resize_that_is_not_followed_is_said_once_and_taken_back_with_the_resize():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod())
    before = rig.allocation()["spec"]  # type: ignore[index]
    await change(rig, 6)
    assert decision(rig)["pendingResize"]["reason"] == "Infeasible"
    assert rig.cpus() == before["cpus"]
    await rig.crash()
    await rig.start()
    await rig.quiet()
    assert len(rig.told("ResizePending")) == 1
    assert rig.told("Restored") == []
    assert rig.controller.snapshot(leading=True, term=1, watch_age=0.0).pods_resize_pending == 1
    await change(rig, 4)
    assert rig.allocation()["spec"] == before  # type: ignore[index]
