"""Texts for people: counts, amounts, broken lists."""

import pytest
from podnuma.allocator import nodeset
from podnuma.api.scheduling import Obstacle
from podnuma.cli.render import wording
from podnuma.cli.render.wording import not_considered


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "0.977Ki"),
        (16 * 2**30, "16Gi"),
        (34243170304, "31.9Gi"),
        (999 * 2**30, "999Gi"),
        (3 * 2**50, "3072Ti"),
    ],
)
def test_amounts_have_three_digits(size, text):
    assert wording.rounded(size) == text


def test_counts_have_their_noun():
    assert [wording.count(number, "CPU") for number in (0, 1, 2)] == ["0 CPUs", "1 CPU", "2 CPUs"]


def test_lists_break_at_commas_and_lose_nothing():
    broken = wording.wrap_list("0,4,8,12,16,20", 7)
    assert broken == "0,4,8,\n12,16,\n20"
    assert broken.replace("\n", "") == "0,4,8,12,16,20"
    assert wording.wrap_list("0 | 1 | 0-1", 7, " | ") == "0 | 1 |\n0-1"


def test_memory_that_is_unknown_is_not_mentioned():
    assert (wording.memory_suffix(0), wording.memory_suffix(2**30)) == ("", " · 1Gi memory")


def test_one_numa_node_needs_no_mention():
    assert (wording.across(nodeset.parse("3")), wording.across(nodeset.parse("0-1"))) == (
        "",
        "over NUMA nodes 0-1",
    )


def test_what_left_nodes_out_is_said_in_order_and_a_selector_that_matches_nothing_in_full():
    both = {Obstacle.TAINT: 1, Obstacle.SELECTOR: 2}
    assert not_considered(both) == "not considered: 3 nodes: 2 by nodeSelector, 1 by taints"
    wanted = {"pool": "db", "a": "1"}
    assert not_considered(both, wanted) == not_considered(both)
    assert not_considered({Obstacle.SELECTOR: 1}, wanted) == (
        "not considered: 1 node: 1 by nodeSelector; a=1,pool=db is on none of them: "
        "kubectl label node NODE a=1 pool=db, or correct the pod's nodeSelector"
    )
