"""The page of deviations, its tests and the comparison know the same entries."""

import re
from pathlib import Path

import pytest
from podnuma.cli.commands import replay

from tests.conformance import compare, deviations, examine, literal
from tests.conformance.deviations import Moment
from tests.conformance.world import (
    RESTART,
    Json,
    add,
    budget,
    d16,
    facts,
    g,
    machine,
    pod,
    scenario,
    settings,
    shared,
)

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "deviations.md").read_text()
FOLDERS = (ROOT / "tests" / "conformance" / "cases", ROOT / "tests" / "unit" / "allocator")
TESTS = "".join(path.read_text() for folder in FOLDERS for path in folder.rglob("test_*.py"))


def entries():
    """The page's sections that name a test of the comparison, by heading."""
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    return {text.split("\n")[0]: text for text in sections if "**Test:**" in text}


def test_the_page_and_the_comparison_have_the_same_entries():
    assert sorted(entries()) == deviations.names()


def test_the_kubelets_eyes_differ_where_the_page_says_so():
    (section,) = re.findall(r"^## Hardware\n(.*?)^## ", PAGE, flags=re.MULTILINE | re.DOTALL)
    bullets = set(re.findall(r"^\* \*\*(.+?)\*\*", section, flags=re.MULTILINE))
    # To both all cores are alike until a profile names a kind.
    assert bullets - {"Kinds of cores"} == {twin.name for twin in deviations.HARDWARE}


def test_every_entry_says_what_podnuma_does():
    assert all("**podnuma:**" in text for text in entries().values())


def test_every_test_named_on_the_page_exists():
    named = re.findall(r"`(test_\w+)", PAGE)
    assert named
    assert [name for name in named if f"def {name}(" not in TESTS] == []


def test_page_names_no_entry_twice():
    assert len(re.findall(r"^## ", PAGE, flags=re.MULTILINE)) == len(
        set(re.findall(r"^## .*", PAGE, re.MULTILINE))
    )


CASE = scenario(
    "case",
    d16(pages={"1Gi": "4Gi"}),
    settings(),
    add(pod("p", budget(4, "4Gi", huge_1Gi="2Gi"), [g(2, "2Gi", huge_1Gi="2Gi"), shared()])),
)


def kubelet_like(*replacements):
    with literal.in_place(replacements):
        return replay.play(CASE)


def test_a_twin_explains_exactly_the_kubelets_answer():
    theirs = kubelet_like(*literal.EVERYBODY_MISSES_HUGE_PAGES)
    verdict = examine.judge(CASE, theirs, replay.play)
    assert verdict.twins == ("Huge pages that only exclusive containers want",)
    assert verdict.finding is None


def crowded():
    """A machine on which others have three of the four pages of NUMA node 0."""
    case = scenario(
        "others",
        d16(pages={"1Gi": "4Gi"}),
        settings(),
        add(pod("p", budget(4, "4Gi", huge_1Gi="2Gi"), [g(2, "2Gi", huge_1Gi="2Gi")])),
        RESTART,
    )
    case["topology"]["numaNodes"][0]["hugepagesInUse"] = {"1Gi": 3 * 2**30}
    return case


def test_pages_of_others_explain_exactly_what_a_kubelet_answers_that_does_not_look():
    case = crowded()
    with literal.in_place(literal.PAGES_OF_OTHERS_ARE_FREE):
        theirs = replay.play(case)
    assert (blocks(theirs), blocks(replay.play(case))) == ({(0,)}, {(1,)})
    verdict = examine.judge(case, theirs, replay.play)
    assert verdict.twins == ("Huge pages that others have in use",)
    assert verdict.finding is None
    theirs["steps"][0]["pod"]["containers"][0]["cpuset"] = "1,10"
    assert examine.judge(case, theirs, replay.play).finding is not None


def test_memory_without_cpus_explains_exactly_what_a_kubelet_gives():
    """A Xeon with four persistent-memory nodes: 300Gi fit nowhere else."""
    reserved = f"0,56,{facts('xeon-2s-snc2-pmem')['isolated']}"
    told = settings(policy="best-effort", reserved=reserved, nodes=range(4), memoryOnlyNodePolicy="Unused")
    case = scenario(
        "pmem", machine("xeon-2s-snc2-pmem"), told, add(pod("p", budget(4, "300Gi"), [g(2, "2Gi"), shared()]))
    )
    with literal.in_place(literal.MEMORY_ONLY_NODES_ARE_GIVEN):
        theirs = replay.play(case)
    assert (theirs["steps"][0]["admitted"], replay.play(case)["steps"][0]["admitted"]) == (True, False)
    verdict = examine.judge(case, theirs, replay.play)
    assert set(verdict.twins) == {"NUMA nodes without CPUs"}
    assert verdict.finding is None


def test_a_kubelet_that_does_not_start_for_nodes_without_cpus_is_recognised():
    case = scenario("gpus", machine("power9"), settings(policy="restricted", reserved="0-3", nodes=(0, 8)))
    theirs = {
        "start": {"ok": False, "error": "unsupported on machines with more than 8 NUMA Nodes"},
        "steps": [],
    }
    seen = Moment(case, {"op": "start"}, None, theirs, replay.play(case), None)
    assert deviations.marked(seen) == "NUMA nodes without CPUs"


def blocks(report):
    """Return the NUMA nodes of the memory that the first step's pod got."""
    return {tuple(block["numaNodes"]) for block in report["steps"][0]["pod"]["memory"]}


@pytest.mark.parametrize("field", ["reason", "message"])
def test_a_twin_does_not_explain_another_answer(field):
    theirs = kubelet_like(*literal.EVERYBODY_MISSES_HUGE_PAGES)
    theirs["steps"][0][field] = "something else"
    verdict = examine.judge(CASE, theirs, replay.play)
    assert verdict.twins == ()
    assert verdict.finding is not None
    assert verdict.finding.difference.step == 0


def test_a_changed_cpu_is_a_finding():
    theirs = replay.play(CASE)
    theirs["steps"][0]["pod"]["containers"][0]["cpuset"] = "1,10"
    verdict = examine.judge(CASE, theirs, replay.play)
    assert "kubelet '1,10', podnuma '1,9'" in str(verdict.finding)


def restarted():
    case = scenario("restart", d16(), settings(), add(pod("p", budget(4), [shared()])), RESTART)
    return case, replay.play(case)


def test_a_restart_explains_only_what_the_kubelet_changed():
    case, ours = restarted()
    theirs = replay.play(case)
    theirs["steps"][1]["readmissions"][0]["admitted"] = False
    assert examine.judge(case, theirs, replay.play).mark == "A restart decides nothing"
    lost = replay.play(case)
    lost["steps"][1]["state"]["podCPUs"] = {}
    moment = Moment(case, RESTART, ours["steps"][0], ours["steps"][1], lost["steps"][1], ours["steps"][0])
    assert deviations.marked(moment) is None


def test_memory_is_compared_by_the_sum_of_a_group():
    rows: list[Json] = [
        {"id": node, "assignments": 1, "cells": [0, 1], "memory": {"memory": table}}
        for node, table in enumerate(
            (
                {"total": 9, "systemReserved": 1, "allocatable": 8, "reserved": 8, "free": 0},
                {"total": 9, "systemReserved": 1, "allocatable": 8, "reserved": 2, "free": 6},
            )
        )
    ]
    state = {"defaultCPUSet": "", "cpus": {}, "podCPUs": {}, "memory": {}, "podMemory": {}, "numa": rows}
    moved = [
        {**row, "memory": {"memory": {**row["memory"]["memory"], "reserved": 5, "free": 3}}} for row in rows
    ]
    assert compare.comparable_state({**state, "numa": moved}) == compare.comparable_state(state)
    less = [
        {**row, "memory": {"memory": {**row["memory"]["memory"], "reserved": 5, "free": 2}}} for row in rows
    ]
    assert compare.comparable_state({**state, "numa": less}) != compare.comparable_state(state)


def test_a_kubelet_that_never_comes_back_is_explained_only_where_that_is_known():
    case = scenario("endless", d16(), settings(cpu=["full-pcpus-only", "distribute-cpus-across-numa"]))
    assert examine.judge(case, examine.NEVER_ENDS, replay.play).mark == "Every decision ends"
    plain = scenario("endless", d16(), settings())
    assert examine.judge(plain, examine.NEVER_ENDS, replay.play).finding is not None


def with_groups(*groups, held):
    """A moment at which the kubelet's NUMA nodes are in these groups, and a pod holds a block on `held`."""
    rows = [{"id": node, "cells": cells, "memory": {}} for node, cells in enumerate(groups)]
    memory = {"u1": {"app": [{"type": "memory", "size": 1, "numaNodes": held}]}}
    answer = {"state": {"numa": rows, "memory": memory}}
    return Moment({}, {}, None, answer, answer, None)


def test_a_group_is_marked_where_its_members_or_its_pods_say_otherwise():
    (mark,) = [
        mark for mark in deviations.MARKS if mark.name == "A NUMA node that shares memory blocks with others"
    ]
    assert not mark.seen(with_groups([0, 1], [0, 1], held=[0, 1]))
    assert not mark.seen(with_groups([0], [1], held=[1]))
    assert mark.seen(with_groups([0], [0, 1], held=[0, 1]))
    # kubelet v1.37.2, seed 424242, scenario 2688: a pod that was refused half-way has been taken back.
    assert mark.seen(with_groups([0], [1], held=[0, 1]))


def test_a_part_of_a_group_that_the_kubelet_refuses_is_marked():
    text = "[memorymanager] preferred hint violates NUMA node allocation, which is unexpected"
    theirs = {"admitted": False, "message": text}
    mark = next(one for one in deviations.MARKS if one.name.startswith("A NUMA node that shares memory"))
    assert mark.seen(Moment({}, {"op": "addPod"}, None, theirs, {"admitted": True}, None))
    assert not mark.seen(Moment({}, {"op": "addPod"}, None, theirs, dict(theirs), None))
