"""Passes over a fake node, with cgroup v2 rules, from decisions to files."""

import asyncio
import errno
from dataclasses import replace

import pytest
from podnuma.agent.apiserver.watch import Changed, WatchEventType
from podnuma.agent.cgroups.writers.refusals import CgroupGone
from podnuma.agent.model.cgroup_ref import ContainerCgroup
from podnuma.agent.model.containers import StartRefused
from podnuma.agent.reconcile.apply import WriteOutcome
from podnuma.agent.reconcile.kubelet_resize import RESIZE
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.request import Qos
from podnuma.api.node_settings import Mode
from podnuma.api.pod_allocation import Decision, render_pod_allocation
from podnuma.api.pod_allocation_status import Verdict


@pytest.fixture
def database(bench, words):
    """A running pod of four CPUs: db has 1,9, two sidecars share 2,10."""
    grant = words.pod(
        "db",
        words.container("db", "1,9", mems="0"),
        words.container("log", "2,10", 400_000, mems="0"),
        words.container("mesh", "2,10", 400_000, mems="0"),
        cpus="1-2,9-10",
        quota=400_000,
    )
    bench.grant(grant)
    pod = bench.pod("db")
    cgroups = {name: bench.start(pod, name, "200000 100000") for name in ("db", "log", "mesh")}
    return grant, pod, cgroups


def test_every_container_of_a_pod_gets_its_own_slice_and_everybody_else_the_rest(bench, words, database):
    _, pod, cgroups = database
    other = bench.pod("other")
    bench.run_pass()
    assert [bench.effective(cgroups[name]) for name in ("db", "log", "mesh")] == ["1,9", "2,10", "2,10"]
    assert bench.file(cgroups["db"], "cpu.max") == "max 100000"
    assert bench.file(cgroups["log"], "cpu.max") == "400000 100000"
    assert bench.file(pod, "cpu.max") == "400000 100000"
    assert bench.file(cgroups["db"], "cpuset.mems") == "0"
    assert bench.effective(words.burstable) == bench.effective(words.best_effort) == "0,3-8,11-15"
    assert bench.effective(other) == "0,3-8,11-15", "a Guaranteed pod that holds nothing"
    assert bench.effective(pod) == "0-15", "its own CPUs and the shared pool"


@pytest.mark.usefixtures("database")
def test_a_second_pass_writes_nothing(bench):
    bench.run_pass()
    before = len(bench.ways.written)
    assert before > 0
    for _ in range(3):
        snapshot = bench.run_pass()
        assert snapshot.results == ()
    assert len(bench.ways.written) == before


def test_a_node_without_exclusive_cpus_is_left_as_it_was(bench, words):
    pod = bench.pod("plain")
    bench.start(pod, "app")
    bench.run_pass()
    assert bench.ways.written == []
    assert bench.cpus(words.burstable) == bench.cpus(pod) == ""


def test_a_released_pod_gives_back_and_the_set_is_written_explicitly(bench, words, database):
    grant, _, cgroups = database
    bench.run_pass()
    bench.release(grant)
    bench.run_pass()
    assert bench.cpus(cgroups["db"]) == "0-15"
    assert bench.cpus(words.burstable) == "0-15"
    assert not any(write.cpus == cpuset.EMPTY for write in bench.ways.written)


def test_an_ephemeral_container_of_a_managed_pod_runs_in_the_node_shared_pool(bench, database):
    _, pod, _ = database
    debug = bench.start(pod, "debugger")
    bench.run_pass()
    assert bench.effective(debug) == "0,3-8,11-15"


@pytest.mark.usefixtures("words", "database")
def test_the_agents_own_container_is_confined_like_any_shared_one(bench):
    agent = bench.start(bench.pod("agent", Qos.BURSTABLE), "agent")
    bench.run_pass()
    bench.kernel.settle(bench.layout.kubepods)
    assert bench.effective(agent) == "0,3-8,11-15"


def test_quota_is_part_of_the_drift_check(bench, database):
    _, _, cgroups = database
    bench.run_pass()
    bench.put(cgroups["log"], "cpu.max", "max 100000")
    bench.put(cgroups["db"], "cpu.max", "400000 100000")
    bench.run_pass()
    assert bench.file(cgroups["log"], "cpu.max") == "400000 100000"
    assert bench.file(cgroups["db"], "cpu.max") == "max 100000"
    assert bench.observer.repairs == [], "a kubelet may be resizing the pod"
    bench.now += RESIZE
    bench.run_pass()
    bench.run_pass()
    assert sorted(bench.observer.repairs, key=str) == sorted([cgroups["log"], cgroups["db"]], key=str)


def test_a_pod_cgroup_that_clips_its_container_is_set_again(bench, database):
    _, pod, cgroups = database
    bench.run_pass()
    bench.put(pod, "cpuset.cpus", "1,9")
    bench.run_pass()
    assert bench.effective(cgroups["log"]) == "2,10"
    assert bench.cpus(pod) == "0-15"
    assert bench.observer.repairs == [pod]


def test_the_first_pod_of_a_node_is_no_drift(bench, words, caplog):
    bench.run_pass()
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    bench.start(bench.pod("db"), "db")
    bench.run_pass()
    assert bench.effective(words.burstable) == "0,2-8,10-15"
    assert bench.observer.repairs == []
    assert not caplog.records


def test_a_new_instance_gets_the_same_cpus_and_the_old_one_is_not_written_to(bench, words, database):
    _, pod, cgroups = database
    bench.run_pass()
    bench.stop(cgroups["db"])
    again = bench.start(pod, "db", "200000 100000", number=2)
    bench.run_pass()
    assert bench.effective(again) == "1,9"
    assert bench.effective(words.burstable) == "0,3-8,11-15", "an exit gives nothing back"
    assert cgroups["db"] not in {write.cgroup for write in bench.ways.written[-1:]}


def test_an_id_that_the_runtime_no_longer_lists_is_not_written_to(bench, words):
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    pod = bench.pod("db")
    old = bench.start(pod, "db", number=1)
    del bench.running[old.id]  # exited, its cgroup lingers
    new = bench.start(pod, "db", number=2)
    bench.run_pass()
    assert bench.cpus(old) == ""
    assert bench.cpus(new) == "1,9"


def test_two_refusals_are_one_warning_and_no_failure(bench, words, database, caplog):
    _, _, cgroups = database
    refusals = iter([errno.ENOSPC, errno.ENOSPC])

    def refuse(write):
        if write.cgroup == cgroups["db"] and (number := next(refusals, None)) is not None:
            raise words.refused("cpuset.cpus", "1,9", errno.errorcode[number])

    bench.ways.refuse = refuse
    tries = 0
    while bench.run_pass().unfinished:
        tries += 1
    assert tries == 2
    assert bench.effective(cgroups["db"]) == "1,9"
    assert sum("ENOSPC" in record.message for record in caplog.records) == 1


def test_exclusive_cpus_wait_for_whoever_cannot_be_taken_off(bench, words, database):
    _, _, cgroups = database

    def refuse(write):
        if write.cgroup == words.burstable:
            raise words.refused("burstable", "0,3-8,11-15", "EBUSY")

    bench.ways.refuse = refuse
    snapshot = bench.run_pass()
    assert snapshot.unfinished
    assert bench.effective(words.burstable) == "0-15"
    bench.ways.refuse = lambda _: None
    assert not bench.run_pass().unfinished
    assert bench.effective(cgroups["db"]) == "1,9"


def test_a_container_that_ends_before_its_write_is_no_failure(bench, database, caplog):
    _, _, cgroups = database
    original = bench.ways.refuse

    def vanish(write):
        if write.cgroup == cgroups["mesh"]:
            bench.kernel.remove(bench.layout.folder(cgroups["mesh"]))
        original(write)

    bench.ways.refuse = vanish
    snapshot = bench.run_pass()
    assert not snapshot.unfinished
    assert WriteOutcome.GONE in {result.outcome for result in snapshot.results}
    assert not caplog.records


def test_an_offline_cpu_leaves_the_effective_set_and_comes_back_without_a_write(bench, words, database):
    _, _, cgroups = database
    bench.run_pass()
    bench.machine = words.machine("0-8,10-15", offline="9")
    bench.kernel = type(bench.kernel)(bench.root, "0-8,10-15", "0-1")
    bench.kernel.settle(bench.layout.kubepods.parent)
    snapshot = bench.run_pass()
    assert bench.effective(cgroups["db"]) == "1"
    assert snapshot.differences[cgroups["db"]] is None, "all that is online of 1,9"
    bench.machine = words.machine()
    bench.kernel = type(bench.kernel)(bench.root, "0-15", "0-1")
    bench.kernel.settle(bench.layout.kubepods.parent)
    bench.run_pass()
    assert bench.effective(cgroups["db"]) == "1,9"
    assert bench.effective(words.burstable) == "0,3-8,11-15"


def test_a_cpu_that_is_unplugged_leaves_a_container_the_others(bench, words, database):
    _, _, cgroups = database
    bench.run_pass()
    bench.machine = replace(words.machine("0-8,10-15"), possible_cpus=cpuset.parse("0-31"))
    bench.kernel = type(bench.kernel)(bench.root, "0-8,10-15", "0-1")
    bench.kernel.settle(bench.layout.kubepods.parent)
    snapshot = bench.run_pass()
    assert snapshot.accepted.refused == {}
    assert bench.effective(cgroups["db"]) == "1"
    assert bench.effective(words.burstable) == "0,3-8,11-15", "nobody else is on what is left to it"


def test_a_container_without_an_online_cpu_shares_and_is_on_the_cpus_of_nobody(bench, words, switch):
    db, log = words.container("db", "1,9"), words.container("log", "2,10")
    bench.grant(words.pod("db", db, log, cpus="1-2,9-10"))
    pod = bench.pod("db")
    lost, beside = bench.start(pod, "db"), bench.start(pod, "log")
    bench.run_pass()
    switch("0,2-8,10-15")
    for number in range(6):
        # Others come and go meanwhile: nobody changes what this one has.
        bench.grant(words.pod(f"p{number}", words.container("c", f"{number + 3}"), cpus=f"{number + 3}"))
        bench.start(bench.pod(f"p{number}"), "c")
        bench.now += 20
        snapshot = bench.run_pass()
        assert not cpuset.parse(bench.effective(lost)) & ~snapshot.accepted.pool
        assert bench.effective(beside) == "2,10"
        assert snapshot.intrusions == ()
        assert snapshot.contended == {}
        assert snapshot.differences[lost] == "cpuset.cpus: all of 1,9 are offline, or kubepods lacks them"
    assert bench.run_pass().results == ()
    switch("0-15")
    assert bench.run_pass().differences[lost] is None
    assert (bench.effective(lost), bench.effective(beside)) == ("1,9", "2,10")


def test_what_kubepods_loses_is_no_drift_and_comes_back_without_a_write(bench, words, database):
    """A cpuset partition elsewhere takes CPU 9 of the pod and CPU 15 of the shared pool away, then ends."""
    _, _, cgroups = database
    bench.run_pass()
    whole = bench.machine
    for allowed, db, shared in (("0-8,10-14", "1", "0,3-8,11-14"), ("0-15", "1,9", "0,3-8,11-15")):
        (bench.root / bench.layout.kubepods / "cpuset.cpus").write_text(allowed)
        bench.kernel.settle(bench.layout.kubepods)
        outside = cpuset.parse("0-15") & ~bench.reader.kubepods().cpus
        bench.machine = replace(whole, topology=whole.topology.outside_kubepods(outside, 0))
        snapshot = bench.run_pass()
        assert set(snapshot.differences.values()) == {None}
        assert bench.effective(cgroups["db"]) == db
        assert bench.effective(words.burstable) == shared

        assert bench.reader.kubepods().cpus == cpuset.parse(allowed), "nothing written here narrows it"


def test_a_pod_on_a_numa_node_without_memory_is_applied(bench, words):
    """A grant names all NUMA nodes that the pod is on, as the kubelet does; the kernel drops this one."""
    topology = bench.machine.topology
    first, second = topology.nodes
    topology = replace(topology, nodes=(first, replace(second, memory=0)))
    bench.machine = replace(bench.machine, topology=topology)
    bench.kernel = replace(bench.kernel, nodes="0")
    bench.kernel.settle(bench.layout.kubepods.parent)
    bench.grant(words.pod("db", words.container("db", "1,4", mems="0-1"), cpus="1,4"))
    db = bench.start(bench.pod("db"), "db")
    snapshot = bench.run_pass()
    assert (bench.file(db, "cpuset.mems"), bench.file(db, "cpuset.mems.effective")) == ("0-1", "0")
    assert snapshot.differences[db] is None
    assert bench.reconciler.verdicts.of(db.id).verdict is Verdict.PINNED_LATE


@pytest.mark.parametrize(("decided", "left"), [("5", ""), ("1,5", "1")])
def test_memory_nodes_that_the_machine_has_no_more_keep_no_pod_off_its_cpus(bench, words, decided, left):
    """Another setting of the firmware made one NUMA node of several: the kernel refuses the others."""

    def refuse(write) -> None:
        if write.mems is not None and write.mems & ~bench.machine.known_nodes:
            raise words.refused("cpuset.mems", decided, "EINVAL")

    bench.ways.refuse = refuse
    bench.grant(words.pod("db", words.container("db", "1,4", mems=decided), cpus="1,4"))
    db = bench.start(bench.pod("db"), "db")
    snapshot = bench.run_pass()
    assert (bench.cpus(db), bench.file(db, "cpuset.mems")) == ("1,4", left)
    assert snapshot.differences[db] == (
        "cpuset.mems: this machine has no NUMA node 5 any more; delete the pod, to have it decided anew"
    )
    assert bench.run_pass().results == ()
    starts_with = bench.hook.values(db)
    assert starts_with is not None
    assert starts_with.mems == (nodeset.parse(left) or None)


def test_memory_nodes_that_are_offline_stay_written(bench, words):
    bench.machine = replace(bench.machine, possible_nodes=nodeset.parse("0-7"))
    bench.grant(words.pod("db", words.container("db", "1,4", mems="1,5"), cpus="1,4"))
    db = bench.start(bench.pod("db"), "db")
    bench.run_pass()
    assert bench.file(db, "cpuset.mems") == "1,5"


def test_new_cpus_join_the_shared_pool_and_pods_keep_theirs(bench, words):
    bench.machine = words.machine("0-7")
    bench.kernel = type(bench.kernel)(bench.root, "0-7", "0-1")
    bench.kernel.settle(bench.layout.kubepods.parent)
    bench.grant(words.pod("u1", words.container("app", "2-3"), cpus="2-3"))
    app = bench.start(bench.pod("u1"), "app")
    bench.run_pass()
    assert bench.effective(words.burstable) == "0-1,4-7"
    bench.machine = words.machine()
    bench.kernel = type(bench.kernel)(bench.root, "0-15", "0-1")
    bench.kernel.settle(bench.layout.kubepods.parent)
    bench.run_pass()
    assert bench.effective(words.burstable) == "0-1,4-15"
    assert bench.effective(app) == "2-3"


def test_memory_nodes_of_a_big_running_container_are_not_narrowed(bench, words):
    bench.grant(words.pod("db", words.container("db", "1,9", mems="0"), cpus="1,9"))
    db = bench.start(bench.pod("db"), "db")
    bench.put(db, "memory.current", str(20 * 2**30))
    snapshot = bench.run_pass()
    assert bench.file(db, "cpuset.mems") == ""
    assert snapshot.targets[db].deferred_mems == 1
    assert snapshot.differences[db] is None


@pytest.mark.usefixtures("database")
def test_strictly_reserved_cpus_are_not_in_the_shared_pool(bench, words):
    bench.settings("0,8", cpu_manager_policy_options={"strict-cpu-reservation": "true"})
    bench.run_pass()
    assert bench.effective(words.burstable) == "3-7,11-15"


@pytest.mark.usefixtures("words", "database")
def test_in_audit_mode_nothing_is_written(bench):
    bench.settings(mode=Mode.AUDIT)
    snapshot = bench.run_pass()
    assert bench.ways.written == []
    assert snapshot.mode is Mode.AUDIT
    assert not bench.reconciler.snapshot.enforcing


def test_pausing_leaves_what_is_applied(bench, words, database):
    _, _, cgroups = database
    bench.run_pass()
    bench.pause_reason = "the kubelet pins"
    bench.put(cgroups["db"], "cpuset.cpus", "0-15")
    bench.run_pass()
    assert bench.cpus(cgroups["db"]) == "0-15"
    assert bench.cpus(words.burstable) == "0,3-8,11-15"


@pytest.mark.usefixtures("database")
def test_nothing_is_written_before_the_api_server_has_spoken(bench, words):
    bench.run_pass()
    bench.desired.allocations_known = False
    bench.put(words.burstable, "cpuset.cpus", "0-15")
    before = len(bench.ways.written)
    bench.run_pass()
    assert len(bench.ways.written) == before


def test_a_grant_outside_the_settings_of_today_is_kept(bench, words, database):
    _, _, cgroups = database
    bench.settings("1,9")
    bench.run_pass()
    assert bench.effective(cgroups["db"]) == "1,9"
    assert not set(cpuset.ids(cpuset.parse(bench.effective(words.burstable)))) & {1, 2, 9, 10}


def test_a_static_pod_has_whatever_uid_its_manifest_says(bench, words):
    """rancher/rke2#8199: a UID in a manifest is taken as it is; systemd writes "-" and "_" alike."""
    bench.grant(words.pod("my_db-1", words.container("db", "1,9"), cpus="1,9"))
    db = bench.start(bench.pod("my_db-1"), "db")
    bench.run_pass()
    assert bench.effective(db) == "1,9"
    assert bench.reconciler.verdicts.of(db.id).verdict is Verdict.PINNED_LATE


def test_nobody_moves_the_pod_of_another_by_claiming_its_uid_as_a_static_pod(bench, words, database):
    """The annotations of a mirror pod can be written by whoever may create pods."""
    grant, pod, cgroups = database
    static = bench.start(bench.pod("file"), "kube")
    for victim, name in ((pod.uid, "aaa"), (static.pod.uid, "mine")):
        forged = words.pod(f"api-{name}", words.container("db", "4-5"), cpus="4-5")
        item = render_pod_allocation(replace(forged, name=name), "node", Decision(admitted=True), victim)
        item["metadata"] |= {"uid": f"pa-{name}", "generation": 1}
        bench.desired.take_allocations(Changed(WatchEventType.ADDED, item))
        assert len(bench.desired.allocations()) > 1
    snapshot = bench.run_pass()
    assert [bench.effective(cgroups[name]) for name in ("db", "log")] == ["1,9", "2,10"]
    assert bench.effective(static) == "0,3-8,11-15"
    assert set(snapshot.accepted.grants) == {grant.uid}
    assert bench.desired.of_pod(pod.uid).allocation.pod_uid == pod.uid


def test_the_static_pod_itself_is_moved(bench, words):
    kube = bench.start(bench.pod("file"), "kube")
    mirror = words.pod("api-uid", words.container("kube", "4-5"), cpus="4-5")
    item = render_pod_allocation(replace(mirror, name="file"), "node", Decision(admitted=True), "file")
    item["metadata"] |= {"uid": "pa", "generation": 1}
    bench.desired.take_allocations(Changed(WatchEventType.ADDED, item))
    bench.run_pass()
    assert bench.effective(kube) == "4-5"


def test_a_container_without_a_cgroup_of_its_own_is_nothing_to_pin(bench, words):
    bench.grant(words.pod("kata", words.container("vm", "1,9"), cpus="1,9"))
    vm = bench.start(bench.pod("kata"), "vm")
    bench.kernel.remove(bench.layout.folder(vm))
    snapshot = bench.run_pass()
    assert vm not in snapshot.differences
    assert not snapshot.unfinished


def test_verdicts_tell_when_a_container_was_pinned(bench, database):
    _, pod, cgroups = database
    bench.now += 0.25
    bench.run_pass()
    late = bench.reconciler.verdicts.of(cgroups["db"].id)
    assert (late.verdict, late.after_millis) == (Verdict.PINNED_LATE, 250)
    bench.stop(cgroups["db"])
    again = bench.start(pod, "db", number=2)
    start = bench.hook.values(again)
    bench.put(again, "cpuset.cpus", cpuset.render(start.cpus))
    bench.put(again, "cpuset.mems", "0")
    bench.run_pass()
    assert bench.reconciler.verdicts.of(again.id).verdict is Verdict.PINNED_AT_START


def test_a_plan_is_made_anew_where_something_changed_and_only_there(bench, words, database):
    _, pod, cgroups = database
    bench.run_pass()
    settled = bench.run_pass()
    assert bench.run_pass().targets is settled.targets
    before = repr(settled)
    bench.put(cgroups["db"], "cpuset.cpus", "0-3")
    assert bench.run_pass().results
    assert bench.cpus(cgroups["db"]) == "1,9"
    bench.stop(cgroups["log"])
    other = bench.start(pod, "log", number=2)
    assert other in bench.run_pass().targets
    bench.grant(words.pod("two", words.container("two", "3"), cpus="3"))
    pool = bench.run_pass().accepted.pool
    assert bench.cpus(words.burstable) == cpuset.render(pool) == "0,4-8,11-15"
    assert repr(settled) == before


def test_a_pass_that_saw_what_the_one_before_saw_has_the_very_same_of_it(bench, words):
    bench.settings()
    bench.grant(words.pod("p", words.container("c", "1,9"), cpus="1,9"))
    bench.start(bench.pod("p"), "c")
    bench.run_pass()
    before, after = bench.run_pass(), bench.run_pass()
    assert after.seen is before.seen
    assert after.differences is before.differences


def test_after_a_restart_a_plan_is_made_of_what_is_there(bench, database):
    _, _, cgroups = database
    before = bench.run_pass()
    bench.put(cgroups["db"], "cpuset.cpus", "0-3")
    bench.reconciler = replace(bench.reconciler)
    snapshot = bench.run_pass()
    assert (snapshot.targets, snapshot.seen) == (before.targets, bench.run_pass().seen)
    assert bench.cpus(cgroups["db"]) == "1,9"


def test_a_process_that_may_run_elsewhere_is_found(bench, words):
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    db = bench.start(bench.pod("db"), "db")
    bench.put(db, "cgroup.procs", "77")
    bench.affinities[77] = cpuset.parse("0-15")
    snapshot = bench.run_pass()
    assert snapshot.differences[db] == "CPU affinity of process 77 is 0-15, wanted 1,9"
    assert bench.reconciler.verdicts.of(db.id).verdict is Verdict.NOT_PINNED


class Liar:
    """Says that it wrote, as runtimes do above a crun that takes "no quota" for a small one."""

    name = "liar"
    piggybacks = True

    def __init__(self):
        self.writes = []

    def takes(self, cgroup):
        return isinstance(cgroup, ContainerCgroup)

    async def write(self, write):
        self.writes.append(write)


def test_what_the_kernel_does_not_show_counts_as_refused_and_the_next_way_is_tried(bench, words, caplog):
    liar = Liar()
    bench.reconciler.mechanisms = (liar, bench.ways)
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    db = bench.start(bench.pod("db"), "db", "1000 100000")
    first = bench.run_pass()
    assert first.unfinished
    assert "liar reported success, but cpuset.cpus is empty, wanted 1,9" in caplog.text
    assert not bench.run_pass().unfinished
    assert (bench.cpus(db), bench.file(db, "cpu.max")) == ("1,9", "max 100000")
    assert len(liar.writes) == 1
    assert bench.reconciler.verdicts.of(db.id).verdict is Verdict.PINNED_LATE


def test_a_container_of_which_nothing_was_seen_is_not_judged(bench, words):
    bench.grant(words.pod("db", words.container("init", "1,9"), cpus="1,9"))
    cgroup = bench.start(bench.pod("db"), "init")
    bench.kernel.remove(bench.layout.folder(cgroup))
    bench.run_pass()
    bench.run_pass()
    assert bench.reconciler.verdicts.of(cgroup.id).verdict is Verdict.PENDING


@pytest.mark.usefixtures("database")
def test_an_idle_node_is_silent(bench, caplog):
    # A hundred ended init containers, and fifty that wait for their start.
    pod = bench.pod("busy")
    for number in range(100):
        bench.stop(bench.start(pod, f"init-{number}"))
    for number in range(50):
        waiting = bench.start(pod, f"wait-{number}")
        bench.kernel.remove(bench.layout.folder(waiting))
    bench.run_pass()
    written = len(bench.ways.written)
    caplog.clear()
    for _ in range(30):
        bench.run_pass()
    assert len(bench.ways.written) == written
    assert caplog.records == []


def test_a_place_that_is_written_twice_in_a_pass_is_judged_by_the_last(bench, words, caplog):
    """Each holds what is the other's: the first gives up a CPU, waits for its own, and gets it."""
    cgroups = {}
    for uid, own, drifted in (("p", "1,5", "2,5"), ("q", "2", "1")):
        bench.grant(words.pod(uid, words.container("c", own), cpus=own))
        cgroups[uid] = bench.start(bench.pod(uid), "c")
        bench.put(cgroups[uid], "cpuset.cpus", drifted)
    snapshot = bench.run_pass()
    twice = [result.write.cpus for result in snapshot.results if result.write.cgroup == cgroups["p"]]
    assert twice == [words.cpus("5"), words.cpus("1,5")], "else this test is about nothing"
    assert {result.outcome for result in snapshot.results} == {WriteOutcome.DONE}
    assert bench.effective(cgroups["p"]) == "1,5"
    assert "reported success, but" not in caplog.text


def test_who_lies_about_a_place_has_done_none_of_its_steps(bench, words):
    for uid, own, drifted in (("p", "1,5", "2,5"), ("q", "2", "1")):
        bench.grant(words.pod(uid, words.container("c", own), cpus=own))
        cgroup = bench.start(bench.pod(uid), "c")
        bench.put(cgroup, "cpuset.cpus", drifted)
    write_through = bench.ways.write

    async def lie(write) -> None:
        if not (isinstance(write.cgroup, ContainerCgroup) and write.cgroup.pod.uid == "p"):
            await write_through(write)

    bench.ways.write = lie
    of_p = [
        result
        for result in bench.run_pass().results
        if isinstance(result.write.cgroup, ContainerCgroup) and result.write.cgroup.pod.uid == "p"
    ]
    assert len(of_p) == 2
    assert {result.outcome for result in of_p} == {WriteOutcome.REFUSED}
    assert words.cpus("2") & of_p[0].write.losses, "CPU 2 is not free, and a start on it can be refused"


def test_what_a_runtime_has_forgotten_and_still_runs_is_taken_off_by_the_next_mechanism(bench, words):
    """A pod deleted by force: the newcomer on its CPUs does not start before it has left them."""

    class Forgetful(Liar):
        async def write(self, write):  # noqa: ARG002
            raise CgroupGone("container not found")

    grant = words.pod("db", words.container("db", "1,9"), cpus="1,9")
    bench.grant(grant)
    pod = bench.pod("db")
    old = bench.start(pod, "db")
    bench.run_pass()
    for cgroup in (old, pod):
        bench.put(cgroup, "cgroup.events", "populated 1\nfrozen 0")
    bench.reconciler.mechanisms = (Forgetful(), bench.ways)
    bench.release(grant)
    bench.grant(words.pod("web", words.container("web", "1,9"), cpus="1,9"))
    bench.ways.refuse = lambda write: words_refuse(words, write, pod)
    with pytest.raises(StartRefused, match="pod db could not be taken off"):
        asyncio.run(bench.hook.make_room(ContainerCgroup(bench.pod("web"), "web", "0" * 16)))
    (why,) = [each.why for each in bench.run_pass().results if each.write.cgroup == old]
    assert why == "liar does not know it, but it has processes"
    bench.ways.refuse = lambda _: None
    bench.run_pass()
    assert bench.cpus(old) == bench.cpus(pod) == "0,2-8,10-15"
    asyncio.run(bench.hook.make_room(ContainerCgroup(bench.pod("web"), "web", "0" * 16)))


def words_refuse(words, write, cgroup):
    if write.cgroup == cgroup:
        raise words.refused("pod db", "", "EBUSY")


@pytest.mark.parametrize("first", ["older", "newer"])
def test_who_runs_on_the_cpus_that_two_claim_stays_there_though_nothing_else_is_known(bench, words, first):
    claims = {uid: words.pod(uid, words.container("c", "1,9"), cpus="1,9") for uid in ("older", "newer")}
    cgroups = {uid: bench.start(bench.pod(uid), "c") for uid in claims}
    bench.put(cgroups[first], "cpuset.cpus", "1,9")
    for grant in claims.values():
        bench.grant(grant)
    snapshot = bench.run_pass()
    (other,) = claims.keys() - {first}
    assert set(snapshot.accepted.refused) == {other}
    assert bench.effective(cgroups[first]) == "1,9"
    assert not cpuset.parse(bench.effective(cgroups[other])) & cpuset.parse("1,9")


def test_what_a_pass_wrote_that_was_given_up_is_no_pin_at_the_start(bench, database):
    """A pass for a container's start ends at the runtime's deadline; what it wrote was late all the same."""
    _, _, cgroups = database
    write_through = bench.ways.write

    async def give_up():
        written = asyncio.Event()

        async def write(what):
            await write_through(what)
            if what.cgroup == cgroups["db"]:
                written.set()
                await asyncio.Event().wait()

        bench.ways.write = write
        running = asyncio.create_task(bench.reconciler.run_pass())
        await asyncio.wait_for(written.wait(), 30)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(give_up())
    bench.ways.write = write_through
    bench.run_pass()
    assert bench.reconciler.verdicts.of(cgroups["db"].id).verdict is Verdict.PINNED_LATE
