"""What is submitted after passes that find the same, and after those that do not."""

import asyncio
import datetime as dt
from typing import Any

import pytest
from podnuma.agent.discover.machine import Discovered
from podnuma.agent.model.containers import RuntimeDescription
from podnuma.agent.status import allocation_status
from podnuma.agent.status.metrics import AdmissionCounts
from podnuma.agent.status.node_status import AgentIdentity, NodeStatus
from podnuma.agent.status.reporter import StatusReporter

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Desk:
    """A reporter over a bench with two pods, and all that it submits: path and body."""

    def __init__(self, bench, monkeypatch) -> None:
        self.bench = bench
        self.submitted: list[tuple[str, dict[str, Any]]] = []
        self.computed = 0
        self.now = NOW
        compute = allocation_status.compute_status

        def counted(*asked):
            self.computed += 1
            return compute(*asked)

        monkeypatch.setattr(allocation_status, "compute_status", counted)
        self.restart()

    def restart(self) -> None:
        desired = self.bench.desired
        writer: Any = self
        self.node = NodeStatus(
            AgentIdentity("node", "0.1", "boot"), desired, writer, clock=lambda: self.now, heartbeat=60
        )
        self.node.discovered(Discovered(self.bench.machine, ()))
        self.node.backend("systemd", lambda: RuntimeDescription("Fake", "fake 1"))
        self.reporter = StatusReporter(desired, writer, self.node, AdmissionCounts(), lambda: self.now)

    def submit(self, path, body, **_: object) -> None:
        self.submitted.append((path, body))

    def forget(self, keep) -> None:
        pass

    def report(self) -> dict[str, Any]:
        """Run a pass, report, and return what was submitted, by the name of the object."""
        self.submitted.clear()
        self.computed = 0
        snapshot = self.bench.run_pass()
        asyncio.run(self.reporter.report(snapshot, self.bench.reconciler.verdicts))
        return {path.split("/")[-2]: body["status"] for path, body in self.submitted}


@pytest.fixture
def desk(bench, words, monkeypatch):
    for name, cpus in (("db", "1,9"), ("web", "2,10")):
        bench.grant(words.pod(name, words.container("c", cpus), cpus=cpus))
        bench.start(bench.pod(name), "c")
    desk = Desk(bench, monkeypatch)
    for _ in range(3):
        desk.report()
    return desk


def test_what_stays_the_same_is_submitted_and_not_worked_out(desk):
    first = desk.report()
    assert first.keys() == {"db", "web", "node"}
    for _ in range(2):
        assert desk.report() == first
        assert desk.computed == 0


def test_everything_that_a_status_follows_from_lets_it_be_worked_out(desk, bench, words):
    db = next(cgroup for cgroup in bench.reconciler.snapshot.containers if cgroup.pod.uid == "db")

    def changed() -> Any:
        found = desk.report()
        assert desk.computed
        return found["db"]

    def refuse(write) -> None:
        raise words.refused(write.cgroup, "cpuset.cpus", "no")

    bench.ways.refuse = refuse
    bench.put(db, "cpuset.cpus", "0-3")
    assert changed()["phase"] == "Drifted"
    bench.ways.refuse = lambda _: None
    assert changed()["phase"] == "Applied"
    for _ in range(2):
        desk.report()
    bench.grant(words.pod("db", words.container("c", "1,9"), cpus="1,9"), generation=2)
    assert changed()["observedGeneration"] == 2
    for _ in range(2):
        desk.report()
    bench.stop(db)
    again = bench.start(db.pod, "c", number=2)
    assert changed()["containers"][0]["containerID"] == again.id
    bench.pause_reason = "another one"
    assert "another one" in str(changed()["conditions"])


def test_after_a_restart_everything_is_told_again(desk):
    before = desk.report()
    desk.restart()
    after = desk.report()
    assert desk.computed == 2
    assert {name: status["phase"] for name, status in after.items() if name != "node"} == {
        name: status["phase"] for name, status in before.items() if name != "node"
    }


def test_the_heartbeat_of_a_node_goes_on_where_nothing_changes(desk):
    first = desk.report()["node"]
    assert desk.report()["node"] is first
    desk.now += dt.timedelta(seconds=61)
    later = desk.report()["node"]
    assert later["agent"]["heartbeatTime"] > first["agent"]["heartbeatTime"]
    assert {**later, "agent": None} == {**first, "agent": None}
