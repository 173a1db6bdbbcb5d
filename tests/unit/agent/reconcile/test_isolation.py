"""Containers that have their values while others could not be taken off their CPUs."""

import pytest
from podnuma.agent.cgroups.writers.refusals import CgroupGone
from podnuma.agent.status import allocation_status
from podnuma.allocator import cpuset
from podnuma.allocator.request import Qos
from podnuma.api.node_settings import Mode
from podnuma.api.pod_allocation_status import Phase, PodAllocationStatus, Verdict


@pytest.fixture
def db(bench, words):
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    return bench.start(bench.pod("db"), "db")


def keep(bench, words, *cgroups):
    """Let writes to some cgroups fail."""

    def refuse(write):
        if write.cgroup in cgroups:
            raise words.refused("it", "", "EBUSY")

    bench.ways.refuse = refuse


def who(snapshot):
    return [(each.owner.name, each.intruder, cpuset.render(each.cpus)) for each in snapshot.intrusions]


def statuses(bench, before=Phase.PENDING):
    snapshot = bench.reconciler.snapshot
    return {
        each.name: allocation_status.compute_status(
            each, PodAllocationStatus(phase=before), snapshot, bench.reconciler.verdicts
        )
        for each in bench.desired.allocations()
    }


def conditions(status):
    return {each.type: each.message for each in status.conditions}


def test_a_container_beside_a_slice_that_kept_its_cpus_is_not_applied(bench, words, db):
    keep(bench, words, words.burstable)
    bench.put(db, "cpuset.cpus", "1,9")  # the runtime gave it its values
    snapshot = bench.run_pass()
    assert bench.effective(db) == "1,9"
    assert who(snapshot) == [("db", words.burstable, "1,9")]
    status = statuses(bench)["db"]
    assert status.phase is Phase.PENDING
    assert status.containers[0].verdict is not Verdict.PINNED_AT_START
    text = "container db: the burstable slice may run on its CPUs 1,9 (fake: it <- : EBUSY)"
    assert conditions(status)["NotIsolated"] == text
    assert statuses(bench, Phase.APPLIED)["db"].phase is Phase.DRIFTED
    keep(bench, words)
    assert who(bench.run_pass()) == []
    assert statuses(bench)["db"].phase is Phase.APPLIED


def test_both_are_told_who_is_where(bench, words, db):
    bench.grant(words.pod("web", words.container("web", None, 50_000), words.container("own", "4")))
    web = bench.start(bench.pod("web"), "web")
    bench.put(bench.pod("web"), "cpuset.cpus", "0-15")
    bench.put(web, "cpuset.cpus", "0-15")
    keep(bench, words, web, bench.pod("web"))
    bench.put(db, "cpuset.cpus", "1,9")
    assert who(bench.run_pass()) == [("db", web, "1,9")]
    told = {name: conditions(status) for name, status in statuses(bench).items()}
    assert "container web of pod default/web may run on its CPUs 1,9" in told["db"]["NotIsolated"]
    assert told["web"]["OnForeignCPUs"] == (
        "container web may run on CPUs 1,9, which are those of container db of pod default/db"
    )
    assert "OnForeignCPUs" not in told["db"]
    assert "NotIsolated" not in told["web"]


def test_a_pod_that_holds_nothing_and_has_no_set_of_its_own_is_found_as_well(bench, words, db):
    plain = bench.start(bench.pod("plain"), "c")
    keep(bench, words, bench.pod("plain"))
    bench.put(db, "cpuset.cpus", "1,9")
    assert who(bench.run_pass()) == [("db", plain, "1,9")]


def test_what_belongs_together_is_no_intrusion(bench, words, db):
    """Two containers of a pod on the same CPUs; a holder in a slice; a wide cgroup around a pod."""
    bench.grant(
        words.pod("two", words.container("init", "2,10"), words.container("main", "2,10"), cpus="2,10")
    )
    bench.grant(words.pod("holder", words.container("h", "5"), cpus="5"))
    two, holder = bench.pod("two"), bench.pod("holder", Qos.BURSTABLE)
    for pod, name in ((two, "init"), (two, "main"), (holder, "h")):
        bench.start(pod, name)
    bench.start(bench.pod("web", Qos.BURSTABLE), "web")
    bench.run_pass()
    bench.put(two, "cpuset.cpus", "0-15")
    keep(bench, words, two)
    assert who(bench.run_pass()) == []
    assert bench.effective(db) == "1,9"


def test_the_slice_of_the_only_holder_is_not_its_intruder(bench, words):
    bench.grant(words.pod("holder", words.container("h", "5"), cpus="5"))
    holder = bench.start(bench.pod("holder", Qos.BURSTABLE), "h")
    bench.start(bench.pod("web", Qos.BURSTABLE), "web")
    assert who(bench.run_pass()) == []
    assert (bench.effective(holder), bench.effective(words.burstable)) == ("5", "0-15")
    assert statuses(bench)["holder"].phase is Phase.APPLIED


@pytest.mark.usefixtures("db")
def test_in_audit_nobody_is_accused(bench):
    bench.settings(mode=Mode.AUDIT)
    assert bench.run_pass().intrusions == ()


def test_what_is_seen_once_changes_no_verdict(bench, words):
    """Systemd answers a little before it has written."""
    bench.run_pass()
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    db = bench.start(bench.pod("db"), "db")
    bench.put(db, "cpuset.cpus", "1,9")
    write_through = bench.ways.write

    async def late(write) -> None:
        if write.cgroup != words.burstable:
            await write_through(write)

    bench.ways.write = late
    assert who(bench.run_pass()) == [("db", words.burstable, "1,9")]
    bench.ways.write = write_through
    bench.run_pass()
    assert bench.reconciler.verdicts.of(db.id).verdict is Verdict.PINNED_AT_START


def test_a_process_that_was_bound_to_fewer_cpus_is_a_finding_and_nothing_is_written_again(bench, db):
    bench.put(db, "cgroup.procs", "77")
    bench.affinities[77] = cpuset.parse("9")
    bench.run_pass()
    written = len(bench.ways.written)
    snapshot = bench.run_pass()
    assert (len(bench.ways.written), snapshot.unfinished) == (written, False)
    status = statuses(bench)["db"]
    assert status.phase is Phase.APPLIED
    assert conditions(status)["AffinityNarrowed"] == ("container db: process 77 may run on 9 only, of 1,9")


@pytest.mark.usefixtures("db")
def test_a_cgroup_without_processes_is_on_nobodys_cpus(bench):
    """A kubelet left the cgroup of a pod behind, and systemd knows no unit of that name."""
    left = bench.pod("left")
    bench.put(left, "cgroup.events", "populated 0\nfrozen 0")

    class NoUnit:
        name, piggybacks, asked = "Systemd", False, 0

        def takes(self, cgroup):
            return cgroup == left

        async def write(self, write):
            del write
            self.asked += 1
            raise CgroupGone("Unit kubepods-podleft.slice not found.")

    systemd = NoUnit()
    bench.reconciler.mechanisms = (systemd, bench.ways)
    assert who(bench.run_pass()) == []
    assert statuses(bench)["db"].phase is Phase.APPLIED
    bench.run_pass()
    bench.run_pass()
    assert (systemd.asked, bench.cpus(left)) == (1, "0,2-8,10-15"), "it is not asked for it in each pass"


@pytest.mark.usefixtures("db")
def test_processes_of_a_sandbox_count_where_its_containers_have_none(bench, words):
    other = bench.start(bench.pod("other"), "app")
    bench.put(other, "cgroup.events", "populated 0\nfrozen 0")
    bench.put(other.pod, "cgroup.events", "populated 1\nfrozen 0")
    keep(bench, words, other.pod)
    assert who(bench.run_pass()) == [("db", other, "1,9")]
