import asyncio

from podnuma.agent.cgroups.writers.refusals import CgroupGone, WriteRefused
from podnuma.agent.model.cgroup_ref import ContainerCgroup, PodCgroup, QosCgroup
from podnuma.agent.model.cgroup_values import CgroupWrite
from podnuma.agent.reconcile.apply import WriteOutcome, apply_writes
from podnuma.allocator import cpuset
from podnuma.allocator.request import Qos

SLICE = QosCgroup(Qos.BURSTABLE)
DB = ContainerCgroup(PodCgroup("db", Qos.GUARANTEED), "db", "1" * 12)
LOG = ContainerCgroup(PodCgroup("db", Qos.GUARANTEED), "log", "2" * 12)


class Way:
    piggybacks = False

    def __init__(self, name, cgroups, error=None):
        self.name = name
        self.cgroups = cgroups
        self.error = error
        self.writes = []

    def takes(self, cgroup):
        return cgroup in self.cgroups

    async def write(self, write):
        self.writes.append(write)
        if self.error is not None:
            raise self.error


def run(writes, *ways, useless=None):
    return [
        (result.outcome, result.why)
        for result in asyncio.run(apply_writes(writes, ways, useless or {}, lambda: True))
    ]


def write(cgroup, cpus, gains="", losses=""):
    return CgroupWrite(cgroup, cpuset.parse(cpus), gains=cpuset.parse(gains), losses=cpuset.parse(losses))


def test_a_step_goes_through_the_first_way_that_takes_it():
    first, second = Way("NRI", {DB}), Way("Systemd", {DB, SLICE})
    run([write(DB, "1"), write(SLICE, "0")], first, second)
    assert [each.cgroup for each in first.writes] == [DB]
    assert [each.cgroup for each in second.writes] == [SLICE]


def test_a_way_that_does_not_do_what_it_says_comes_last_at_that_place():
    first, second = Way("NRI", {DB, LOG}), Way("Systemd", {DB})
    useless = {DB: frozenset({"NRI"}), LOG: frozenset({"NRI"})}
    assert (
        run([write(DB, "1"), write(LOG, "0")], first, second, useless=useless)
        == [(WriteOutcome.DONE, "")] * 2
    )
    assert [each.cgroup for each in first.writes] == [LOG], "where no other is left it is tried anyway"
    assert [each.cgroup for each in second.writes] == [DB]


def test_a_refusal_does_not_stop_the_rest_and_says_who_refused():
    refusing, good = Way("CRI", {DB}, WriteRefused("db", "1", "EINVAL")), Way("Systemd", {LOG})
    outcomes = run([write(DB, "1"), write(LOG, "2")], refusing, good)
    assert outcomes == [(WriteOutcome.REFUSED, "CRI: db <- 1: EINVAL"), (WriteOutcome.DONE, "")]


def test_what_somebody_kept_is_given_to_nobody():
    refusing, good = Way("Systemd", {SLICE}, WriteRefused("burstable", "0", "EBUSY")), Way("CRI", {DB, LOG})
    outcomes = run(
        [write(SLICE, "0,3", losses="1-2"), write(DB, "1", gains="1"), write(LOG, "3", gains="3")],
        refusing,
        good,
    )
    assert [outcome for outcome, _ in outcomes] == [
        WriteOutcome.REFUSED,
        WriteOutcome.HELD_BACK,
        WriteOutcome.DONE,
    ]
    assert "CPUs 1" in outcomes[1][1]


def test_a_place_that_is_gone_is_a_normal_end():
    assert run([write(DB, "1")], Way("CRI", {DB}, CgroupGone("db"))) == [(WriteOutcome.GONE, "db")]


def test_without_any_way_the_text_asks_for_the_runtime():
    ((outcome, why),) = run([write(DB, "1")])
    assert outcome is WriteOutcome.REFUSED
    assert "is the runtime connected?" in why
