"""What operator, agent and command line write can be read again, in any state; `make written` tries more."""

import copy
import itertools
import random

import pytest
from podnuma.cli.commands.options import OutputFormat
from podnuma.cli.exits import Exit
from podnuma.plumbing.kube import kubectl_yaml

from tests.written.__main__ import refused
from tests.written.check import check
from tests.written.commands import ANSWERED, QUESTIONS, asked, save, saved
from tests.written.states import Written, machine, written

STATES = 200
PART = 50


@pytest.mark.parametrize("first", range(0, STATES, PART))
def test_what_is_written_is_read_back_by_every_reader_and_taken_by_the_schema(first):
    read, found = refused(first, PART)
    assert found == []
    assert read > 4 * PART


def test_the_number_gives_the_state():
    assert [one.body for one in written(7)] == [one.body for one in written(7)]
    assert [one.body for one in written(7)] != [one.body for one in written(8)]


def test_the_states_have_what_went_wrong_before():
    """A cache id beyond 32 bits; more memory held than there is; a pod that keeps what it would not get."""
    bodies = [one.body for number in range(120) for one in written(number)]
    hardware = [body["status"]["hardware"] for body in bodies if "hardware" in body.get("status", {})]
    assert any(cache["id"] > 2**31 for found in hardware for cache in found["caches"])
    free = [
        node for body in bodies for node in body.get("status", {}).get("allocation", {}).get("numaNodes", ())
    ]
    assert any("overcommittedMemory" in node for node in free)
    reasons = {
        condition["reason"] for body in bodies for condition in body.get("status", {}).get("conditions", ())
    }
    assert {"PodsOutdated", "InvalidSettings", "ReconcileFailing"} <= reasons


def with_change(change):
    def of(one: Written) -> Written:
        body = copy.deepcopy(one.body)
        change(body["status"])
        return Written(one.writer, body, one.values)

    return of


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda status: status["hardware"]["caches"][:1].clear() or status["hardware"].update(odd=1), "odd"),
        (lambda status: status["hardware"]["numaNodes"][0].update(memory="-4Gi"), "memory"),
        (lambda status: status["hardware"].update(offlineCPUs="x" * 40_000), "offlineCPUs"),
        (lambda status: status["hardware"]["numaNodes"][0].update(memory="77"), "hardware"),
    ],
)
def test_what_cannot_be_read_back_is_found(change, words):
    topologies = (one for number in itertools.count() for one in written(number))
    agents = (one for one in topologies if "hardware" in one.values)
    with pytest.raises(AssertionError, match=words):
        check(with_change(change)(next(agents)))


def test_machines_are_of_every_shape():
    found = [machine(random.Random(number)) for number in range(300)]
    assert any(each.unknown_siblings for each in found)
    assert any(each.isolated for each in found)
    assert any(each.nodes[-1].id not in {cpu.node for cpu in each.cpus} for each in found)
    assert any(cpu.socket < 0 for each in found for cpu in each.cpus)


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_command_has_an_answer_in_some_of_the_states(question, tmp_path):
    file = tmp_path / "cluster.json"
    codes = set()
    for number in range(25):
        save(file, saved(list(written(number)), "waiting"))
        code, said = asked(lambda: QUESTIONS[question](str(file), "waiting", OutputFormat.JSON))
        codes.add((code, bool(said)))
    assert {code for code, _ in codes} <= ANSWERED
    assert (Exit.OK, True) in codes or (Exit.NO, True) in codes


def test_an_answer_that_kubectl_reads_differently_is_found(monkeypatch):
    monkeypatch.setattr(kubectl_yaml, "dump_yaml", lambda _: "name: y")
    _, found = refused(0, 30)
    assert any("reads differently" in problem for problem in found)
