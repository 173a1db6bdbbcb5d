"""A long life on a real API server, from a seed: pods, profiles and nodes come and go, the operator dies.

The operator runs in a child that is forked from a process with everything imported, so that a new one
is there in a moment. Its requests go through a proxy that calls back at the chosen one, before it is
passed on or after it was carried out; the call kills the child with SIGKILL, so that nothing happens
between that request and the next.

What must hold, looked at after every step: no CPU in two PodAllocations, and a decision that gave
something never changes while its pod lives. And at rest: every pod is decided, nothing is left of pods
that are gone. The seed gives the steps; what happens between them is the machine's.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import threading
import time
from typing import TYPE_CHECKING, Any

from podnuma.operator import app
from podnuma.operator.settings import OperatorSettings

from testbed import faults
from testbed.api import ApiStatusError
from testbed.installation import NAMESPACE, OPERATOR_ACCOUNT
from testbed.waiting import until
from tests.integration.operator_site import GROUP, pod, profile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from testbed.api import Json
    from testbed.faults import Call, FaultyApiServer
    from tests.integration.operator_site import Site

REST_SECONDS = 40.0
NODES = ("n1", "n2")
GONE = frozenset({404, 409})


class Life:
    """One cluster and its operator."""

    rest_seconds = REST_SECONDS
    profile_spec: Mapping[str, Any] = {"onRejection": "Share"}
    placement = False

    def __init__(self, site: Site, faulty: FaultyApiServer, seed: int) -> None:
        self.site = site
        self.faulty = faulty
        self.seed = seed
        self.rng = random.Random(seed)
        self.kills = 0
        self.steps: list[str] = []
        self._given: dict[str, Any] = {}
        self._names = 0
        self._child: Any = None
        self._dead = threading.Event()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["podnuma.operator.app"])
        self._kubeconfig = faulty.kubeconfig_for(NAMESPACE, OPERATOR_ACCOUNT)

    def live(self, steps: int) -> None:
        """Take steps of every kind, with one operator that lives on; look after each."""
        kinds = [self.create] * 8 + [self.delete] * 4 + [self.finish] * 2 + [self.replace] * 2
        kinds += [self.edit_profile, self.node_away, self.node_back, self.edit_allocation, self.trouble]
        with self._explained():
            self.start()
            for number in range(steps):
                self._step(self.rng.choice(kinds))
                time.sleep(self.rng.choice([0.0, 0.0, 0.05, 0.3]))
                self._look()
                if number % 25 == 24:
                    self.rest()
            self.rest()

    def die(self, kills: int) -> None:
        """Go on until the operator was killed so often, at random requests."""
        with self._explained():
            self.start()
            while self.kills < kills:
                self._arm(place=self.rng.randrange(6), done=self.rng.random() < 0.5)
                while not self._dead.wait(0.02):
                    self._step(self.rng.choice(self._steps_to_die_in()))
                self._child.join()
                self.faulty.heal()
                # With a Lease the next one waits until no write of the dead one can be carried out.
                until(self.faulty.idle, "the last requests of the dead operator to end", REST_SECONDS)
                self._look()
                self.start()
                if self.kills % 10 == 0:
                    self.rest()
            self.rest()

    def _steps_to_die_in(self) -> list[Callable[[], None]]:
        return [self.create] * 11 + [self.delete] * 5 + [self.finish] * 2 + [self.replace] * 2

    @contextlib.contextmanager
    def _explained(self):
        print(f"seed {self.seed}")  # noqa: T201 - pytest shows it when the test fails
        try:
            yield
        except (AssertionError, TimeoutError) as error:
            done = f"seed {self.seed}, {self.kills} kills, {len(self.steps)} steps, last {self.steps[-8:]}"
            raise AssertionError(f"{done}: {error}") from error
        finally:
            self.stop()

    # The operator

    def start(self) -> None:
        settings = OperatorSettings(
            kubeconfig=self._kubeconfig,
            namespace=NAMESPACE,
            lease=None,
            metrics_port=None,
            settle=0.01,
            placement=self.placement,
        )
        self._child = self._context.Process(target=app.main, args=(settings,), daemon=True)
        self._child.start()

    def stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.join()

    def _arm(self, *, place: int, done: bool) -> None:
        seen = 0

        def due(call: Call) -> bool:
            nonlocal seen
            seen += _writes(call)
            return _writes(call) and seen > place

        self._dead.clear()
        self.faulty.next(due, faults.Notify(self._kill, done=done))

    def _kill(self, _: Call) -> None:
        self._child.kill()
        self.kills += 1
        self._dead.set()

    # Steps

    def _step(self, act: Callable[[], None]) -> None:
        self.steps.append(act.__name__)
        try:
            act()
        except ApiStatusError as error:
            if error.code not in GONE:  # the operator or kube-controller-manager was faster
                raise

    def create(self) -> None:
        self._names += 1
        self._create(f"p{self._names}")

    def _create(self, name: str) -> None:
        cpus, node = self.rng.choice([2, 2, 3, 4, 6, 9]), self.rng.choice(NODES)
        if self.site.api.find(f"/api/v1/nodes/{node}") is not None:
            self.site.create(pod(name, cpus, on=node))

    def delete(self) -> None:
        if names := sorted(self._pods()):
            self.site.delete(self.rng.choice(names))

    def finish(self) -> None:
        if names := sorted(self._pods()):
            self.site.finish(self.rng.choice(names), self.rng.choice(["Succeeded", "Failed"]))

    def replace(self) -> None:
        if names := sorted(self._pods()):
            name = self.rng.choice(names)
            self.site.delete(name)
            self._create(name)

    def edit_profile(self) -> None:
        self.site.api.apply(
            profile(
                reservedSystemCPUs=self.rng.choice(["0,8", "0-1,8-9", "0,96"]),
                topologyManagerPolicy=self.rng.choice(["single-numa-node", "best-effort"]),
                topologyManagerScope=self.rng.choice(["pod", "container"]),
                onRejection="Share",
            )
        )

    def node_away(self) -> None:
        self.site.api.delete(f"/api/v1/nodes/{self.rng.choice(NODES)}")

    def node_back(self) -> None:
        for name in NODES:
            if self.site.api.find(f"/api/v1/nodes/{name}") is None:
                self.site.add_node(name)
        self._report()

    def edit_allocation(self) -> None:
        if names := sorted(self.site.allocations()):
            path = f"{GROUP}/namespaces/{self.site.namespace}/podallocations/{self.rng.choice(names)}"
            if self.rng.random() < 0.5:
                self.site.api.delete(path)
            else:
                self.site.api.merge(path, {"spec": {"decision": {"message": "edited by hand"}}})

    def trouble(self) -> None:
        kinds: list[faults.Fault] = [
            faults.Refuse(500, "InternalError"),
            faults.Refuse(429, "TooManyRequests", retry_after=1),
            faults.Refuse(409, "Conflict"),
            faults.Cut(),
            faults.Cut(done=True),
            faults.Delay(0.5),
        ]
        fault = self.rng.choice(kinds)
        self.faulty.next(_writes, fault, times=self.rng.randrange(1, 4))

    # Looking

    def rest(self) -> None:
        """Put nodes and settings in order, let the operator finish, and look at everything."""
        self.faulty.heal()
        self.site.api.apply(profile(**self.profile_spec))
        self.node_back()

        def at_rest() -> bool:
            self._report()
            self._assert_at_rest()
            return True

        what = "every pod to be decided and nothing to be left of others"
        until(at_rest, what, self.rest_seconds, every=0.3)
        self._look()

    def _assert_at_rest(self) -> None:
        wanted = {
            name: (value["metadata"]["uid"], value["spec"]["nodeName"])
            for name, value in self._pods().items()
        }
        found = {name: (spec["podUID"], spec["nodeName"]) for name, spec in self.site.allocations().items()}
        assert wanted == found, (
            f"undecided {wanted.items() - found.items()}, left {found.items() - wanted.items()}"
        )

    def _look(self) -> None:
        self.site.assert_sound()
        for name, spec in self.site.allocations().items():
            if not self._is_final(spec["decision"]):
                continue
            before = self._given.setdefault(spec["podUID"], spec)
            assert before == spec, f"the decision about {name} changed: {before} -> {spec}"

    def _is_final(self, decision: Json) -> bool:
        return bool(decision["admitted"] and not decision.get("message"))

    def _report(self) -> None:
        for found in self.site.api.items(f"{GROUP}/nodetopologies"):
            if "hardware" not in found.get("status", {}):
                with contextlib.suppress(ApiStatusError):
                    self.site.report_hardware(found["metadata"]["name"])

    def _pods(self) -> dict[str, Any]:
        found = self.site.api.items(f"/api/v1/namespaces/{self.site.namespace}/pods")
        return {
            value["metadata"]["name"]: value
            for value in found
            if value.get("status", {}).get("phase") not in {"Succeeded", "Failed"}
        }


def _writes(call: Call) -> bool:
    return call.method != "GET" and "/leases" not in call.path
