"""CPU sets in text; specification, section 0.3."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator import cpuset

from tests.unit.allocator.shapes import unhurried


@pytest.mark.parametrize(
    ("text", "members", "rendered"),
    [
        ("", [], ""),
        ("0", [0], "0"),
        ("0-2,4,6-8", [0, 1, 2, 4, 6, 7, 8], "0-2,4,6-8"),
        ("0,1", [0, 1], "0-1"),
        ("7-7", [7], "7"),
        ("5,3,4,3", [3, 4, 5], "3-5"),
        ("65535", [65535], "65535"),
    ],
)
def test_kernel_lists_are_read_in_any_order_and_written_ascending(text, members, rendered):
    found = cpuset.parse(text)
    assert list(cpuset.ids(found)) == members
    assert cpuset.render(found) == rendered


@pytest.mark.parametrize(
    "text",
    ["9-3", " 1", "1, 2", "1,", ",", "-1", "1-", "a", "+1", "1-2-3", "65536", "0-4000000000", "\u0663"],
)
def test_what_is_no_list_is_refused_with_the_part(text):
    with pytest.raises(ValueError, match=r"\S"):
        cpuset.parse(text)


def test_a_reversed_range_tells_how_to_write_it():
    with pytest.raises(ValueError, match="write 3-9"):
        cpuset.parse("9-3")


def test_ids_out_of_range_are_refused():
    with pytest.raises(ValueError, match="CPU id -1"):
        cpuset.of([-1])
    with pytest.raises(ValueError, match="65536"):
        cpuset.of([65536])


def test_lowest_takes_from_the_bottom():
    assert cpuset.lowest(0b101100, 2) == 0b001100
    assert cpuset.lowest(0b1, 5) == 0b1


@unhurried()
@given(st.sets(st.integers(min_value=0, max_value=5000), max_size=60))
def test_text_and_set_are_the_same_thing(members):
    found = cpuset.of(members)
    assert cpuset.parse(cpuset.render(found)) == found
    assert set(cpuset.ids(found)) == members
    assert sum(last - first + 1 for first, last in cpuset.runs(found)) == len(members)
