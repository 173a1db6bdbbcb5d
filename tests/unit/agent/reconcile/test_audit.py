"""In Audit nothing is written: whatever the agent learns, in whatever order, through whatever mechanism."""

import asyncio
import dataclasses
import itertools
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from podnuma.agent.apiserver.watch import Changed, Listed, WatchEventType
from podnuma.agent.desired.state import DesiredState
from podnuma.agent.model.cgroup_ref import ContainerCgroup
from podnuma.agent.model.cgroup_values import CpuMax
from podnuma.agent.model.containers import StartingContainer
from podnuma.agent.start.gate import StartGate
from podnuma.agent.start.hook import StartAnswer, StartHook
from podnuma.allocator.manager_settings import CpuManagerPolicy, ManagerSettings
from podnuma.allocator.request import Qos
from podnuma.api.node_settings import Mode, NodeSettings, PodPolicy
from podnuma.api.node_topology import render_node_topology
from podnuma.api.pod_allocation import Decision, render_pod_allocation


def topology(mode: Mode = Mode.AUDIT, **broken):
    rules = ManagerSettings(cpu_manager_policy=CpuManagerPolicy.STATIC)
    body = render_node_topology("node", NodeSettings(rules, PodPolicy(mode=mode)), None)
    body["metadata"] |= {"uid": "nt", "generation": 1}
    body["spec"] |= broken
    return body


AUDIT = topology()
BROKEN = topology(cpuManagerPolicy="garbage")
UNREADABLE = topology()
UNREADABLE["spec"]["mode"] = "Adit"
GONE = {"metadata": {"name": "node", "uid": "nt"}}


class AuditNode:
    """A node on which db and web already run, and what the API server says of it, in parts."""

    def __init__(self, bench, words) -> None:
        self.bench = bench
        self.numbers = itertools.count(1)
        self.answers: list[StartAnswer] = []
        self.values: list[object] = []
        self.items = []
        for uid, cpus in (("db", "1,9"), ("web", "2")):
            body = render_pod_allocation(
                words.pod(uid, words.container("c", cpus), cpus=cpus), "node", Decision(admitted=True)
            )
            body["metadata"] |= {"uid": f"pa-{uid}", "generation": 1}
            self.items.append(body)
        self.pods = {"db": bench.pod("db"), "web": bench.pod("web", Qos.BURSTABLE)}
        for pod in self.pods.values():
            bench.start(pod, "c", "200000 100000")
        self.restart()

    def restart(self) -> None:
        """A new process: it knows nothing but what it can see."""
        desired = DesiredState(lambda: None)
        self.bench.desired = desired
        self.bench.reconciler = dataclasses.replace(self.bench.reconciler, desired=desired)
        self.hook = StartHook(StartGate(desired, lambda _: None), self.bench.reconciler)

    def topology(self, event) -> None:
        self.bench.desired.take_topology(event)

    def allocations(self, number: int) -> None:
        self.bench.desired.take_allocations(Listed(tuple(self.items[:number])))

    def allocation(self, number: int) -> None:
        self.bench.desired.take_allocations(Changed(WatchEventType.ADDED, self.items[number]))

    def drift(self) -> None:
        for pod in self.pods.values():
            self.bench.put(pod, "cpuset.cpus", "3-4")

    def run_pass(self) -> None:
        self.bench.run_pass()

    def start(self, uid: str) -> None:
        pod = self.pods[uid]
        cgroup = ContainerCgroup(pod, "c", f"{uid}{next(self.numbers)}".ljust(24, "0"))
        starting = StartingContainer(cgroup, "default", {}, CpuMax(200_000, 100_000), annotated=uid == "web")
        self.answers.append(asyncio.run(self.hook.start(starting, 0.001)))
        cgroup = self.bench.start(pod, "c", number=next(self.numbers))
        asyncio.run(self.hook.before_start(cgroup))
        self.values.append(self.hook.values(cgroup))

    def wrote(self) -> bool:
        return bool(
            self.bench.ways.written
            or any(answer != StartAnswer() for answer in self.answers)
            or any(value is not None for value in self.values)
        )


EVENTS = st.one_of(
    st.sampled_from(
        [
            ("restart",),
            ("drift",),
            ("run_pass",),
            ("start", "db"),
            ("start", "web"),
            ("topology", Listed(())),
            ("topology", Listed((AUDIT,))),
            ("topology", Listed((BROKEN,))),
            ("topology", Listed((UNREADABLE,))),
            ("topology", Changed(WatchEventType.MODIFIED, AUDIT)),
            ("topology", Changed(WatchEventType.MODIFIED, BROKEN)),
            ("topology", Changed(WatchEventType.MODIFIED, UNREADABLE)),
            ("topology", Changed(WatchEventType.DELETED, GONE)),
        ]
    ),
    st.tuples(st.just("allocations"), st.integers(0, 2)),
    st.tuples(st.just("allocation"), st.integers(0, 1)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, min_size=3, max_size=16))
def test_nothing_is_written_in_audit_whatever_is_learned_in_whatever_order(bench_class, words, story):
    with tempfile.TemporaryDirectory() as folder:
        node = AuditNode(bench_class(Path(folder)), words)
        for what, *arguments in (*story, ("run_pass",)):
            getattr(node, what)(*arguments)
            assert not node.wrote(), (what, arguments)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 12), st.sampled_from([AUDIT, BROKEN]))
def test_a_switch_to_audit_ends_the_writing_between_two_writes(bench_class, words, after, audit):
    with tempfile.TemporaryDirectory() as folder:
        node = AuditNode(bench_class(Path(folder)), words)
        node.allocations(2)
        node.topology(Listed((topology(Mode.ENFORCE),)))
        left = [after]

        def switch(_) -> None:
            if left[0] == 0:
                node.topology(Changed(WatchEventType.MODIFIED, audit))
            left[0] -= 1

        node.bench.ways.refuse = switch
        node.run_pass()
        if left[0] >= 0:
            left[0] = 0
            switch(None)
        written = len(node.bench.ways.written)
        assert written <= after + 1, "one write may be under way"
        node.run_pass()
        node.start("db")
        assert len(node.bench.ways.written) == written
        assert (node.answers, node.values) == ([StartAnswer()], [None])


def test_a_start_waits_for_the_settings_of_an_agent_that_has_just_begun(bench, words):
    node = AuditNode(bench, words)
    node.allocations(2)
    starting = StartingContainer(ContainerCgroup(node.pods["db"], "c", "0" * 24), "default")

    async def late() -> StartAnswer:
        answer = asyncio.create_task(node.hook.start(starting, 5.0))
        await asyncio.sleep(0.01)
        assert not answer.done()
        node.topology(Listed((topology(Mode.ENFORCE),)))
        return await answer

    answer = asyncio.run(late())
    assert answer.values is not None
    assert answer.values.cpus == words.cpus("1,9")


@pytest.mark.parametrize("event", [Listed(()), Listed((UNREADABLE,))])
def test_without_settings_a_container_starts_without_values_and_soon(bench, words, event):
    node = AuditNode(bench, words)
    node.allocations(2)
    node.topology(event)
    node.start("db")
    assert not node.wrote()
