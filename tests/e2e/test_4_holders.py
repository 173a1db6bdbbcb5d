"""Whoever really runs on a CPU keeps it: forced ends, mirrors, restarts, Audit, a second writer.

At no moment sampled are two pods with CPUs of their own on one CPU; the figures say how many pairs of
containers were compared. PODNUMA_E2E_RESTARTS is the number of restarts of the agent, in rounds of ten,
PODNUMA_E2E_CONTENDED_SECONDS for how long own writes are counted while somebody else writes.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from typing import TYPE_CHECKING

import pytest

from testbed.e2e import pods
from testbed.e2e.observe import container_id, limits, parse_list, render_list
from testbed.e2e.product import POD_SCOPE
from testbed.e2e.sampling import Owners, sampled
from testbed.waiting import until

from .test_4_disturbances import writes, writes_done

if TYPE_CHECKING:
    from typing import Self

    from testbed.api import Json
    from testbed.e2e.cluster import Cluster
    from testbed.e2e.product import Product
    from testbed.e2e.target import MachineTarget

RESTARTS = int(os.environ.get("PODNUMA_E2E_RESTARTS", "10"))
IN_A_ROUND = 10
SOON = 120  # seconds; emulated machines are slow
OUTAGE_SECONDS = 20
MOMENT_SECONDS = 20  # at most, from the start of an agent or from when it is ready to its end
FREED_SECONDS = 900  # until CPUs are free: as long as agents end before they report, none are
CONTENDED_SECONDS = float(os.environ.get("PODNUMA_E2E_CONTENDED_SECONDS", "70"))
DEAF = f"{pods.FIRST_WORDS}; trap '' TERM; while :; do sleep 1; done"
STATIC = "/etc/kubernetes/manifests/holder.json"


def two_cpus(cluster: Cluster, name: str) -> Json:
    """A pod with two CPUs of its own."""
    return pods.pod(name, cluster.image, {"app": "2"})


def cpus_of(cluster: Cluster, name: str, uid: str = "", seconds: float = SOON) -> str:
    """Wait for the decision about a pod, that with this UID if one is given; return its CPUs."""

    def decided(found: Json | None) -> str | None:
        if found is None or (uid and found["spec"]["podUID"] != uid):
            return None
        cpus: str = found["spec"].get("cpus", "")
        return cpus

    return cluster.awaited("podallocation", name, decided, f"the CPUs of {name}", seconds)


@pytest.mark.machine
def test_a_forced_end_frees_nothing_while_the_processes_run(
    cluster: Cluster, podnuma: Product, figures: list[str]
) -> None:
    """Force deletion of a pod that ignores TERM under a kubelet that hangs: its name comes on other CPUs."""
    cluster.start(pods.doing(two_cpus(cluster, "stubborn"), DEAF))
    old = cluster.settled("stubborn")
    podnuma.wait_applied("stubborn")
    held = cpus_of(cluster, "stubborn")
    with sampled(cluster) as samples:
        cluster.shell("systemctl stop kubelet")
        try:
            cluster.run("delete", "pod", "stubborn", "--force", "--grace-period=0", "--wait=false")
            cluster.start(two_cpus(cluster, "stubborn"))
            uid = cluster.get("pod", "stubborn")["metadata"]["uid"]
            assert uid != old["metadata"]["uid"]
            came = cpus_of(cluster, "stubborn", uid)
        finally:
            cluster.shell("systemctl start kubelet")
        new = cluster.settled("stubborn")
        podnuma.wait_applied("stubborn", 240)
    assert not parse_list(held) & parse_list(came)
    owners = {
        container_id(pod, "app"): (pod["metadata"]["uid"], parse_list(cpus))
        for pod, cpus in ((old, held), (new, came))
    }
    assert samples.violations(owners) == []
    compared = samples.compared(owners)
    assert compared > 0
    figures.append(f"forced end: {compared} sets of others compared in {samples.stable} samples")
    cluster.delete("stubborn")
    podnuma.wait_released()


@pytest.mark.machine
def test_the_deletion_of_a_mirror_pod_changes_nothing(
    cluster: Cluster, podnuma: Product, figures: list[str]
) -> None:
    """Mirror pod deleted: the static pod stays where it is, and so say its next mirror and a newcomer."""
    static = two_cpus(cluster, "holder")
    static["metadata"]["namespace"] = cluster.namespace
    cluster.shell(f"cat > {STATIC} <<'END'\n{json.dumps(static)}\nEND")
    name = f"holder-{cluster.node}"
    try:
        mirror = cluster.awaited("pod", name, lambda now: now, "the mirror pod", SOON)
        mirror = cluster.settled(name)
        podnuma.wait_applied(name, 240)
        held, own = cpus_of(cluster, name), container_id(mirror, "app")
        with sampled(cluster) as samples:
            cluster.run("delete", "pod", name, "--wait=false")
            cluster.start(two_cpus(cluster, "newcomer"))
            newcomer = cluster.settled("newcomer")
            podnuma.wait_applied("newcomer", 240)

            def another(now: Json | None) -> Json | None:
                back = now is not None and now["metadata"]["uid"] != mirror["metadata"]["uid"]
                return now if back else None

            cluster.awaited("pod", name, another, "the next mirror pod", SOON)
            again = cluster.settled(name)
            podnuma.wait_applied(name, 240)
            assert cpus_of(cluster, name, again["metadata"]["uid"]) == held
            assert container_id(again, "app") == own, "the container was started anew"
        groups = [[own], [container_id(newcomer, "app")]]
        assert samples.clashes(groups) == []
        kept = {cpus for _, sets in samples.moments for path, cpus in sets.items() if own in path}
        assert kept == {parse_list(held)}
        figures.append(f"mirror: {samples.pairs(groups)} pairs compared in {samples.stable} samples")
    finally:
        cluster.shell(f"rm -f {STATIC}")
        cluster.delete("newcomer")
    podnuma.wait_released(240)


def kill_and_await_another(podnuma: Product) -> None:
    """Kill the agent; return when the kubelet has started it again."""
    gone = podnuma.agent_process()
    podnuma.kill_agent()
    until(lambda: podnuma.agent_process() not in {0, gone}, "the next agent", SOON, 1)


class Churn:
    """Pods with CPUs of their own that come and go, three at most; what each container owns."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.owners: Owners = {}
        self.failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        alive: list[str] = []
        try:
            number = 0
            while not self._stop.is_set():
                name, number = f"churn-{number}", number + 1
                self.cluster.start(two_cpus(self.cluster, name))
                alive.append(name)
                pod = self.cluster.settled(name)
                uid = pod["metadata"]["uid"]
                cpus = parse_list(cpus_of(self.cluster, name, uid, FREED_SECONDS))
                self.owners[container_id(pod, "app")] = (uid, cpus)
                if len(alive) > 2:
                    self.cluster.delete(alive.pop(0))
        except BaseException as error:  # noqa: BLE001 - raised where the test waits
            self.failure = error
        finally:
            self.cluster.delete(*alive)


@pytest.mark.parametrize("first", range(0, RESTARTS, IN_A_ROUND))
def test_restarts_of_the_agent_while_pods_come_and_go(
    cluster: Cluster, podnuma: Product, figures: list[str], first: int
) -> None:
    """The agent killed again and again, while it starts or works: never two owners on one CPU."""
    rng = random.Random(21 + first)
    restarts = min(IN_A_ROUND, RESTARTS - first)
    everything = parse_list(cluster.shell("cat /sys/fs/cgroup/cpuset.cpus.effective"))
    with sampled(cluster) as samples, Churn(cluster) as churn:
        for number in range(restarts):
            kill_and_await_another(podnuma)
            if number % 2:
                podnuma.wait_ready()
            time.sleep(rng.uniform(0, MOMENT_SECONDS))  # the random moment
            assert churn.failure is None, churn.failure
        podnuma.wait_agent()
    podnuma.wait_released(240)
    assert churn.failure is None, churn.failure
    # What starts while no agent is there has no set at all until one is: docs/concepts.md says so.
    found = samples.violations(churn.owners, unconfined=everything, pinned=True)
    assert not found, "\n".join([*found[:20], str(churn.owners)])
    compared = samples.compared(churn.owners, pinned=True)
    assert compared > 0
    figures.append(
        f"{restarts} restarts of the agent, {len(churn.owners)} pods: {compared} sets of others compared in"
        f" {samples.stable} samples"
    )


@pytest.mark.machine
def test_in_audit_nothing_is_ever_written(
    cluster: Cluster, podnuma: Product, machine: MachineTarget, figures: list[str]
) -> None:
    """An Audit node whose agent restarts while no API server answers: no write, before and after."""
    podnuma.profile(POD_SCOPE | {"mode": "Audit"})
    try:
        audited = [two_cpus(cluster, "audited"), pods.pod("beside", cluster.image, {"app": None})]
        with cluster.running_at_once(*audited) as settled:
            until(lambda: podnuma.allocation("audited"), "the decision", SOON, 1)
            before = limits(cluster.shell, settled)
            for _ in range(2):
                with machine.control_plane.apiserver_gone():
                    kill_and_await_another(podnuma)
                    time.sleep(OUTAGE_SECONDS)  # the delay of the API server
                    assert limits(cluster.shell, settled) == before
                podnuma.wait_agent()
                assert writes(podnuma) == 0
            assert limits(cluster.shell, settled) == before
        figures.append(f"Audit: {len(before)} values unchanged through two restarts without an API server")
    finally:
        podnuma.profile(POD_SCOPE | {"mode": "Enforce"})
    podnuma.wait_released(240)


def test_a_second_writer_is_named_and_not_fought(
    cluster: Cluster, podnuma: Product, figures: list[str]
) -> None:
    """Somebody else writes every second: told, answered once a minute at most, and undone when it stops."""
    with cluster.running(two_cpus(cluster, "fought"), two_cpus(cluster, "neighbour")) as settled:
        for pod in settled:
            podnuma.wait_applied(pod["metadata"]["name"])
        groups = [[container_id(pod, "app")] for pod in settled]
        mine = cluster.snapshot().container(settled[0], "app")
        one = render_list({min(mine.effective_cpus)})
        file = f"/sys/fs/cgroup/{mine.path}/cpuset.cpus"
        with sampled(cluster) as samples:
            loop = f"while :; do echo {one} > {file}; sleep 1; done"
            cluster.shell(
                f"nohup sh -c '{loop}' >/dev/null 2>&1 </dev/null & echo $! > /run/second-writer.pid"
            )
            try:
                told = podnuma.wait_condition("Contended", "True", 240)
                assert "fought" in told["message"]
                assert "app" in told["message"]
                before = writes_done(podnuma)
                time.sleep(CONTENDED_SECONDS)  # the time for which own writes are counted
                own = writes_done(podnuma) - before
                assert own <= CONTENDED_SECONDS // 60 + 1, f"{own} writes in {CONTENDED_SECONDS} s"
            finally:
                cluster.shell("kill $(cat /run/second-writer.pid)")
            until(
                lambda: cluster.snapshot().container(settled[0], "app").effective_cpus == mine.effective_cpus,
                "the CPUs to be back",
                SOON,
                1,
            )
        assert samples.clashes(groups) == []
        figures.append(
            f"second writer: {own:.0f} own writes in {CONTENDED_SECONDS:.0f} s;"
            f" {samples.pairs(groups)} pairs compared in {samples.stable} samples"
        )
