"""Writes whose answer is lost or comes late, while their pods go."""

import asyncio

import pytest
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey
from podnuma.plumbing.kube import errors

from tests.unit.operator.rig import Rig, pod
from tests.unit.operator.virtual import virtual


@virtual
async def test_an_admission_whose_write_had_no_answer_is_not_taken_back():
    rig = Rig()
    await rig.crowded()
    assert rig.cpus("c") == "-"
    lose = iter([True, True, True])
    seen = []

    def fault(moment, request):
        if moment == "after" and request == "replace PodAllocation default/c":
            seen.append(rig.cpus("c"))
            if next(lose, False):
                raise errors.UncertainError(0, "NoAnswer", "cut")

    rig.cluster.fault = fault
    await rig.delete("b")
    await rig.quiet(10)
    assert rig.cpus("c") == "4-6,12-14"
    assert set(seen) == {"4-6,12-14"}


def carried_out(rig: Rig, request: str, after: float) -> None:
    """Lose the answer to the first request of this name; carry it out so much later and tell nobody."""
    waits = iter([after])
    loop = asyncio.get_running_loop()

    def late(name: str) -> float | None:
        wait = next(waits, None) if name == request else None
        if wait is not None:
            loop.call_later(wait, setattr, rig.cluster, "deaf", True)
            loop.call_later(wait + 0.01, setattr, rig.cluster, "deaf", False)
        return wait

    rig.cluster.late = late


async def stays_sound(rig: Rig) -> None:
    """Look for two owners of one CPU all through the next ten seconds."""
    for _ in range(200):
        rig.assert_sound()
        await rig.quiet(0.05)


@pytest.mark.parametrize("after", [0.0, 0.15, 2.0, 4.9])
@virtual
async def test_what_is_written_for_a_pod_that_has_gone_meets_nobody(after):
    rig = Rig()
    await rig.furnished()
    carried_out(rig, "create PodAllocation default/a", after)
    rig.cluster.put(Kind.POD, pod("a", 6))
    await rig.quiet(0.1)
    rig.cluster.remove(Kind.POD, ObjectKey("default", "a"))
    for name in ("b", "c"):
        rig.cluster.put(Kind.POD, pod(name, 6))
    await stays_sound(rig)
    assert {rig.cpus("b"), rig.cpus("c")} == {"1-3,9-11", "4-6,12-14"}
    assert rig.allocation("a") is None


@pytest.mark.parametrize("after", [0.0, 2.0])
@virtual
async def test_what_is_put_back_while_its_pod_goes_meets_nobody(after):
    rig = Rig()
    await rig.furnished()
    for name in ("a", "b"):
        await rig.create(pod(name, 6))
    carried_out(rig, "create PodAllocation default/a", after)
    rig.cluster.remove(Kind.ALLOCATION, ObjectKey("default", "a"))
    await rig.quiet(0.1)
    rig.cluster.remove(Kind.POD, ObjectKey("default", "a"))
    rig.cluster.put(Kind.POD, pod("c", 6))
    await stays_sound(rig)
    assert rig.cpus("c") == "1-3,9-11"
    assert rig.allocation("a") is None


@pytest.mark.parametrize("after", [0.0, 2.0])
@virtual
async def test_a_late_admission_of_a_refused_pod_that_has_gone_meets_nobody(after):
    rig = Rig()
    await rig.crowded()
    carried_out(rig, "replace PodAllocation default/c", after)
    rig.cluster.remove(Kind.POD, ObjectKey("default", "b"))
    await rig.quiet(0.1)
    rig.cluster.remove(Kind.POD, ObjectKey("default", "c"))
    rig.cluster.put(Kind.POD, pod("d", 6))
    await stays_sound(rig)
    assert rig.cpus("d") == "4-6,12-14"
    assert rig.allocation("c") is None
