import dataclasses

import pytest
from podnuma.agent.reconcile.processes import Processes
from podnuma.allocator import cpuset
from podnuma.allocator.request import Qos


@pytest.fixture
def run(bench):
    """Start a container in a pod, and tell its runtime's word for its main process."""
    alive = {77, 78}
    bench.reconciler.processes = Processes(lambda pid: cpuset.parse("0-15") if pid in alive else None)

    def run(pod, name, pid):
        cgroup = bench.start(pod, name)
        bench.running[cgroup.id] = dataclasses.replace(bench.running[cgroup.id], pid=pid)
        return cgroup

    return run


def names(snapshot):
    return [found.name for found in snapshot.elsewhere]


def test_a_container_outside_of_its_pods_cgroup_is_told_where_somebody_holds_cpus(bench, words, run):
    """containerd/containerd#11589, CVE-2025-47291: pods with user namespaces, with containerd 2.0.4."""
    web = bench.pod("web", Qos.BURSTABLE)
    bench.put(run(web, "inside", 77), "cgroup.procs", "77\n80")
    run(web, "outside", 78)
    run(web, "ended", 79)
    run(web, "untold", None)
    snapshot = bench.run_pass()
    assert names(snapshot) == ["outside"]
    assert snapshot.intruders() == "", "nobody has CPUs for itself"
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    bench.start(bench.pod("db"), "db")
    assert (
        bench.run_pass()
        .intruders()
        .startswith(
            "default/web/outside: outside of the cgroups of pods, where nothing keeps them off any CPU"
        )
    )


def test_a_process_may_be_anywhere_in_its_pod(bench, run):
    """crun, Kata and systemd in a container have groups of their own there."""
    pod = bench.pod("db")
    inner = bench.root / bench.layout.folder(run(pod, "db", 77)) / "init.scope"
    inner.mkdir()
    (inner / "cgroup.procs").write_text("5\n77\n")
    assert names(bench.run_pass()) == []
    (inner / "cgroup.procs").write_text("")
    assert names(bench.run_pass()) == [], "it was found once, and runtimes move no process"
