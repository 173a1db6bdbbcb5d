"""A life of resizes on a real API server, from a seed, with operator and agents as processes that are killed.

Pods come, are resized in place again and again, and go; what a kubelet reports follows its pod at once or
later. Now and then the operator or an agent is killed with SIGKILL, and others go on meanwhile.

What must hold, looked at after every step: no CPU in two PodAllocations; what is Applied is what the
control groups have, and where a container shares, no CPU of another pod is in its group. And at rest: every
pod has as many CPUs as it asks for, or it is said that it has not (Rejected, or ResizePending with a reason);
nothing is left of pods that are gone. The nodes are so small that not every resize fits.
"""

from __future__ import annotations

import contextlib
import random
import time
from typing import TYPE_CHECKING

from podnuma.allocator import cpuset

from testbed.api import ApiStatusError
from testbed.cgroups import NoGroupError
from testbed.waiting import until
from tests.integration import resized_pods
from tests.integration.operator_site import profile
from tests.integration.resized_pods import Shape, budget, declare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from testbed.api import Json
    from testbed.cgroups import Written
    from testbed.installation import Installation
    from testbed.program import Program

NODES = ("r1", "r2")
MACHINE = "laptop-hybrid-6p8e"  # 20 CPUs of one NUMA node
LABELS = {"pool": "a"}  # of the profile
REST_SECONDS = 90
READY_SECONDS = 90
REST_EVERY = 20
MEMORY = "2Gi"
MOST = 8  # pods at a time
KILL = 0.15  # of all steps
LATE = 0.3  # of all resizes a kubelet accepts later than at once
GONE = frozenset({404, 409})
BUDGETS = [
    *(budget(str(whole), str(own), MEMORY) for whole in range(2, 7) for own in range(1, whole)),
    *(budget("4", own, MEMORY) for own in ("1500m", "500m")),
    *(budget(whole, "1", MEMORY) for whole in ("3500m", "2500m")),
    budget("12", "11", MEMORY),
    budget("4", "2", "3Gi"),
]
CONTAINERS = [Shape("", {"db": own, "log": "500m"}) for own in ("1", "2", "3", "5", "1500m")]


def install(system: Installation) -> None:
    """Start an operator and agents on two nodes."""
    system.install()
    # The operator waits for an agent before it decides anything.
    reserved = [{"numaNode": 0, "limits": {"memory": "1Gi"}}]
    system.cluster.api.apply(profile(onRejection="Share", reservedMemory=reserved))
    for name in NODES:
        system.add_node(None, name, MACHINE, LABELS)
        declare(system.cluster.api, name)
    programs = [system.start_operator(), *(system.start_agent(name) for name in NODES)]
    for program in programs:
        program.wait_ready(READY_SECONDS)


def sizes(shape: Shape) -> list[int | None]:
    """Return how many CPUs the pod, its first container and the other have been given, in the end."""
    own = int(shape.containers["db"]) if shape.containers["db"].isdecimal() else None
    if not shape.budget:
        return [own, own, None]
    if not shape.budget.isdecimal():
        return [None, None, None]
    whole = int(shape.budget)
    return [whole, own or whole, whole - (own or 0)]


def given(allocation: Json) -> list[int | None]:
    """Return the same of what was decided."""
    spec = allocation["spec"]
    found = (spec.get("cpus"), *(entry.get("cpus") for entry in spec["containers"]))
    return [None if cpus is None else cpuset.parse(cpus).bit_count() for cpus in found]


class ResizeLife:
    """One installation and what happens to its pods."""

    def __init__(self, system: Installation, namespace: str, seed: int) -> None:
        self.system = system
        self.api = system.cluster.api
        self.namespace = namespace
        self.seed = seed
        self.rng = random.Random(seed)
        self.kills = 0
        self.resizes = 0
        self.steps: list[str] = []
        self._shapes: dict[str, Shape] = {}
        self._late: dict[str, Shape] = {}
        self._names = 0

    def live(self, steps: int) -> None:
        """Take steps; look after each, and at everything now and then."""
        with self._explained():
            for number in range(steps):
                self._step()
                time.sleep(self.rng.choice([0.0, 0.0, 0.05, 0.3]))
                self._look()
                if number % REST_EVERY == REST_EVERY - 1:
                    self.rest()
            self.rest()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (AssertionError, TimeoutError) as error:
            done = f"seed {self.seed}, {self.kills} kills, {self.resizes} resizes, last {self.steps[-8:]}"
            raise AssertionError(f"{done}: {error}\n{self.system.logs()}") from error

    # Steps

    def _step(self) -> None:
        if self.rng.random() < KILL:
            self._kill()
            return
        act = self.rng.choice([self.resize] * 6 + [self.create] * 3 + [self.delete] + [self.accept] * 2)
        try:
            act()
        except ApiStatusError as error:
            if error.code not in GONE:  # a process was faster
                raise

    def create(self) -> None:
        if len(self._shapes) >= MOST:
            return
        self._names += 1
        name, node = f"p{self._names}", self.rng.choice(NODES)
        shape = self.rng.choice(self.rng.choice([BUDGETS, BUDGETS, CONTAINERS]))
        self.steps.append(f"create {name} on {node}: {shape}")
        self.api.create(shape.pod(name, node), self.namespace)
        self._report(name, shape)
        self._shapes[name] = shape

    def resize(self) -> None:
        if not self._shapes:
            return
        name = self.rng.choice(sorted(self._shapes))
        to = self.rng.choice(BUDGETS if self._shapes[name].budget else CONTAINERS)
        self.steps.append(f"resize {name}: {to}")
        resized_pods.resize(self.api, self.namespace, name, to.patch())
        self.resizes += 1
        self._shapes[name] = self._late[name] = to
        if self.rng.random() >= LATE:
            self._accept(name)

    def accept(self) -> None:
        """Let the kubelet accept what it has not yet."""
        for name in sorted(self._late):
            self.steps.append(f"accept {name}")
            self._accept(name)

    def delete(self) -> None:
        if not self._shapes:
            return
        name = self.rng.choice(sorted(self._shapes))
        self.steps.append(f"delete {name}")
        del self._shapes[name]
        self._late.pop(name, None)
        self.api.delete(f"/api/v1/namespaces/{self.namespace}/pods/{name}", grace_seconds=0)

    def _kill(self) -> None:
        program = self.rng.choice(self._programs())
        self.steps.append(f"kill {program.name}")
        program.kill()
        self.kills += 1
        for _ in range(self.rng.randrange(4)):
            with contextlib.suppress(ApiStatusError):
                self.rng.choice([self.resize, self.accept, self.create])()
            self._look()
        program.start().wait_ready(READY_SECONDS)

    def _accept(self, name: str) -> None:
        self._report(name, self._late.pop(name))

    def _report(self, name: str, shape: Shape) -> None:
        resized_pods.report(self.api, self.namespace, name, shape)

    def _programs(self) -> list[Program]:
        assert self.system.operator is not None
        return [self.system.operator, *self.system.agents.values()]

    # Looking

    def rest(self) -> None:
        """Let kubelets accept everything and podnuma finish, and look at everything."""
        self.accept()

        def at_rest() -> bool:
            self._look()
            found = self.system.allocations(self.namespace)
            assert found.keys() == self._shapes.keys(), (
                f"decided {sorted(found)}, wanted {sorted(self._shapes)}"
            )
            for name, allocation in found.items():
                self._check(name, allocation)
            return True

        until(at_rest, "every pod to have what it asks for, or to say why not", REST_SECONDS, every=0.3)

    def _check(self, name: str, allocation: Json) -> None:
        shape, status = self._shapes[name], allocation.get("status", {})
        assert status.get("observedGeneration") == allocation["metadata"]["generation"], f"{name} is not seen"
        decision, phase = allocation["spec"]["decision"], status["phase"]
        if phase == "Applied":
            assert given(allocation) == sizes(shape), f"{name}, {shape}: {given(allocation)}"
            assert "pendingResize" not in decision, name
        elif phase == "ResizePending":
            assert decision["pendingResize"]["message"], name
        else:
            assert (phase, decision["admitted"]) == ("Rejected", False), f"{name}: {phase} {decision}"

    def _look(self) -> None:
        before = self.system.allocations(self.namespace)
        owners: dict[tuple[str, int], str] = {}
        for name, allocation in before.items():
            spec = allocation["spec"]
            for cpu in cpuset.ids(cpuset.parse(spec.get("cpus", ""))):
                owner = owners.setdefault((spec["nodeName"], cpu), name)
                assert owner == name, f"CPU {cpu} of {spec['nodeName']}: {owner} and {name}"
        written = {name: self._written(allocation) for name, allocation in before.items()}
        after = self.system.allocations(self.namespace)
        if before == after:
            for name, allocation in before.items():
                if self._applied(allocation):
                    foreign = {owned for owned, owner in owners.items() if owner != name}
                    self._check_groups(name, allocation, written[name], foreign)

    def _check_groups(
        self,
        name: str,
        allocation: Json,
        written: Mapping[str, Written],
        foreign: set[tuple[str, int]],
    ) -> None:
        """Check the control groups of a pod that is Applied."""
        spec = allocation["spec"]
        for container in spec["containers"]:
            cpus, group = container.get("cpus"), written.get(container["name"])
            if group is None:
                continue
            if cpus is not None:
                assert group.cpu_list == cpus, f"{name} is Applied with {cpus}, {group}"
            else:
                both = {(spec["nodeName"], cpu) for cpu in group.cpus} & foreign
                assert not both, f"{name} is Applied, and shares {both}, which others hold: {group}"

    def _applied(self, allocation: Json) -> bool:
        status = allocation.get("status", {})
        seen = status.get("observedGeneration") == allocation["metadata"]["generation"]
        return bool(seen and status.get("phase") == "Applied")

    def _written(self, allocation: Json) -> Mapping[str, Written]:
        try:
            return self.system.written(allocation)
        except NoGroupError:
            return {}  # its containers have ended, or an agent that is not there would start them
