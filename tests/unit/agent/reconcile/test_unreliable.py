"""What follows where a mechanism has no success: the next one is tried, and nobody else is blamed."""

import pytest
from podnuma.agent.cgroups.writers.refusals import CgroupGone, NotAnswered, Postponed, WriteRefused
from podnuma.agent.model.cgroup_ref import ContainerCgroup
from podnuma.agent.reconcile.apply import WriteOutcome

REFUSALS = [
    WriteRefused("db", "1,9", 'runc did not terminate successfully: container "-" does not exist'),
    CgroupGone("Unit crio-db.scope not found."),
]


class First:
    """The first mechanism, which has no success with what `of` names; `error` None: it says that it has."""

    name = "first"
    piggybacks = False

    def __init__(self, of, error):
        self.of = of
        self.error = error
        self.asked = 0

    def takes(self, cgroup):
        return self.of(cgroup)

    async def write(self, write):
        del write
        self.asked += 1
        if self.error is not None:
            raise self.error


def is_container(cgroup):
    return isinstance(cgroup, ContainerCgroup)


@pytest.fixture
def database(bench, words):
    """Give a container CPUs 1 and 9; it runs."""
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    cgroup = bench.start(bench.pod("db"), "db")
    bench.put(cgroup, "cgroup.events", "populated 1\nfrozen 0")
    return cgroup


@pytest.mark.parametrize("error", REFUSALS)
def test_where_one_mechanism_fails_the_next_one_writes(bench, database, error):
    """A runtime that lost what it knew of a running container refuses each update of it, for good."""
    first = First(is_container, error)
    bench.reconciler.mechanisms = (first, bench.ways)
    assert bench.run_pass().unfinished
    assert not bench.run_pass().unfinished
    assert (bench.cpus(database), first.asked) == ("1,9", 1)
    bench.run_pass()
    bench.put(database, "cpuset.cpus", "0-15")
    bench.run_pass()
    assert first.asked == 2, "once the cgroup was right it is first again"


def test_a_write_that_gave_way_to_a_start_says_nothing_of_its_mechanism(bench, database):
    first = First(is_container, Postponed("db", "update", "a container is starting and goes first"))
    bench.reconciler.mechanisms = (first, bench.ways)
    bench.run_pass()
    assert bench.run_pass().unfinished
    assert first.asked == 2
    assert bench.cpus(database) == ""


def test_a_mechanism_that_did_not_answer_is_asked_again_and_no_other_one(bench, database):
    """It may carry out late what it was asked for: after that of another one, it would undo that."""
    first = First(is_container, NotAnswered("db", "1,9", "no answer in time"))
    bench.reconciler.mechanisms = (first, bench.ways)
    bench.run_pass()
    assert bench.run_pass().unfinished
    assert (first.asked, bench.cpus(database)) == (2, "")


def test_a_slice_that_systemd_only_says_to_have_written_is_written_by_file(bench, words, database, caplog):
    """systemd takes properties of a unit that it holds for inactive, and writes nothing."""
    first = First(lambda cgroup: cgroup == words.burstable, None)
    bench.reconciler.mechanisms = (first, bench.ways)
    assert bench.run_pass().intruders() == (
        "container db of pod default/db: the burstable slice may run on its CPUs 1,9"
    )
    bench.now += 1.9
    assert not bench.run_pass().unfinished, "a busy systemd takes its time"
    bench.now += 0.2
    snapshot = bench.run_pass()
    (result,) = snapshot.results
    assert (result.outcome, result.why) == (
        WriteOutcome.REFUSED,
        "first reported success, but cpuset.cpus is empty, wanted 0,2-8,10-15",
    )
    assert result.why in snapshot.intruders()
    snapshot = bench.run_pass()
    assert (snapshot.unfinished, snapshot.intrusions) == (False, ())
    assert (bench.cpus(words.burstable), bench.cpus(database)) == ("0,2-8,10-15", "1,9")
    assert "somebody else" not in caplog.text


def test_what_the_kernel_never_showed_was_changed_by_nobody(bench, words, caplog):
    bench.reconciler.mechanisms = (First(lambda cgroup: cgroup == words.burstable, None), bench.ways)
    bench.grant(words.pod("db", words.container("db", "1,9"), cpus="1,9"))
    for _ in range(7):
        assert not bench.run_pass().contended
        bench.now += 0.2
    assert "somebody else" not in caplog.text
