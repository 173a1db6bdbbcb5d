"""A pod that the real kubelet resizes in place, seen from outside at every moment.

    Shape     what is asked for: a budget, the CPUs of the application, the memory
    Resized   a running pod of a shape, between a neighbour with CPUs of its own and one with none

What must hold at the moment that the PodAllocation says Applied is what podnuma alone writes: the cpusets.
Quotas are also written by the kubelet, last when a pod shrinks: they must be right once it has completed its
resize.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from testbed.e2e import pods
from testbed.e2e.observe import container_id, parse_list
from testbed.e2e.quotas import throttling
from testbed.e2e.sampling import NodeClock, node_clock, sampled
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from testbed.api import Json
    from testbed.e2e.cluster import Cluster
    from testbed.e2e.observe import Snapshot
    from testbed.e2e.product import Product
    from testbed.e2e.sampling import Samples

NAME = "resized"
MEMORY = "256Mi"
BURN = "exec probe burn 2"
APPLIED_SECONDS = 120
COMPLETED_SECONDS = 120
QUOTA_SECONDS = 60  # until a look of the agent, where no runtime tells it of the kubelet's writes
NUMA_CPUS = 8  # CPUs of one NUMA node of the machine
_KUBELET_AT_WORK = ("PodResizePending", "PodResizeInProgress")


@dataclass(frozen=True, slots=True)
class Shape:
    """What is asked for: CPUs of the budget, if there is one, and of the application, maybe a sidecar."""

    budget: str | None
    app: str
    memory: str = MEMORY
    sidecar: bool = False

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

    def pod(self, name: str, image: str, busy: int = 0) -> Json:
        """Return the pod; the application keeps `busy` CPUs busy all the time, or works now and then."""
        beside = None if self.budget else "500m"
        pod = pods.pod(name, image, {"app": self.app, "log": beside}, budget=self.budget)
        pod = pods.doing(pod, BURN)
        app, log = pod["spec"]["containers"]
        if busy:
            app["command"] = ["sh", "-c", "while :; do :; done & " * (busy - 1) + "while :; do :; done"]
        if self.sidecar:
            pod["spec"] |= {"initContainers": [app | {"restartPolicy": "Always"}], "containers": [log]}
        if self.budget is not None:
            pod["spec"]["resources"] = self._resources(self.budget)
        return pod

    def patch(self) -> Json:
        """Return what makes a pod this shape."""
        cpu = {"cpu": self.app}
        group = "initContainers" if self.sidecar else "containers"
        spec: Json = {group: [{"name": "app", "resources": {"requests": cpu, "limits": cpu}}]}
        if self.budget is not None:
            spec["resources"] = self._resources(self.budget)
        return {"spec": spec}

    def _resources(self, cpus: str) -> Json:
        amounts = {"cpu": cpus, "memory": self.memory}
        return {"requests": amounts, "limits": amounts}

    def __str__(self) -> str:
        words = f"{self.app} of {self.budget}" if self.budget else self.app
        return words if self.memory == MEMORY else f"{words} and {self.memory}"


@dataclass(frozen=True, slots=True)
class Step:
    """One resize as it was seen.

    decided, seconds: from `kubectl patch` to the new PodAllocation, and to the cpusets that stayed; the
    latter is None where no CPU changes hands.
    throttled: microseconds for which the kernel held back the application, or the pod, in that time.
    """

    shape: Shape
    decided: float
    seconds: float | None
    throttled: dict[str, int]

    def __str__(self) -> str:
        held_back = ", ".join(f"{who} {amount / 1000:.1f} ms" for who, amount in self.throttled.items())
        kernel = "no CPU moved" if self.seconds is None else f"in the kernel after {self.seconds:.2f} s"
        return f"to {self.shape}: decided after {self.decided:.2f} s, {kernel}; throttled: {held_back}"


@dataclass(slots=True)
class Resized:
    """A pod that is resized again and again. neighbours: one with CPUs of its own, one with none."""

    cluster: Cluster
    podnuma: Product
    clock: NodeClock
    shape: Shape
    pod: Json
    neighbours: Sequence[Json]
    steps: list[Step] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def ids(self) -> dict[str, str]:
        return {name: container_id(self.pod, name) for name in ("app", "log")}

    def resize(self, to: Shape) -> None:
        """Resize, and check every moment and the end."""
        start = self.cluster.snapshot()
        before = self._throttled(start)
        with sampled(self.cluster) as samples:
            began = self.clock.now()
            self.patch(to.patch())
            decided = self._applied(to) - began
            now = self.cluster.snapshot()
        throttled = {who: amount - before[who] for who, amount in self._throttled(now).items()}
        self._check_cpus(to, now)
        self._check_moments(to, start, samples)
        self.settled(to)
        sets = self.cpus(now)
        seconds = samples.settled(sets, began) if sets != self.cpus(start) else None
        self.steps.append(Step(to, decided, seconds, throttled))
        self.shape = to

    def cpus(self, kernel: Snapshot) -> dict[str, frozenset[int]]:
        """Return where the containers may run, by their ids."""
        return {self.ids[name]: kernel.container(self.pod, name).effective_cpus for name in self.ids}

    def patch(self, patch: Json) -> None:
        """Patch the pod's resources; KubectlError if the API server refuses that."""
        self.cluster.run("patch", "pod", self.name, "--subresource=resize", f"-p={json.dumps(patch)}")

    def awaited(self, check: Callable[[Json], bool], what: str) -> Json:
        """Wait until the agent has seen a PodAllocation of which `check` is true, and return it."""

        def seen(now: Json | None) -> Json | None:
            if now is None or not check(now):
                return None
            told = now.get("status", {}).get("observedGeneration") == now["metadata"]["generation"]
            return now if told else None

        try:
            return self.cluster.awaited("podallocation", self.name, seen, what, APPLIED_SECONDS)
        except TimeoutError as error:
            found = self.podnuma.allocation(self.name)
            log = self.podnuma.agent_log()
            raise TimeoutError(f"{error}\n{found}\n{self.cluster.why(self.name)}\n{log}") from error

    def settled(self, to: Shape) -> None:
        """Wait until the kubelet has completed a resize; then all is as decided, no container restarted."""
        what = f"the kubelet to complete the resize of {self.name} to {to}"
        now = self.cluster.awaited("pod", self.name, _completed, what, COMPLETED_SECONDS)
        states = [*now["status"].get("initContainerStatuses", []), *now["status"]["containerStatuses"]]
        assert {state["name"]: state["restartCount"] for state in states} == dict.fromkeys(self.ids, 0)
        assert {name: container_id(now, name) for name in self.ids} == self.ids

        def check() -> bool:
            kernel = self.cluster.snapshot()
            self._check_cpus(to, kernel)
            self._check_quotas(to, kernel)
            return True

        until(check, f"the quotas of {self.name} as {to}", QUOTA_SECONDS, 1)

    def rest(self, seconds: float) -> dict[str, int]:
        """Return for how many microseconds who is held back while nothing happens."""
        before = self._throttled(self.cluster.snapshot())
        time.sleep(seconds)  # the time for which it is watched
        return {who: now - before[who] for who, now in self._throttled(self.cluster.snapshot()).items()}

    def _applied(self, to: Shape) -> float:
        """Wait until the resize is Applied; return when its decision was seen, on the node's clock."""
        decided = 0.0

        def applied(now: Json) -> bool:
            nonlocal decided
            if sizes(now) != to.sizes or (to.budget is not None and memory(now) != parse_bytes(to.memory)):
                return False
            decided = decided or self.clock.now()
            return bool(now.get("status", {}).get("phase") == "Applied")

        self.awaited(applied, f"the resize of {self.name} to {to} to be Applied")
        return decided

    def _throttled(self, kernel: Snapshot) -> dict[str, int]:
        places = {"app": kernel.container(self.pod, "app"), "pod": kernel.pod(self.pod)}
        return {who: throttling(self.cluster, cgroup.path).microseconds for who, cgroup in places.items()}

    def _check_cpus(self, to: Shape, kernel: Snapshot) -> None:
        """Check where the containers may run."""
        app, log = (kernel.container(self.pod, name).effective_cpus for name in ("app", "log"))
        shared = kernel.container(self.neighbours[1], "app").effective_cpus
        if to.own is not None:
            assert len(app) == to.own
            assert len({cpu // NUMA_CPUS for cpu in app}) == 1, "on one NUMA node"
            assert not app & (log | shared)
        else:
            assert app == log
        if to.whole is not None:
            assert len(app | log) == to.whole
            assert not (app | log) & shared
        else:
            assert log == shared

    def _check_quotas(self, to: Shape, kernel: Snapshot) -> None:
        app, pod = kernel.container(self.pod, "app"), kernel.pod(self.pod)
        assert app.cpu_max == ("max 100000" if to.own is not None else f"{micros(to.app)} 100000")
        if to.budget is not None:
            assert pod.cpu_max == f"{micros(to.budget)} 100000"
            assert pod.memory_max == str(parse_bytes(to.memory))

    def _check_moments(self, to: Shape, start: Snapshot, samples: Samples) -> None:
        neighbour, shared = (container_id(pod, "app") for pod in self.neighbours)
        app, log = self.ids["app"], self.ids["log"]
        assert samples.moments
        assert samples.clashes([[app, log, shared], [neighbour]]) == []
        if to.whole is not None and self.shape.whole is not None:
            assert samples.clashes([[app, log], [neighbour, shared]]) == []
        if to.own is not None and self.shape.own is not None:
            assert samples.clashes([[app], [log, neighbour, shared]]) == []
        its_own = start.container(self.neighbours[0], "app").effective_cpus
        for moment, sets in samples.moments:
            assert all(sets.values()), f"{moment}: an empty set: {sets}"
            assert {cpus for path, cpus in sets.items() if neighbour in path} == {its_own}


def _completed(pod: Json | None) -> Json | None:
    """Return a pod of which the kubelet has nothing to resize any more."""
    conditions = pod["status"].get("conditions", []) if pod else []
    at_work = any(one["type"] in _KUBELET_AT_WORK and one["status"] == "True" for one in conditions)
    return None if at_work else pod


def sizes(allocation: Json) -> list[int | None]:
    """Return how many CPUs the pod, its application and the container beside that have been given."""
    spec = allocation["spec"]
    given = {entry["name"]: entry.get("cpus") for entry in spec.get("containers", [])}
    found = (spec.get("cpus"), given.get("app"), given.get("log"))
    return [None if cpus is None else len(parse_list(cpus)) for cpus in found]


def memory(allocation: Json) -> int:
    """Return the bytes that the pod's budget has been given."""
    return sum(
        parse_bytes(str(block["size"]))
        for block in allocation["spec"].get("memory", [])
        if block["resource"] == "memory"
    )


def parse_bytes(text: str) -> int:
    """Read an amount of memory: of bytes, or of Mi as this module asks for."""
    return int(text.removesuffix("Mi")) << 20 if text.endswith("Mi") else int(text)


def micros(cpus: str) -> int:
    """Return a quota for each period of 100 ms."""
    return int(cpus.removesuffix("m")) * 100 if cpus.endswith("m") else int(cpus) * 100_000


@contextmanager
def beside(cluster: Cluster) -> Iterator[list[Json]]:
    """Run a neighbour with two CPUs of its own, and one with none."""
    neighbours = [
        pods.doing(pods.pod(f"beside-{cpus}", cluster.image, {"app": cpus}), BURN) for cpus in ("2", "500m")
    ]
    with cluster.running(*neighbours) as settled:
        yield settled


@contextmanager
def resizable(
    podnuma: Product,
    neighbours: Sequence[Json],
    shape: Shape,
    *,
    busy: int = 0,
    phase: str = "Applied",
) -> Iterator[Resized]:
    """Run a pod of a shape and wait for a phase."""
    cluster = podnuma.cluster
    with cluster.running(shape.pod(NAME, cluster.image, busy)) as (settled,):
        pod = Resized(cluster, podnuma, node_clock(cluster), shape, settled, neighbours)
        pod.awaited(lambda now: now.get("status", {}).get("phase") == phase, f"{NAME} to be {phase}")
        yield pod
