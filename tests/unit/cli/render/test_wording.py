"""Texts for people: counts, amounts, broken lists."""

import pytest
from podnuma.allocator import nodeset
from podnuma.cli.render import wording


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
