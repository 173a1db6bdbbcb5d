"""NUMA node sets; specification, section 0.2."""

import pytest
from podnuma.allocator import nodeset


def test_singles_come_first_then_pairs_in_lexicographic_order():
    found = [nodeset.render(mask) for mask in nodeset.enumerate_masks([2, 0, 1])]
    assert found == ["0", "1", "2", "0-1", "0,2", "1-2", "0-2"]


def test_fewer_nodes_are_narrower_then_lower_ids():
    assert nodeset.narrower(0b1000, 0b0011)
    assert nodeset.narrower(0b0110, 0b1001)
    assert not nodeset.narrower(0b0011, 0b0011)


def test_gaps_between_ids_are_kept():
    assert nodeset.render(nodeset.of([0, 8, 250, 251])) == "0,8,250-251"
    assert nodeset.parse("0,8,250-251") == nodeset.of([0, 8, 250, 251])


def test_ids_no_kernel_has_are_refused():
    with pytest.raises(ValueError, match="1023"):
        nodeset.parse("1024")
    with pytest.raises(ValueError, match="1024"):
        nodeset.of([1024])
