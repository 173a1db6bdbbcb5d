import asyncio
import dataclasses
import errno
import os

import pytest
from podnuma.agent.apiserver.watch import Changed, WatchEventType
from podnuma.agent.devices.waiting import ToldDevices
from podnuma.agent.model.cgroup_ref import ContainerCgroup
from podnuma.agent.status import allocation_conditions, allocation_status
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.counts import AssignmentType
from podnuma.allocator.decision import GrantedDevice
from podnuma.api.conditions import Status
from podnuma.api.device_plugins import DEVICES_KNOWN, ReportedDevice
from podnuma.api.node_settings import Mode
from podnuma.api.pod_allocation import (
    DEVICES_PENDING,
    Decision,
    PendingResize,
    ResizeReason,
    render_pod_allocation,
)
from podnuma.api.pod_allocation_status import (
    ContainerStatus,
    ObservedCgroup,
    Phase,
    PodAllocationStatus,
    Verdict,
)


@pytest.fixture
def grant(words):
    return words.pod(
        "db",
        words.container("db", "1,9"),
        words.container("log", "2,10", 400_000),
        cpus="1-2,9-10",
        quota=400_000,
    )


@pytest.fixture
def tell(bench):
    """Settle, and return the status of the only allocation after `before`."""

    def told(before=None):
        snapshot = bench.run_pass()
        (wanted,) = bench.desired.allocations()
        return allocation_status.compute_status(
            wanted, before or PodAllocationStatus(), snapshot, bench.reconciler.verdicts
        )

    return told


def ready(status):
    (condition,) = [each for each in status.conditions if each.type == "Ready"]
    return condition.status, condition.reason, condition.message


def test_pending_names_the_containers_that_did_not_start_yet(bench, grant, tell):
    bench.grant(grant)
    bench.start(bench.pod("db"), "db")
    status = tell()
    assert status.phase is Phase.PENDING
    assert ready(status) == (Status.FALSE, "Pending", "waits for the start of log")


def test_the_phase_in_audit_is_audit_until_it_is_enforced(bench, grant, tell):
    """Pending would say that something is to come, and Applied that it was written."""
    bench.settings(mode=Mode.AUDIT)
    bench.grant(grant)
    pod = bench.pod("db")
    bench.start(pod, "db")
    bench.start(pod, "log")
    status = tell()
    assert (status.phase, ready(status)[:2]) == (Phase.AUDIT, (Status.TRUE, "Audit"))
    bench.settings()
    assert tell(status).phase is Phase.APPLIED


def test_in_audit_not_even_a_pod_that_holds_nothing_is_said_to_be_applied(bench, words, tell):
    bench.settings(mode=Mode.AUDIT)
    bench.grant(words.pod("db", words.container("log", None)))
    assert tell().phase is Phase.AUDIT


@pytest.mark.parametrize("running", [False, True])
def test_after_an_uninstallation_a_pod_begins_anew(bench, grant, tell, running):
    before = PodAllocationStatus(phase=Phase.UNINSTALLED)
    bench.grant(grant)
    if running:
        pod = bench.pod("db")
        bench.start(pod, "db")
        bench.start(pod, "log")
    assert tell(before).phase is (Phase.APPLIED if running else Phase.PENDING)


def test_applied_shows_what_was_written_and_what_the_kernel_made_of_it(bench, grant, tell):
    bench.grant(grant)
    pod = bench.pod("db")
    db, log = bench.start(pod, "db"), bench.start(pod, "log")
    status = tell()
    assert status.phase is Phase.APPLIED
    assert ready(status)[0] is Status.TRUE
    assert [(each.name, each.container_id, each.written, each.effective) for each in status.containers] == [
        ("db", db.id, ObservedCgroup("1,9", "", "max 100000"), ObservedCgroup("1,9", "0-1", "max 100000")),
        (
            "log",
            log.id,
            ObservedCgroup("2,10", "", "400000 100000"),
            ObservedCgroup("2,10", "0-1", "400000 100000"),
        ),
    ]
    assert status.pod_effective == ObservedCgroup("0-15", "0-1", "400000 100000")
    assert status.assignments == {
        ("cpu", AssignmentType.POD_EXCLUSIVE): 1,
        ("cpu", AssignmentType.POD_SHARED): 1,
        ("memory", AssignmentType.NODE_SHARED): 2,
    }


PENDING = Decision(
    admitted=True,
    revision="r1",
    pending_resize=PendingResize("r2", ResizeReason.DEFERRED, "needs 2 more CPUs"),
)


def test_a_pod_whose_resize_is_not_followed_is_never_applied(bench, grant, tell):
    bench.grant(grant)
    pod = bench.pod("db")
    bench.start(pod, "db"), bench.start(pod, "log")
    applied = tell()
    bench.grant(grant, 2, PENDING)
    waiting = tell(applied)
    assert waiting.phase is Phase.RESIZE_PENDING
    assert ready(waiting) == (Status.FALSE, "ResizePending", "needs 2 more CPUs")
    (condition,) = [each for each in waiting.conditions if each.type == "ResizePending"]
    assert (condition.status, condition.reason, condition.message) == (
        Status.TRUE,
        "Deferred",
        "needs 2 more CPUs",
    )
    bench.grant(grant, 3)
    assert tell(waiting).phase is Phase.APPLIED


def test_so_is_a_pod_that_holds_nothing(bench, words, tell):
    bench.grant(words.pod("db", words.container("db", "", 150_000)), 1, PENDING)
    assert tell().phase is not Phase.APPLIED


def test_what_was_decided_during_a_pass_is_told_about_after_the_next_one(bench, words, grant):
    """The last pass found the pod as it was decided then: that says nothing about what it has now."""
    bench.grant(grant)
    pod = bench.pod("db")
    bench.start(pod, "db"), bench.start(pod, "log")
    snapshot = bench.run_pass()

    def told(before):
        (wanted,) = bench.desired.allocations()
        return allocation_status.compute_status(wanted, before, snapshot, bench.reconciler.verdicts)

    applied = told(PodAllocationStatus())
    assert applied is not None
    assert applied.phase is Phase.APPLIED
    smaller = words.pod(
        "db", words.container("db", "1"), words.container("log", "2", 200_000), cpus="1-2", quota=200_000
    )
    for decided in (smaller, words.pod("db", words.container("db", ""), words.container("log", ""))):
        bench.grant(decided, 2)
        assert told(applied) is None
    bench.grant(smaller, 2)
    snapshot = bench.run_pass()
    after = told(applied)
    assert after is not None
    assert (after.phase, after.observed_generation) == (Phase.APPLIED, 2)


def test_a_difference_that_stays_is_drift_only_after_it_was_applied(bench, words, grant, tell):
    bench.grant(grant)
    pod = bench.pod("db")
    db, _ = bench.start(pod, "db"), bench.start(pod, "log")

    def refuse(write):
        if write.cgroup == db:
            raise words.refused(f"{db.id}/cpuset.cpus", "1,9", "EBUSY, the kernel is busy")

    bench.ways.refuse = refuse
    early = tell()
    assert early.phase is Phase.PENDING
    assert "container db" in ready(early)[2]
    (first, _) = early.containers
    assert (first.verdict, first.message) == (
        Verdict.NOT_PINNED,
        f"fake: {db.id}/cpuset.cpus <- 1,9: EBUSY, the kernel is busy",
    )
    later = tell(dataclasses.replace(early, phase=Phase.APPLIED))
    assert later.phase is Phase.DRIFTED
    assert ready(later)[1] == "Drifted"
    assert "cpuset.cpus.effective is 0-15, wanted 1,9" in ready(later)[2]


def test_a_pod_whose_cgroup_is_gone_after_it_was_applied_is_released(bench, grant, tell):
    bench.grant(grant)
    assert tell(PodAllocationStatus(phase=Phase.APPLIED)).phase is Phase.RELEASED
    assert tell(PodAllocationStatus(phase=Phase.PENDING)).phase is Phase.PENDING


def test_ended_containers_keep_their_last_entry(bench, grant, tell):
    bench.grant(grant)
    pod = bench.pod("db")
    db, _ = bench.start(pod, "db"), bench.start(pod, "log")
    before = tell()
    bench.stop(db)
    after = tell(before)
    assert after.containers[0] == before.containers[0]
    assert after.phase is Phase.APPLIED, "a restart on its way is no drift"


def test_a_container_that_ended_before_it_was_reported_has_its_verdict(bench, words):
    bench.run_pass()
    bench.grant(words.pod("db", words.container("init", "1,9"), cpus="1,9"))
    pod = bench.pod("db")
    asyncio.run(bench.hook.make_room(ContainerCgroup(pod, "init", "0" * 16)))
    cgroup = bench.start(pod, "init")
    pending = PodAllocationStatus(containers=(ContainerStatus("init", cgroup.id),))
    bench.put(cgroup, "cpuset.cpus", "1,9")
    bench.kernel.settle(bench.layout.kubepods)
    asyncio.run(bench.hook.before_start(cgroup))
    bench.kernel.remove(bench.layout.folder(cgroup))
    (wanted,) = bench.desired.allocations()
    for before in (PodAllocationStatus(), pending):
        status = allocation_status.compute_status(wanted, before, bench.run_pass(), bench.reconciler.verdicts)
        assert status is not None
        assert [(each.name, each.verdict) for each in status.containers] == [
            ("init", Verdict.PINNED_AT_START)
        ]


def test_of_a_container_that_ended_unseen_nothing_is_pending(bench, words):
    bench.grant(words.pod("db", words.container("init", "1,9"), cpus="1,9"))
    (wanted,) = bench.desired.allocations()
    cgroup = bench.start(bench.pod("db"), "init")
    bench.kernel.remove(bench.layout.folder(cgroup))
    bench.reconciler.has_processes(cgroup)

    def verdicts(before):
        status = allocation_status.compute_status(wanted, before, bench.run_pass(), bench.reconciler.verdicts)
        return None if status is None else [each.verdict for each in status.containers]

    assert verdicts(PodAllocationStatus()) == [Verdict.UNKNOWN]
    assert verdicts(PodAllocationStatus(containers=(ContainerStatus("init", cgroup.id),))) == [
        Verdict.UNKNOWN
    ]
    bench.stop(cgroup)
    earlier = PodAllocationStatus(containers=(ContainerStatus("init", "0" * 16),))
    assert verdicts(earlier) == [Verdict.UNKNOWN], "the runtime has removed it since"


def test_a_pod_that_holds_nothing_is_applied_at_once_and_left_alone(bench, words, tell):
    bench.grant(words.pod("web", words.container("web", None, 150_000)))
    cgroup = bench.start(bench.pod("web"), "web", "70000 100000")
    status = tell()
    assert status.phase is Phase.APPLIED
    assert ready(status)[:2] == (Status.TRUE, "NoExclusiveResources")
    assert bench.file(cgroup, "cpu.max") == "70000 100000", "what the kubelet gave it"
    assert bench.ways.written == []


def test_a_refused_grant_says_who_holds_its_cpus(bench, words, grant):
    other = words.pod("a-other", words.container("c", "1"), cpus="1")
    bench.grant(grant)
    bench.run_pass()
    bench.grant(other)
    snapshot = bench.run_pass()
    (refused,) = [each for each in bench.desired.allocations() if each.name == "a-other"]
    status = allocation_status.compute_status(
        refused, PodAllocationStatus(), snapshot, bench.reconciler.verdicts
    )
    assert status is not None
    assert status.phase is Phase.PENDING
    assert ready(status)[1] == "Refused"
    assert "already held by pod default/db" in ready(status)[2]
    assert any(each.type == "Stalled" for each in status.conditions)


def test_memory_that_stays_where_it_is_has_a_condition(bench, words, tell):
    bench.grant(words.pod("db", words.container("db", "1,9", mems="0"), cpus="1,9"))
    db = bench.start(bench.pod("db"), "db")
    bench.put(db, "memory.current", str(20 * 2**30))
    status = tell()
    (deferred,) = [each for each in status.conditions if each.type == allocation_conditions.MEMORY_DEFERRED]
    assert "db (NUMA node 0) applies at restart" in deferred.message
    assert status.phase is Phase.APPLIED


def test_throttling_is_told_again_when_it_is_another_story(bench, words, tell):
    """A mean since the start moves with every look; not every look is worth a write."""
    bench.grant(words.pod("db", words.container("db", "1,9", 200_000), cpus="1,9"))
    db = bench.start(bench.pod("db"), "db", "200000 100000")
    told, status = [], None
    for throttled in (0, 1, 30, 34, 36, 0):
        bench.put(db, "cpu.stat", f"nr_periods 1000\nnr_throttled {throttled * 10}")
        bench.now += 30
        status = tell(status)
        (container,) = status.containers
        told.append(container.throttled_percent)
    assert told == [0, 1, 30, 30, 36, 0]


def test_cpus_that_are_switched_off_have_a_condition(bench, words, tell):
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    bench.start(bench.pod("db"), "db")
    bench.machine = words.machine("0-8,10-15", offline="9")
    bench.kernel = type(bench.kernel)(bench.root, "0-8,10-15", "0-1")
    bench.kernel.settle(bench.layout.kubepods.parent)
    (offline,) = [each for each in tell().conditions if each.type == allocation_conditions.CPUS_OFFLINE]
    assert "CPUs 9 of 1,9 are offline" in offline.message


def test_cpus_that_kubepods_lacks_have_a_condition(bench, words, tell):
    bench.grant(words.pod("db", words.container("db", "1,9", mems="0"), cpus="1,9"))
    bench.start(bench.pod("db"), "db")
    whole = bench.machine
    lacking = whole.topology.outside_kubepods(cpuset.parse("8-9"), nodeset.parse("0"))
    bench.machine = dataclasses.replace(whole, topology=lacking, kubepods="kubepods.slice")
    (bench.root / bench.layout.kubepods / "cpuset.cpus").write_text("0-7,10-15")
    bench.kernel.settle(bench.layout.kubepods)
    status = tell()
    (outside,) = [each for each in status.conditions if each.type == "OutsideKubepods"]
    assert "cpuset.cpus.effective of kubepods.slice lacks CPUs 9," in outside.message
    assert "cpuset.mems.effective of kubepods.slice lacks NUMA node 0," in outside.message
    assert status.phase is Phase.APPLIED
    bench.machine = whole
    assert not [each for each in tell().conditions if each.type == "OutsideKubepods"]


def test_a_rejected_pod_is_the_operators_to_tell(bench, words):
    item_of = words.pod("no")
    bench.grant(item_of)
    (wanted,) = bench.desired.allocations()
    rejected = dataclasses.replace(
        wanted,
        allocation=dataclasses.replace(
            wanted.allocation,
            decision=dataclasses.replace(
                wanted.allocation.decision, admitted=False, reason="SMTAlignmentError"
            ),
        ),
    )
    status = allocation_status.compute_status(
        rejected, PodAllocationStatus(), bench.run_pass(), bench.reconciler.verdicts
    )
    assert status is None


def test_pausing_and_unreadable_objects_say_so(bench, grant, tell):
    bench.grant(grant)
    bench.start(bench.pod("db"), "db")
    bench.pause_reason = "the kubelet pins itself"
    assert ready(tell())[1:] == ("Paused", "the kubelet pins itself")
    (wanted,) = bench.desired.allocations()
    broken = dataclasses.replace(
        wanted, allocation=None, problem="PodAllocation default/db, spec: is no object"
    )
    status = allocation_status.compute_status(
        broken, PodAllocationStatus(), bench.run_pass(), bench.reconciler.verdicts
    )
    assert ready(status)[1:] == ("InvalidObject", "PodAllocation default/db, spec: is no object")


def test_a_deleted_allocation_is_released_when_no_process_is_left(bench, grant, tell):
    bench.grant(grant)
    pod = bench.pod("db")
    db, log = bench.start(pod, "db"), bench.start(pod, "log")
    before = tell()
    bench.delete(grant)
    bench.put(pod, "cgroup.events", "populated 1\nfrozen 0")
    held = tell(before)
    assert held.phase is Phase.APPLIED
    (condition,) = [each for each in held.conditions if each.type == allocation_conditions.HELD]
    assert "CPUs 1-2,9-10 stay theirs" in condition.message
    assert bench.effective(db) == "1,9", "what still runs keeps what it has"
    bench.put(pod, "cgroup.events", "populated 0\nfrozen 0")
    released = tell(held)
    assert (released.phase, ready(released)[1]) == (Phase.RELEASED, "Released")
    assert [each.type for each in released.conditions if each.type == allocation_conditions.HELD] == []
    for cgroup in (db, log):
        bench.stop(cgroup)
    bench.kernel.remove(bench.layout.pod(pod))
    assert tell(released).phase is Phase.RELEASED


def test_a_deleted_allocation_of_a_pod_that_never_came_is_released_at_once(bench, grant, tell):
    bench.grant(grant)
    assert tell().phase is Phase.PENDING
    bench.delete(grant)
    assert tell().phase is Phase.RELEASED


def edited(bench, grant, **metadata):
    """Let somebody take all containers out of the stored allocation; return that object."""
    item = render_pod_allocation(grant, "node", Decision(admitted=True))
    item["metadata"] |= {"uid": f"pa-{grant.uid}", "generation": 2, **metadata}
    item["spec"]["containers"] = []
    bench.desired.take_allocations(Changed(WatchEventType.MODIFIED, item))
    return item


def test_an_edited_allocation_is_not_applied_and_its_cgroups_stay_as_they_are(bench, grant, tell):
    bench.grant(grant)
    pod = bench.pod("db")
    db, log = bench.start(pod, "db"), bench.start(pod, "log")
    before = tell()
    edited(bench, grant)
    bench.ways.written.clear()
    status = tell(before)
    assert (status.phase, ready(status)[1]) == (Phase.DRIFTED, "InvalidObject")
    assert "spec.decision.checksum" in ready(status)[2]
    assert status.accepted_spec == before.accepted_spec
    assert bench.ways.written == []
    assert (bench.cpus(db), bench.cpus(log)) == ("1,9", "2,10")


def test_the_spec_that_is_acted_on_is_kept_in_the_status(bench, grant, tell):
    bench.grant(grant)
    assert tell().accepted_spec == render_pod_allocation(grant, "node", Decision(admitted=True))["spec"]
    nothing = dataclasses.replace(grant, cpus=None, containers=(), pod_level=False)
    bench.grant(nothing, generation=2)
    assert tell().accepted_spec == render_pod_allocation(nothing, "node", Decision(admitted=True))["spec"]


def test_what_is_refused_is_not_kept_as_acted_on(bench, words):
    for uid in ("a", "b"):
        bench.grant(words.pod(uid, words.container("c", "1,9"), cpus="1,9"))
    snapshot = bench.run_pass()
    kept = {}
    for each in bench.desired.allocations():
        status = allocation_status.compute_status(
            each, PodAllocationStatus(), snapshot, bench.reconciler.verdicts
        )
        assert status is not None
        kept[each.name] = status.accepted_spec
    assert kept["a"] is not None
    assert kept["b"] is None


def test_an_unreadable_one_is_released_when_its_pod_has_ended_and_not_before(bench, grant, tell):
    pod = bench.pod("db")
    db = bench.start(pod, "db")
    bench.put(pod, "cgroup.events", "populated 1")
    edited(bench, grant, deletionTimestamp="2026-01-01T00:00:00Z")
    before = PodAllocationStatus(phase=Phase.APPLIED)
    status = tell(before)
    assert (status.phase, ready(status)[1]) == (Phase.DRIFTED, "InvalidObject")
    bench.stop(db)
    bench.put(pod, "cgroup.events", "populated 0")
    assert tell(before).phase is Phase.RELEASED


def test_a_pod_has_not_ended_because_its_folder_could_not_be_listed(bench, grant, tell, monkeypatch):
    """Whoever waits for its CPUs would get them: kubernetes/kubernetes#26246."""
    bench.start(bench.pod("db"), "db")
    edited(bench, grant, deletionTimestamp="2026-01-01T00:00:00Z")
    before = PodAllocationStatus(phase=Phase.APPLIED)
    assert tell(before).phase is Phase.DRIFTED

    def wanting(_):
        raise OSError(errno.ENFILE, "Too many open files in system")

    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", wanting)
        with pytest.raises(OSError, match="Too many open files"):
            tell(before)
    assert tell(before).phase is Phase.DRIFTED


def test_one_that_does_not_even_say_whose_it_is_goes_by_the_name_of_its_pod(bench, tell):
    db = bench.start(bench.pod("db"), "db")
    metadata = {"namespace": "default", "name": "db", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    bench.desired.take_allocations(
        Changed(WatchEventType.ADDED, {"metadata": {**metadata, "uid": "pa"}, "spec": {}})
    )
    assert tell().phase is Phase.PENDING
    bench.stop(db)
    assert tell().phase is Phase.RELEASED


def test_what_is_reserved_for_a_pod_that_is_not_here_yet_says_so(bench, grant, tell):
    bench.grant(grant, 1, Decision(admitted=True, reason="Reserved"))
    status = tell()
    assert status.phase is Phase.RESERVED
    assert ready(status)[:2] == (Status.FALSE, "Reserved")
    bench.start(bench.pod("db"), "db")
    assert tell(status).phase is Phase.PENDING


WAITS = Decision(admitted=False, reason=DEVICES_PENDING, message="waits for the devices of example.com/nic")
NIC = ReportedDevice("db", GrantedDevice("example.com/nic", "nic-0", nodeset.of([1])))


def known(status):
    (condition,) = [each for each in status.conditions if each.type == DEVICES_KNOWN]
    return condition.status, condition.reason, condition.message


def test_an_allocation_that_waits_for_devices_shows_which_ones_the_kubelet_names(bench, grant):
    bench.grant(dataclasses.replace(grant, cpus=None, pod_level=False, containers=()), said=WAITS)
    (wanted,) = bench.desired.allocations()
    status = allocation_status.undecided_status(wanted, ToldDevices((NIC,)))
    assert status.phase is Phase.PENDING
    assert ready(status) == (Status.FALSE, DEVICES_PENDING, "waits for the devices of example.com/nic")
    assert known(status) == (Status.TRUE, "Reported", "the kubelet names 1 devices of device plugins")
    assert status.devices == (NIC,)


def test_an_allocation_that_waits_for_devices_says_why_they_could_not_be_read(bench, grant):
    bench.grant(dataclasses.replace(grant, cpus=None, pod_level=False, containers=()), said=WAITS)
    (wanted,) = bench.desired.allocations()
    status = allocation_status.undecided_status(wanted, ToldDevices(problem="no socket"))
    assert known(status) == (Status.FALSE, "NotRead", "no socket")


def test_what_was_told_of_the_devices_stays_when_the_pod_is_decided(bench, grant, tell):
    bench.grant(dataclasses.replace(grant, cpus=None, pod_level=False, containers=()), said=WAITS)
    (wanted,) = bench.desired.allocations()
    before = allocation_status.undecided_status(wanted, ToldDevices((NIC,)))
    assert tell(before) is None
    bench.grant(grant, generation=2)
    bench.start(bench.pod("db"), "db")
    status = tell(before)
    assert (status.devices, known(status)) == ((NIC,), known(before))


def test_a_pod_whose_cgroup_went_during_the_pass_is_released_and_held_by_nobody(bench, grant, tell):
    bench.grant(grant)
    pod = bench.pod("db")
    db, log = bench.start(pod, "db"), bench.start(pod, "log")
    before = tell()
    bench.delete(grant)
    for cgroup in (db, log):
        bench.stop(cgroup)
    bench.kernel.remove(bench.layout.pod(pod))
    # What had ended was asked before the pass read the cgroups.
    snapshot = dataclasses.replace(bench.run_pass(), ended=frozenset())
    (wanted,) = bench.desired.allocations()
    status = allocation_status.compute_status(wanted, before, snapshot, bench.reconciler.verdicts)
    assert status is not None
    assert status.phase is Phase.RELEASED
    assert [each.type for each in status.conditions if each.type == allocation_conditions.HELD] == []


@pytest.mark.parametrize("last", [False, True])
def test_an_instance_that_the_runtime_could_not_start_does_not_stand_for_one_that_runs(
    bench, grant, tell, last
):
    """containerd/containerd#9314: a restore failed, and what it left is listed as Unknown for good."""
    bench.grant(grant)
    pod = bench.pod("db")
    runs, failed = bench.start(pod, "db", number=1), bench.start(pod, "db", number=2)
    bench.start(pod, "log")
    bench.kernel.remove(bench.layout.folder(failed))
    if not last:
        bench.running = dict(reversed(bench.running.items()))
    tell()
    status = tell()
    assert status.phase is Phase.APPLIED
    assert {each.name: each.container_id for each in status.containers}["db"] == runs.id


def test_a_container_whose_end_the_runtime_did_not_notice_is_not_put_down_to_the_cgroup_driver(
    bench, grant, tell
):
    """containerd/containerd#10589: listed as running for good, its process and its cgroup are gone."""
    bench.grant(grant)
    pod = bench.pod("db")
    bench.start(pod, "log")
    bench.kernel.remove(bench.layout.folder(bench.start(pod, "db")))
    assert ready(tell())[2] == (
        "db: the runtime lists it, but it has no cgroup below that of its pod;"
        " if this persists, it has ended and the runtime did not notice; restart the runtime"
    )


def test_a_container_that_ran_and_has_no_cgroup_any_more_is_waited_for(bench, words, grant, tell):
    """cri-o/cri-o#7059: one that crashes is listed as running until it is removed."""
    bench.grant(grant)
    pod = bench.pod("db")
    bench.start(pod, "log")
    db = bench.start(pod, "db")
    bench.put(db, "cgroup.events", "populated 1")

    def refuse(write):
        if write.cgroup == db:
            raise words.refused("db", "1,9", "EBUSY")

    bench.ways.refuse = refuse
    tell()
    bench.kernel.remove(bench.layout.folder(db))
    assert ready(tell())[2] == "waits for the start of db"
