"""Pods resized in place by the real kubelet while every container works: each kind of docs/resize.md.

Beside the pod run a neighbour with two CPUs of its own and one with none. At every moment sampled, no CPU of
the pod is anybody else's, and while the application has a slice, nobody of its pod is on it. The neighbour
keeps its CPUs. No container restarts, and the agent repairs nothing. What is checked is in
`testbed.e2e.resizing`; here are the kinds, what does not fit, and what is refused.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING

import pytest

from testbed.e2e import pods
from testbed.e2e.cluster import POD_SECONDS, KubectlError
from testbed.e2e.product import POD_SCOPE
from testbed.e2e.resizing import APPLIED_SECONDS, BURN, NAME, Shape, Step, beside, resizable, sizes
from testbed.e2e.sampling import median, percentile, sampled
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from testbed.api import Json
    from testbed.e2e.cluster import Cluster
    from testbed.e2e.product import Product

ROUNDS = 10  # there and back again, for the figures
BUSY_ROUNDS = 3  # the same with CPUs that are busy all the time: each is slow on an emulated machine
REST_SECONDS = 5

# From the first shape to the second, and so on. Docs name the kinds so: one row of the table each, or two.
CASES = {
    "a slice grows, shrinks": (Shape("4", "2"), Shape("4", "3"), Shape("4", "1")),
    "the budget grows, shrinks, slices stay": (Shape("3", "2"), Shape("5", "2"), Shape("3", "2")),
    "slice and budget change together": (Shape("3", "2"), Shape("5", "4"), Shape("3", "2")),
    "a slice becomes shared, a shared container gets a slice": (
        Shape("4", "2"),
        Shape("4", "1500m"),
        Shape("4", "2"),
    ),
    "a budget becomes a fraction, whole again": (Shape("4", "2"), Shape("3500m", "2"), Shape("4", "2")),
    "a container without a budget": (Shape(None, "2"), Shape(None, "3"), Shape(None, "1")),
    "a sidecar": (
        Shape("4", "1", sidecar=True),
        Shape("4", "2", sidecar=True),
        Shape("4", "1", sidecar=True),
    ),
    "memory of a budget grows, shrinks": (
        Shape("3", "2"),
        Shape("3", "2", memory="512Mi"),
        Shape("3", "2"),
    ),
}
# How often there and back, how many CPUs are busy all the time, and the two shapes.
REPEATED = {
    "a pod that works now and then": (ROUNDS, 0, Shape("4", "2"), Shape("4", "3")),
    "a pod that uses all it has": (BUSY_ROUNDS, 2, Shape("2", "1"), Shape("3", "2")),
}
REFUSED: dict[str, Json] = {
    "another QoS class": {"spec": {"resources": {"requests": {"cpu": "2"}}}},
    "a limit removed": {
        "spec": {"containers": [{"name": "app", "resources": {"limits": {"cpu": None, "memory": None}}}]}
    },
}


@pytest.fixture(scope="module")
def neighbours(podnuma: Product) -> Iterator[list[Json]]:
    with beside(podnuma.cluster) as settled:
        yield settled


@pytest.fixture(scope="module")
def taken(figures: list[str]) -> Iterator[list[Step]]:
    """All resizes of this file, for the figures at its end."""
    steps: list[Step] = []
    yield steps
    figures += of_all("all resizes", steps)


@pytest.mark.parametrize("case", CASES)
def test_a_resize(
    case: str, podnuma: Product, neighbours: list[Json], figures: list[str], taken: list[Step]
) -> None:
    """Resized under load: the right CPUs and quotas, at no moment anybody else's, no restart, no repair."""
    first, *shapes = CASES[case]
    repaired = repairs(podnuma)
    with resizable(podnuma, neighbours, first) as pod:
        for shape in shapes:
            pod.resize(shape)
        told = podnuma.allocation("resized") or {}
        reasons = {entry["reason"] for entry in told["status"]["conditions"]}
    figures += [f"resize, emulated: {case}", *(f"  {step}" for step in pod.steps)]
    taken += pod.steps
    assert not reasons & {"SomebodyElseWrites", "OthersOnItsCPUs"}
    assert repairs(podnuma) == repaired


def test_a_resize_that_does_not_fit(cluster: Cluster, podnuma: Product, neighbours: list[Json]) -> None:
    """Deferred until another pod is gone, or Infeasible: it keeps what it has, and nothing says Applied."""
    shape, wanted, never = Shape("4", "2"), Shape("5", "2"), Shape("9", "2")
    # With the neighbour's two, one CPU of the seven of the first NUMA node is left, which this one takes.
    other = pods.doing(pods.pod("other", cluster.image, {"app": "1"}), BURN)
    with resizable(podnuma, neighbours, shape) as pod, cluster.running(other):
        podnuma.wait_applied("other")
        for to, reason in ((wanted, "Deferred"), (never, "Infeasible"), (wanted, "Deferred")):
            before = pod.cpus(cluster.snapshot())
            with sampled(cluster) as samples:
                pod.patch(to.patch())
                now = pod.awaited(partial(is_pending, reason), f"{to} to be {reason}")
            assert now["status"]["phase"] == "ResizePending"
            assert ready(now) == ("False", "ResizePending")
            assert sizes(now) == shape.sizes
            pod.settled(shape)
            assert pod.cpus(cluster.snapshot()) == before
            for _, sets in samples.moments:
                seen = {name: cpus for path, cpus in sets.items() for name in before if name in path}
                assert seen == before
        cluster.delete("other")
        pod.awaited(lambda now: sizes(now) == wanted.sizes and phase(now) == "Applied", "what was deferred")
        pod.settled(wanted)


def test_a_rejected_pod_resized_to_fit(cluster: Cluster, podnuma: Product, neighbours: list[Json]) -> None:
    """A pod that was rejected, and runs in the shared pool, gets its own CPUs when resized to fit."""
    large, small = Shape("9", "8"), Shape("4", "3")
    podnuma.profile(POD_SCOPE | {"onRejection": "Share"})
    try:
        with resizable(podnuma, neighbours, large, phase="Rejected") as pod:
            app, log, shared = (
                cluster.snapshot().container(one, name).effective_cpus
                for one, name in ((pod.pod, "app"), (pod.pod, "log"), (neighbours[1], "app"))
            )
            assert app == log == shared
            pod.shape = Shape("9500m", "8")  # as far as CPUs go
            pod.resize(small)
    finally:
        podnuma.profile(POD_SCOPE | {"onRejection": "Evict"})


def test_a_running_init_container_is_resized(podnuma: Product) -> None:
    """An init container that runs gets and gives back CPUs of the budget, and has no quota of its own."""
    cluster = podnuma.cluster
    manifest = Shape("4", "2").pod(NAME, cluster.image)
    manifest["spec"]["initContainers"] = [manifest["spec"]["containers"][0] | {"name": "init"}]
    try:
        cluster.start(manifest)
        pod = cluster.awaited("pod", NAME, running_init, "the init container to run", POD_SECONDS)
        for count in (2, 3, 1):
            amounts = {"cpu": str(count)}
            entry = {"name": "init", "resources": {"requests": amounts, "limits": amounts}}
            resize = json.dumps({"spec": {"initContainers": [entry]}})
            cluster.run("patch", "pod", NAME, "--subresource=resize", f"-p={resize}")

            def has(count: int = count) -> bool:
                init = cluster.snapshot().container(pod, "init")
                return len(init.effective_cpus) == count and init.cpu_max == "max 100000"

            until(has, f"{count} CPUs of the init container", APPLIED_SECONDS, 1)
    finally:
        cluster.delete(NAME)


def test_a_resize_that_the_api_server_refuses(podnuma: Product, neighbours: list[Json]) -> None:
    """Another QoS class, a limit removed: refused, and nothing changes."""
    shape = Shape("4", "2")
    with resizable(podnuma, neighbours, shape) as pod:
        spec = (podnuma.allocation("resized") or {})["spec"]
        for what, patch in REFUSED.items():
            with pytest.raises(KubectlError) as refused:
                pod.patch(patch)
            assert re.search("Invalid|Forbidden|invalid|forbidden", str(refused.value)), what
        assert (podnuma.allocation("resized") or {})["spec"] == spec
        pod.settled(shape)


@pytest.mark.parametrize("who", REPEATED)
def test_again_and_again(
    who: str, podnuma: Product, neighbours: list[Json], figures: list[str], taken: list[Step]
) -> None:
    """Grown and shrunk again and again: the slice itself is never held back."""
    rounds, busy, small, large = REPEATED[who]
    with resizable(podnuma, neighbours, small, busy=busy) as pod:
        at_rest = pod.rest(REST_SECONDS)["pod"] / 1000
        for _ in range(rounds):
            pod.resize(large)
            pod.resize(small)
    figures.append(f"{who}, emulated: held back for {at_rest:.0f} ms in {REST_SECONDS} s at rest")
    for done, shape in (("grown", large), ("shrunk", small)):
        figures += of_all(f"  {done}", [step for step in pod.steps if step.shape == shape])
    taken += pod.steps
    assert {step.throttled["app"] for step in pod.steps} == {0}


def of_all(what: str, steps: Iterable[Step]) -> list[str]:
    """Return the figures of many resizes. Of fewer than 100 the 99th percentile is the largest."""
    moved = [step for step in steps if step.seconds is not None]
    if not moved:
        return []
    seconds = [step.seconds or 0.0 for step in moved]
    decided = [step.decided for step in moved]
    held_back = [step.throttled["pod"] / 1000 for step in moved]
    text = (
        f"{what}, emulated, {len(moved)} times: in the kernel after {median(seconds):.2f} s (median),"
        f" {percentile(seconds, 99):.2f} s (p99), of which until it was decided {median(decided):.2f} s and"
        f" {percentile(decided, 99):.2f} s; the pod was held back for {median(held_back):.0f} ms (median),"
        f" {percentile(held_back, 99):.0f} ms (p99)"
    )
    return [text]


def running_init(pod: Json | None) -> Json | None:
    """Return a pod whose init container runs."""
    states = pod["status"].get("initContainerStatuses", []) if pod else []
    return pod if any("running" in one["state"] for one in states) else None


def phase(allocation: Json) -> str:
    """Return what the agent says of a PodAllocation."""
    return str(allocation.get("status", {}).get("phase", ""))


def ready(allocation: Json) -> tuple[str, str]:
    """Return status and reason of the condition Ready."""
    (found,) = [one for one in allocation["status"]["conditions"] if one["type"] == "Ready"]
    return found["status"], found["reason"]


def is_pending(reason: str, allocation: Json) -> bool:
    """Tell whether the agent says that a resize is not followed, and for this reason."""
    conditions = allocation.get("status", {}).get("conditions", [])
    return any((one["type"], one["reason"]) == ("ResizePending", reason) for one in conditions)


def repairs(podnuma: Product) -> float:
    """Return how many drifts the agent has repaired."""
    found = re.findall(
        r"^podnuma_drift_repairs_total\{.*\} ([0-9.e+]+)$", podnuma.agent_metrics(), re.MULTILINE
    )
    return sum(map(float, found))
