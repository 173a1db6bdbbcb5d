"""Pods resized in place by the real kubelet while every container works: the kinds of docs/resize.md.

Beside the pod run a neighbour with two CPUs of its own and one with none. At every moment sampled, no CPU of
the pod is anybody else's, and while the application has a slice, nobody of its pod is on it. No container
restarts, and the agent repairs nothing.
"""

from __future__ import annotations

import json
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from testbed.e2e import pods
from testbed.e2e.observe import container_id, parse_list
from testbed.e2e.quotas import throttling
from testbed.e2e.sampling import NodeClock, median, node_clock, sampled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.api import Json
    from testbed.e2e.cluster import Cluster
    from testbed.e2e.observe import Snapshot
    from testbed.e2e.product import Product
    from testbed.e2e.sampling import Samples

APPLIED_SECONDS = 120
BURN = "exec probe burn 2"
ROUNDS = 5  # there and back again, for the figures
REST_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Shape:
    """What is asked for: CPUs of the budget, if there is one, and of the application."""

    budget: str | None
    app: str

    @property
    def whole(self) -> int | None:
        """The CPUs of the pod, None if it has none of its own."""
        return int(self.budget) if self.budget and self.budget.isdecimal() else None

    @property
    def own(self) -> int | None:
        """The CPUs of the application alone."""
        exclusive = self.app.isdecimal() and (self.budget is None or self.whole is not None)
        return int(self.app) if exclusive else None

    @property
    def sizes(self) -> list[int | None]:
        """How many CPUs of their own the pod, the application and the container beside it have."""
        if self.budget is None:
            return [self.own, self.own, None]
        if self.whole is None:
            return [None, None, None]
        return [self.whole, self.own or self.whole, self.whole - (self.own or 0)]

    def pod(self, name: str, image: str, busy: int) -> Json:
        """Return the pod; the application keeps `busy` CPUs busy all the time, or works now and then."""
        beside = None if self.budget else "500m"
        pod = pods.pod(name, image, {"app": self.app, "log": beside}, budget=self.budget)
        pod = pods.doing(pod, BURN)
        if busy:
            app = next(entry for entry in pod["spec"]["containers"] if entry["name"] == "app")
            app["command"] = ["sh", "-c", "while :; do :; done & " * (busy - 1) + "while :; do :; done"]
        return pod

    def patch(self) -> Json:
        """Return what makes a pod this shape."""
        cpu = {"cpu": self.app}
        spec: Json = {"containers": [{"name": "app", "resources": {"requests": cpu, "limits": cpu}}]}
        if self.budget is not None:
            cpu = {"cpu": self.budget}
            spec["resources"] = {"requests": cpu, "limits": cpu}
        return {"spec": spec}

    def __str__(self) -> str:
        return f"{self.app} of {self.budget}" if self.budget else self.app


CASES = {
    "a slice": (Shape("4", "2"), Shape("4", "3"), Shape("4", "1"), Shape("4", "2")),
    "a budget and its pool": (Shape("3", "2"), Shape("5", "2"), Shape("3", "2")),
    "slice and budget": (Shape("3", "2"), Shape("5", "4"), Shape("3", "2")),
    "exclusive to shared and back": (Shape("4", "2"), Shape("4", "1500m"), Shape("4", "2")),
    "a budget to a fraction and back": (Shape("4", "2"), Shape("3500m", "2"), Shape("4", "2")),
    "a container without a budget": (Shape(None, "2"), Shape(None, "3"), Shape(None, "1")),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One resize as it was seen.

    decided, seconds: from `kubectl patch` to the new PodAllocation, and to the cpusets that stayed.
    throttled: microseconds for which the kernel held back the application, or the pod, in that time.
    """

    shape: Shape
    decided: float
    seconds: float
    throttled: dict[str, int]


@dataclass(slots=True)
class Resized:
    """A pod that is resized again and again between neighbours."""

    cluster: Cluster
    podnuma: Product
    clock: NodeClock
    shape: Shape
    pod: Json
    neighbours: list[Json]
    steps: list[Step] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def ids(self) -> dict[str, str]:
        return {name: container_id(self.pod, name) for name in ("app", "log")}

    def resize(self, to: Shape) -> None:
        """Resize, and check every moment and the end."""
        before = self._throttled(self.cluster.snapshot())
        with sampled(self.cluster) as samples:
            began = self.clock.now()
            self._patch(to)
            decided = self._wait(to) - began
        now = self.cluster.snapshot()
        throttled = {who: amount - before[who] for who, amount in self._throttled(now).items()}
        self._check(to, now)
        self._check_moments(to, samples)
        sets = {self.ids[name]: now.container(self.pod, name).effective_cpus for name in self.ids}
        self.steps.append(Step(to, decided, samples.settled(sets, began), throttled))
        self.shape = to

    def figures(self) -> Iterator[str]:
        for step in self.steps:
            held_back = ", ".join(f"{who} {amount / 1000:.1f} ms" for who, amount in step.throttled.items())
            yield (
                f"  to {step.shape}: decided after {step.decided:.2f} s, in the kernel after"
                f" {step.seconds:.2f} s; throttled: {held_back}"
            )

    def _patch(self, to: Shape) -> None:
        self.cluster.run("patch", "pod", self.name, "--subresource=resize", f"-p={json.dumps(to.patch())}")

    def _wait(self, to: Shape) -> float:
        """Wait until the resize is Applied; return when its decision was seen, on the node's clock."""
        decided = 0.0

        def applied(now: Json | None) -> bool:
            nonlocal decided
            if now is None or sizes(now) != to.sizes:
                return False
            decided = decided or self.clock.now()
            status = now.get("status", {})
            seen = status.get("observedGeneration") == now["metadata"]["generation"]
            return bool(seen and status.get("phase") == "Applied")

        what = f"the resize of {self.name} to {to} to be Applied"
        try:
            self.cluster.awaited("podallocation", self.name, applied, what, APPLIED_SECONDS)
        except TimeoutError as error:
            found = self.podnuma.allocation(self.name)
            log = self.podnuma.agent_log()
            raise TimeoutError(f"{error}\n{found}\n{self.cluster.why(self.name)}\n{log}") from error
        return decided

    def rest(self, seconds: float) -> dict[str, int]:
        """Return for how many microseconds who is held back while nothing happens."""
        before = self._throttled(self.cluster.snapshot())
        time.sleep(seconds)  # the time for which it is watched
        return {who: now - before[who] for who, now in self._throttled(self.cluster.snapshot()).items()}

    def _throttled(self, kernel: Snapshot) -> dict[str, int]:
        places = {"app": kernel.container(self.pod, "app"), "pod": kernel.pod(self.pod)}
        return {who: throttling(self.cluster, cgroup.path).microseconds for who, cgroup in places.items()}

    def _check(self, to: Shape, kernel: Snapshot) -> None:
        app, log, pod = *(kernel.container(self.pod, name) for name in ("app", "log")), kernel.pod(self.pod)
        shared = kernel.container(self.neighbours[1], "app").effective_cpus
        rest = shared if to.whole is None else None
        if to.own is not None:
            assert len(app.effective_cpus) == to.own
            assert len({cpu // 8 for cpu in app.effective_cpus}) == 1, "on one NUMA node"
            assert app.cpu_max == "max 100000"
            assert not app.effective_cpus & (log.effective_cpus | shared)
        else:
            assert app.effective_cpus == log.effective_cpus
            assert app.cpu_max == f"{micros(to.app)} 100000"
        if rest is None:
            own = app.effective_cpus | log.effective_cpus
            assert len(own) == to.whole
            assert not own & shared
        else:
            assert log.effective_cpus == rest
        if to.budget is not None:
            assert pod.cpu_max == f"{micros(to.budget)} 100000"
        now = self.cluster.get("pod", self.name)
        assert {entry["name"]: entry["restartCount"] for entry in now["status"]["containerStatuses"]} == {
            "app": 0,
            "log": 0,
        }
        assert {name: container_id(now, name) for name in self.ids} == self.ids

    def _check_moments(self, to: Shape, samples: Samples) -> None:
        neighbour, shared = (container_id(pod, "app") for pod in self.neighbours)
        app, log = self.ids["app"], self.ids["log"]
        assert samples.moments
        assert samples.clashes([[app, log, shared], [neighbour]]) == []
        if to.whole is not None and self.shape.whole is not None:
            assert samples.clashes([[app, log], [neighbour, shared]]) == []
        if to.own is not None and self.shape.own is not None:
            assert samples.clashes([[app], [log, neighbour, shared]]) == []
        for moment, sets in samples.moments:
            assert all(sets.values()), f"{moment}: an empty set: {sets}"


def sizes(allocation: Json) -> list[int | None]:
    """Return how many CPUs the pod, its application and the container beside that have been given."""
    spec = allocation["spec"]
    given = {entry["name"]: entry.get("cpus") for entry in spec["containers"]}
    found = (spec.get("cpus"), given["app"], given["log"])
    return [None if cpus is None else len(parse_list(cpus)) for cpus in found]


def micros(cpus: str) -> int:
    """Return a quota for each period of 100 ms."""
    return int(cpus.removesuffix("m")) * 100 if cpus.endswith("m") else int(cpus) * 100_000


@contextmanager
def resizable(cluster: Cluster, podnuma: Product, name: str, shape: Shape, busy: int) -> Iterator[Resized]:
    """Run a pod of a shape between its neighbours."""
    neighbours = [
        pods.doing(pods.pod(f"beside-{name}-{cpus}", cluster.image, {"app": cpus}), BURN)
        for cpus in ("2", "500m")
    ]
    with cluster.running(*neighbours, shape.pod(name, cluster.image, busy)) as settled:
        podnuma.wait_applied(name)
        yield Resized(cluster, podnuma, node_clock(cluster), shape, settled[-1], settled[:-1])


@pytest.mark.parametrize("case", CASES)
def test_a_resize_of(case: str, cluster: Cluster, podnuma: Product, figures: list[str]) -> None:
    """Resized under load: the right CPUs and quotas, at no moment anybody else's, no restart, no repair."""
    first, *steps = CASES[case]
    repaired = repairs(podnuma)
    with resizable(cluster, podnuma, "resized", first, 0) as pod:
        for shape in steps:
            pod.resize(shape)
        told = podnuma.allocation("resized") or {}
        problems = [
            entry for entry in told["status"]["conditions"] if entry["reason"] in ("Contended", "NotIsolated")
        ]
    figures += [f"resize of {case}, emulated:", *pod.figures()]
    assert problems == []
    assert repairs(podnuma) == repaired


def test_a_pod_that_uses_all_it_has_resized_again_and_again(
    cluster: Cluster, podnuma: Product, figures: list[str]
) -> None:
    """Grown and shrunk again and again, every CPU of the slice busy: the slice itself is never held back."""
    small, large = Shape("2", "1"), Shape("3", "2")
    with resizable(cluster, podnuma, "repeated", small, 2) as pod:
        at_rest = pod.rest(REST_SECONDS)
        for _ in range(ROUNDS):
            pod.resize(large)
            pod.resize(small)
    figures.append(
        f"a pod that uses all it has, emulated: held back for {at_rest['pod'] / 1000:.0f} ms in"
        f" {REST_SECONDS} s at rest"
    )
    for what, shape in (("grown", large), ("shrunk", small)):
        steps = [step for step in pod.steps if step.shape == shape]
        seconds, of_pod = (
            [step.seconds for step in steps],
            [step.throttled["pod"] / 1000 for step in steps],
        )
        decided = median([step.decided for step in steps])
        figures.append(
            f"  {what} {len(steps)} times: in the kernel after {median(seconds):.2f} s (median), at most"
            f" {max(seconds):.2f} s, {decided:.2f} s (median) of that until it was decided; the pod was held"
            f" back for {median(of_pod):.0f} ms (median), at most {max(of_pod):.0f} ms"
        )
    assert {step.throttled["app"] for step in pod.steps} == {0}


def repairs(podnuma: Product) -> float:
    """Return how many drifts the agent has repaired."""
    found = re.findall(
        r"^podnuma_drift_repairs_total\{.*\} ([0-9.e+]+)$", podnuma.agent_metrics(), re.MULTILINE
    )
    return sum(map(float, found))
