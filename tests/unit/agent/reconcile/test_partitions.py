"""A container that its runtime makes a cpuset partition, as CRI-O does for one without load balancing.

Its CPUs are in the effective ones of no cgroup above it then: cri-o/cri-o#7485, cri-o/cri-o#7373.
"""

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pytest
from podnuma.agent.runtimes.simulated.kernel import FakeKernel
from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet
from podnuma.api.pod_allocation_status import Verdict


@dataclass(frozen=True)
class KernelWithPartition(FakeKernel):
    """One partition, with CPUs that every cgroup above it claims."""

    partition: Path = Path()
    own: CpuSet = cpuset.EMPTY

    def settle(self, folder):
        super().settle(folder)
        for path in self.root.rglob("cpuset.cpus.effective"):
            inside = self.partition in (path.parent, *path.parent.parents)
            has = cpuset.parse(path.read_text().strip())
            path.write_text(cpuset.render(self.own if inside else CpuSet(has & ~self.own) or has))


@pytest.fixture
def isolate(bench):
    """Return a function that makes a folder in the tree a partition with these CPUs."""

    def make(folder, cpus):
        kernel = bench.kernel
        for above in (*folder.parents, folder):
            text = cpus if above.parts else ""
            (bench.root / above / "cpuset.cpus.exclusive.effective").write_text(text)
        bench.kernel = KernelWithPartition(
            bench.root, kernel.cpus, kernel.nodes, bench.root / folder, cpuset.parse(cpus)
        )
        bench.kernel.settle(PurePosixPath())
        outside = cpuset.parse("0-15") & ~bench.reader.kubepods().cpus
        bench.machine = replace(bench.machine, topology=bench.machine.topology.outside_kubepods(outside, 0))

    return make


@pytest.mark.parametrize("group", ["", "container"])
def test_a_container_that_is_a_partition_keeps_its_cpus(bench, words, isolate, group):
    """`group`: the one in which crun has the processes."""
    bench.grant(words.pod("db", words.container("db", "1,9"), words.container("log"), cpus="1,9"))
    pod = bench.pod("db")
    db, log = bench.start(pod, "db"), bench.start(pod, "log")
    bench.run_pass()
    bench.kernel.make(bench.layout.folder(db) / group)
    isolate(bench.layout.folder(db) / group, "1,9")
    bench.put(pod, "cpuset.cpus", "0-15")  # CRI-O does that, too
    snapshot = bench.run_pass()
    assert bench.machine.topology.outside == cpuset.EMPTY, "kubepods has them, below it"
    assert set(snapshot.differences.values()) == {None}
    assert snapshot.results == ()
    assert (bench.cpus(db), bench.effective(log)) == ("1,9", "0,2-8,10-15")
    assert bench.reconciler.verdicts.of(db.id).verdict is Verdict.PINNED_LATE
    assert snapshot.seen[pod].effective_cpus == cpuset.parse("0-15")


def test_what_a_partition_elsewhere_takes_away_is_gone(bench, isolate):
    bench.kernel.make(PurePosixPath("ovs.slice"))
    isolate(PurePosixPath("ovs.slice"), "7,15")
    assert bench.machine.topology.outside == cpuset.parse("7,15")


def test_a_claim_without_a_partition_is_no_cpu(bench):
    """What is claimed in a pod's cgroup and is in force in none below it."""
    pod = bench.pod("db")
    bench.start(pod, "db")
    bench.put(pod, "cpuset.cpus", "1-2,9")
    bench.put(pod, "cpuset.cpus.exclusive.effective", "9")
    bench.kernel = type(bench.kernel)(bench.root, "0-8,10-15", "0-1")
    bench.kernel.settle(PurePosixPath())
    assert bench.reader.read([pod], [])[pod].effective_cpus == cpuset.parse("1-2")
