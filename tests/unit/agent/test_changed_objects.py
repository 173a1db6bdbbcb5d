"""One field of a stored object is changed to anything under a running agent, which is restarted now and then.

Whatever the change is: a pass ends, what is reported can be read and is true, no CPU has two owners, nothing
is written in Audit, and what cannot be read takes nothing away. When the object has been mended everything
is as it was.
"""

import asyncio
import copy
import datetime as dt
import json
import random
from dataclasses import replace
from typing import Any

import pytest
from podnuma.agent.apiserver.watch import Changed, Listed, WatchEventType
from podnuma.agent.desired.state import DesiredState
from podnuma.agent.discover.machine import Discovered
from podnuma.agent.model.containers import RuntimeDescription
from podnuma.agent.status.metrics import AdmissionCounts
from podnuma.agent.status.node_status import AgentIdentity, NodeStatus
from podnuma.agent.status.reporter import StatusReporter
from podnuma.allocator import cpuset
from podnuma.allocator.manager_settings import CpuManagerPolicy, ManagerSettings
from podnuma.allocator.request import Qos
from podnuma.api.node_settings import NodeSettings, PodPolicy
from podnuma.api.node_topology import render_node_topology
from podnuma.api.pod_allocation import Decision, render_pod_allocation
from podnuma.api.pod_allocation_status import Phase

from tests.fuzz.mutation import changed
from tests.written.check import check
from tests.written.states import Written

STEPS = 12
TOPOLOGY = ("", "node")
BUDGET = "1-2,9-10"
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Node:
    """A node with two pods that hold CPUs and one that shares; `stored` is what the API server has."""

    def __init__(self, bench, words, seed) -> None:
        self.bench = bench
        self.rng = random.Random(seed)
        self.stored: dict[tuple[str, str], dict[str, Any]] = {}
        self.cgroups = {"web": bench.start(bench.pod("web", Qos.BURSTABLE), "c")}
        rules = ManagerSettings(
            cpu_manager_policy=CpuManagerPolicy.STATIC, reserved_system_cpus=cpuset.parse("0,8")
        )
        self._put(TOPOLOGY, render_node_topology("node", NodeSettings(rules, PodPolicy()), None))
        for grant in (
            words.pod(
                "db", words.container("c", "1,9"), words.container("side", "2,10", 50_000), cpus="1-2,9-10"
            ),
            words.pod("job", words.container("c", "4-6,12-14")),
        ):
            self._put(("default", grant.uid), render_pod_allocation(grant, "node", Decision(admitted=True)))
            pod = bench.pod(grant.uid)
            for container in grant.containers:
                self.cgroups[f"{grant.uid}/{container.name}"] = bench.start(pod, container.name)
        self.start()
        self.run()
        self.before = self.effective()
        self.good = copy.deepcopy(self.stored)

    def _put(self, key, body) -> None:
        body["metadata"] |= {"uid": f"uid-{key[1]}", "generation": 1}
        self.stored[key] = body

    def start(self) -> None:
        """Start an agent that knows what the API server and the kernel have, nothing else."""
        desired = self.bench.desired = DesiredState(lambda: None)
        self.bench.reconciler = replace(self.bench.reconciler, desired=desired)
        identity = AgentIdentity("node", "0.1", "boot")
        writer: Any = self
        self.status = NodeStatus(identity, desired, writer, clock=lambda: NOW, heartbeat=60)
        self.status.discovered(Discovered(self.bench.machine, ()))
        self.status.backend("systemd", lambda: RuntimeDescription("Fake", "fake 1"))
        self.reporter = StatusReporter(desired, writer, self.status, AdmissionCounts(), lambda: NOW)
        allocations = [copy.deepcopy(body) for key, body in self.stored.items() if key != TOPOLOGY]
        desired.take_allocations(Listed(tuple(allocations)))
        desired.take_topology(Listed((copy.deepcopy(self.stored[TOPOLOGY]),)))

    # what a status writer does

    dropped = frozenset[str]()
    refused = 0

    def submit(self, path, body, **_: object) -> None:
        *_, name, _ = path.split("/")
        key = TOPOLOGY if name == "node" else ("default", name)
        stored = self.stored[key]
        status = {**stored.get("status", {}), **body["status"]}
        if json.dumps(status) != json.dumps(stored.get("status")):
            self.stored[key] = {**stored, "status": status}
            self.tell(key)

    def forget(self, keep) -> None:
        pass

    def tell(self, key) -> None:
        event = Changed(WatchEventType.MODIFIED, copy.deepcopy(self.stored[key]))
        take = self.bench.desired.take_topology if key == TOPOLOGY else self.bench.desired.take_allocations
        take(event)

    def run(self) -> None:
        """Run two passes, as an agent does in ten seconds."""
        for _ in range(2):
            self.reporter.recall(self.bench.reconciler.verdicts)
            snapshot = self.bench.run_pass()
            asyncio.run(self.reporter.report(snapshot, self.bench.reconciler.verdicts))

    def effective(self):
        return {name: self.bench.effective(cgroup) for name, cgroup in self.cgroups.items()}

    # the story

    def spoil(self):
        key = self.rng.choice(sorted(self.stored))
        body = copy.deepcopy(self.stored[key])
        part = self.rng.choice(["spec", "spec", "status"])
        name = self.rng.choice(sorted(body[part]))
        body[part][name] = changed(body[part][name], self.rng)
        body["metadata"]["generation"] += part == "spec"
        self.stored[key] = body
        return key, f"{key[1]}.{part}.{name} = {body[part][name]!r:.200}"

    def mend(self, key) -> None:
        generation = self.stored[key]["metadata"]["generation"] + 1
        body = copy.deepcopy(self.good[key])
        body["metadata"]["generation"] = generation
        self.stored[key] = body
        self.tell(key)


def look(node, key) -> None:
    """Look at the kernel, and at what the API server has been told."""
    desired, snapshot = node.bench.desired, node.bench.reconciler.snapshot
    problems = {each.key: each.problem for each in desired.allocations()}
    problem = desired.node_config.problem if key == TOPOLOGY else problems[key]
    if problem is not None or not snapshot.enforcing:
        assert node.effective() == node.before, f"changed although {problem or snapshot.mode}"
    if problem is not None and key != TOPOLOGY:
        told = [one["message"] for one in node.stored[key]["status"]["conditions"]]
        assert any(problem[:60] in message for message in told), f"nobody is told of {problem}"
    if snapshot.enforcing:
        look_at_owners(node, snapshot)
    for each in desired.allocations():
        if each.problem is None and node.stored[each.key]["status"].get("phase") == Phase.APPLIED.value:
            look_at_applied(node, each.grant)
    for other, each in node.stored.items():
        body = {**node.good[other], "status": {**node.good[other]["status"], **each["status"]}}
        check(Written("agent", body, {}))


def look_at_owners(node, snapshot) -> None:
    owners: dict[int, str] = {}
    for uid, grant in snapshot.accepted.grants.items():
        for cpu in cpuset.ids(grant.exclusive_cpus):
            assert owners.setdefault(cpu, uid) == uid
    for name, cpus in node.effective().items():
        uid = name.split("/")[0]
        for cpu in cpuset.ids(cpuset.parse(cpus)):
            assert owners.get(cpu, uid) == uid, f"{name} runs on CPU {cpu} of {owners[cpu]}"


def look_at_applied(node, grant) -> None:
    effective = node.effective()
    for container in grant.containers:
        name = f"{grant.uid}/{container.name}"
        if name in effective and container.cpus:
            assert effective[name] == cpuset.render(container.cpus), f"{name} is not Applied"


def live(bench, words, seed) -> None:
    node = Node(bench, words, seed)
    for _ in range(STEPS):
        key, what = node.spoil()
        restarts = node.rng.random() < 0.3
        try:
            node.start() if restarts else node.tell(key)
            node.run()
            look(node, key)
            node.mend(key)
            node.run()
            assert node.effective() == node.before, "it does not come back"
            phases = {k[1]: v["status"].get("phase") for k, v in node.stored.items() if k != TOPOLOGY}
            assert set(phases.values()) == {"Applied"}, phases
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, restart {restarts}, {what}: {error}") from error


@pytest.mark.parametrize("seed", range(12))
def test_a_changed_field_takes_nothing_away_and_is_forgotten_when_it_is_mended(bench, words, seed):
    live(bench, words, seed)


def test_a_restarted_agent_keeps_others_off_the_cpus_of_a_pod_whose_decision_it_cannot_read(bench, words):
    node = Node(bench, words, 1)
    node.stored["default", "db"]["spec"]["scope"] = "socket"
    node.start()
    node.run()
    assert node.effective() == node.before
    node._put(
        ("default", "new"),
        render_pod_allocation(
            words.pod("new", words.container("c", "3,11")), "node", Decision(admitted=True)
        ),
    )
    node.cgroups["new/c"] = bench.start(bench.pod("new"), "c")
    node.tell(("default", "new"))
    node.run()
    assert node.effective() == {**node.before, "web": "0,7-8,15", "new/c": "3,11"}
    overlapping = words.pod("late", words.container("c", "10-11"))
    node._put(("default", "late"), render_pod_allocation(overlapping, "node", Decision(admitted=True)))
    node.tell(("default", "late"))
    node.run()
    assert "CPUs 10 are already held by pod default/db" in json.dumps(node.stored["default", "late"])
    node.mend(("default", "db"))
    node.run()
    assert node.stored["default", "db"]["status"]["phase"] == "Applied"
