"""Pods whose processes are not in the cgroups of their containers: Kata's virtual machine, gVisor's kernel.

Where they are instead: google/gvisor#9580, google/gvisor#13777, kata-containers/kata-containers#11598.
"""

import asyncio
import dataclasses

import pytest
from podnuma.agent.model.cgroup_ref import ContainerCgroup
from podnuma.agent.status.allocation_status import compute_status
from podnuma.api.pod_allocation_status import Phase, PodAllocationStatus, Verdict


@pytest.fixture
def sandboxed(bench, words):
    """Return a function that starts containers of a pod all of whose processes are in its sandbox."""

    def start(*grants, cpus, own_cgroups=True):
        bench.grant(words.pod("vm", *grants, cpus=cpus))
        pod = bench.pod("vm")
        bench.put(pod, "cgroup.events", "populated 1\nfrozen 0")
        cgroups = [bench.start(pod, grant.name) for grant in grants]
        for cgroup in cgroups:
            if own_cgroups:
                bench.put(cgroup, "cgroup.events", "populated 0\nfrozen 0")
            else:
                bench.kernel.remove(bench.layout.folder(cgroup))
        return pod, cgroups

    return start


def status(bench, snapshot):
    (desired,) = bench.desired.allocations()
    return compute_status(desired, PodAllocationStatus(), snapshot, bench.reconciler.verdicts)


def pass_later(bench, seconds=3.0):
    bench.now += seconds
    return bench.run_pass()


@pytest.mark.parametrize("own_cgroups", [True, False])
def test_a_sandboxed_pod_is_kept_on_its_own_cpus_by_its_own_cgroup(bench, words, sandboxed, own_cgroups):
    pod, (vm,) = sandboxed(words.container("vm", "1,9"), cpus="1,9", own_cgroups=own_cgroups)
    early = status(bench, bench.run_pass())
    assert early.phase is Phase.PENDING, "nothing of it is known to run on its CPUs"
    snapshot = pass_later(bench)
    assert bench.effective(pod) == "1,9"
    assert bench.effective(words.burstable) == "0,2-8,10-15"
    said = status(bench, snapshot)
    assert (said.phase, said.containers[0].verdict) == (Phase.APPLIED, Verdict.PINNED_LATE)
    assert pass_later(bench).results == ()
    again = ContainerCgroup(pod, "vm", vm.id.replace("1", "2"))
    bench.stop(vm)
    assert pass_later(bench).results == (), "between two containers it stays where it is"
    bench.start(pod, "vm", number=2)
    bench.put(again, "cgroup.events", "populated 0")
    assert pass_later(bench).results == () or bench.effective(pod) == "1,9"


def test_the_slices_of_a_sandboxed_pod_are_not_said_to_be_applied(bench, words, sandboxed):
    grants = (words.container("db", "1,9"), words.container("log", "2,10"))
    pod, (db, _) = sandboxed(*grants, cpus="1-2,9-10")
    bench.run_pass()
    snapshot = pass_later(bench)
    assert bench.effective(pod) == "1-2,9-10", "nobody of it is on the CPUs of others"
    assert (
        snapshot.differences[db] == "its runtime runs it in the sandbox of the pod, on 1-2,9-10; wanted 1,9"
    )
    said = status(bench, snapshot)
    assert said.phase is Phase.PENDING
    assert "in the sandbox of the pod" in said.containers[0].message


def test_a_container_of_the_node_pool_keeps_the_pool_open_to_its_sandbox(bench, words, sandboxed):
    pod, _ = sandboxed(words.container("db", "1,9"), words.container("log"), cpus="1,9")
    bench.run_pass()
    pass_later(bench)
    assert bench.effective(pod) == "0-15"


def test_a_container_that_has_just_ended_makes_no_sandbox(bench, words, sandboxed):
    pod, (db,) = sandboxed(words.container("db", "1,9"), cpus="1,9")
    bench.put(db, "cgroup.events", "populated 1")
    bench.run_pass()
    bench.put(db, "cgroup.events", "populated 0")
    for _ in range(3):
        pass_later(bench)
    assert bench.effective(pod) == "0-15"
    assert bench.reconciler.verdicts.of(db.id).verdict is Verdict.PINNED_LATE


def test_a_container_without_processes_is_not_said_to_be_pinned_at_its_start(bench, words, sandboxed):
    _, (vm,) = sandboxed(words.container("vm", "1,9"), cpus="1,9")
    bench.run_pass()
    asyncio.run(bench.hook.before_start(vm))
    assert bench.reconciler.verdicts.of(vm.id).verdict is Verdict.PENDING


def test_containers_outside_of_their_pods_cgroup_are_named(bench, words, sandboxed):
    """kubernetes/kubernetes#36807: runtime and kubelet with different cgroup drivers."""
    pod, _ = sandboxed(words.container("db", "1,9"), cpus="1,9", own_cgroups=False)
    bench.put(pod, "cgroup.events", "populated 0")
    bench.run_pass()
    said = status(bench, pass_later(bench))
    assert said.phase is Phase.PENDING
    assert said.conditions[0].message == (
        "db: the runtime lists it, but it has no cgroup below that of its pod;"
        " do kubelet and runtime have the same cgroup driver?"
        " Kata has its processes elsewhere unless sandbox_cgroup_only is true"
    )


def test_a_container_that_ended_before_it_was_seen_to_run_makes_no_sandbox(bench, words):
    """An init container, or one that crashes at once, which the runtime's events have named meanwhile."""
    bench.grant(
        words.pod("db", words.container("init", "1,9"), words.container("db", "2,10"), cpus="1-2,9-10")
    )
    pod = bench.pod("db")
    bench.put(pod, "cgroup.events", "populated 1")
    init = bench.start(pod, "init")
    bench.kernel.remove(bench.layout.folder(init))
    bench.running[init.id] = dataclasses.replace(bench.running[init.id], ended=True)
    bench.run_pass()
    said = status(bench, pass_later(bench))
    assert bench.effective(pod) == "0-15", "as of any pod"
    assert said.conditions[0].message == "waits for the start of init, db"
    assert (said.containers[0].verdict, said.containers[0].message) == (Verdict.UNKNOWN, "")


def test_a_container_of_whose_end_nobody_tells_makes_no_sandbox(bench, words):
    """cri-o/cri-o#7059: to NRI it is there until it is removed. This one ends before a pass sees it."""
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    pod = bench.pod("db")
    bench.put(pod, "cgroup.events", "populated 1")
    bench.run_pass()
    db = bench.start(pod, "db")
    bench.put(db, "cgroup.events", "populated 1")
    asyncio.run(bench.hook.before_start(db))
    bench.kernel.remove(bench.layout.folder(db))
    bench.run_pass()
    assert pass_later(bench).containers[db].ended
    assert bench.effective(pod) == "0-15", "as of any pod"


def test_a_debug_container_in_a_sandbox_runs_where_its_pod_does_and_disturbs_nobody(bench, words, sandboxed):
    pod, (vm,) = sandboxed(words.container("vm", "1,9"), cpus="1,9")
    bench.run_pass()
    pass_later(bench)
    debugger = bench.start(pod, "debugger")
    bench.put(debugger, "cgroup.events", "populated 0")
    snapshot = pass_later(bench)
    assert (bench.effective(pod), bench.effective(vm), bench.effective(debugger)) == ("1,9", "1,9", "1,9")
    assert snapshot.intrusions == ()
    assert status(bench, snapshot).phase is Phase.APPLIED
    assert pass_later(bench).results == ()


def test_a_sandbox_without_an_online_cpu_is_on_the_cpus_of_nobody_else(bench, words, sandboxed, switch):
    pod, _ = sandboxed(words.container("vm", "1,9"), cpus="1,9")
    bench.grant(words.pod("db", words.container("db", "2,10"), cpus="2,10"))
    bench.start(bench.pod("db"), "db")
    bench.run_pass()
    pass_later(bench)
    switch("0,2-8,10-15")
    snapshot = pass_later(bench)
    assert bench.effective(pod) == "0,3-8,11-15"
    assert snapshot.intrusions == ()
    assert snapshot.differences[pod] == "cpuset.cpus: all of 1,9 are offline, or kubepods lacks them"
    switch("0-15")
    pass_later(bench)
    assert bench.effective(pod) == "1,9"
