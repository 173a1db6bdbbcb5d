"""NUMA node sets; specification, section 0.2."""

import pytest
from podnuma.allocator import nodeset


def test_gaps_between_ids_are_kept():
    assert nodeset.render(nodeset.of([0, 8, 250, 251])) == "0,8,250-251"
    assert nodeset.parse("0,8,250-251") == nodeset.of([0, 8, 250, 251])


def test_ids_no_kernel_has_are_refused():
    with pytest.raises(ValueError, match="1023"):
        nodeset.parse("1024")
    with pytest.raises(ValueError, match="1024"):
        nodeset.of([1024])


def test_people_read_the_noun_in_its_number():
    assert nodeset.named(nodeset.of([0])) == "NUMA node 0"
    assert nodeset.named(nodeset.of([8])) == "NUMA node 8"
    assert nodeset.named(nodeset.of([0, 1, 8])) == "NUMA nodes 0-1,8"
