"""Which node sets are looked at, in which order."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator import nodeset
from podnuma.allocator.numa_candidates import MAX_STEPS, CandidateDemand, candidates

from tests.unit.allocator.shapes import from_cores, machine, unhurried

WIDE = from_cores([((node,), 0, node, None) for node in range(13)])


def test_few_nodes_give_all_sets_best_first():
    found = candidates(machine("MN80"), 2, ())
    assert [nodeset.render(nodes) for nodes in found] == ["0-1", "0,2", "1-2", "0,3", "1,3", "2-3"]


@unhurried(30)
@given(
    size=st.integers(1, 4),
    gives=st.lists(st.lists(st.integers(0, 5), min_size=13, max_size=13), min_size=1, max_size=2),
    wanted=st.integers(0, 20),
    closest=st.booleans(),
)
def test_on_wide_machines_every_set_that_serves_comes_out_in_order(size, gives, wanted, closest):
    demands = tuple((dict(enumerate(give)), wanted) for give in gives)
    found = list(candidates(WIDE, size, (CandidateDemand(WIDE.all_nodes, demands),), closest=closest))
    serving = [
        nodeset.of(chosen)
        for chosen in combinations(range(13), size)
        if all(sum(give[node] for node in chosen) >= wanted for give in gives)
    ]
    assert found == sorted(found)  # all distances are equal
    assert [nodes for nodes in found if nodes in set(serving)] == sorted(serving)
    if len(gives) == 1:
        assert len(found) == len(serving)


def test_members_limit_the_sets_and_groups_come_beside_them():
    offer = CandidateDemand(nodeset.of([1, 2, 3]), (({1: 1, 2: 1, 3: 1}, 2),), (0b110000, 0b1000000, 0b110))
    found = [nodeset.render(nodes) for nodes in candidates(WIDE, 2, (offer,))]
    assert found == ["1-2", "1,3", "2-3", "4-5"]


def test_what_nobody_can_serve_ends_early():
    free = dict.fromkeys(range(13), 1)
    assert list(candidates(WIDE, 7, (CandidateDemand(WIDE.all_nodes, ((free, 8),)),))) == []


def test_work_is_bounded():
    very_wide = from_cores([((node,), 0, node, None) for node in range(64)])
    free = dict.fromkeys(range(64), 1)
    found = list(candidates(very_wide, 32, (CandidateDemand(very_wide.all_nodes, ((free, 32),)),)))
    assert 0 < len(found) <= MAX_STEPS
