"""What is going to be lost of a gap follows from the sizes of pods that are likely to come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator.placement import likely_pods as module
from podnuma.allocator.placement.likely_pods import LikelyPods, shares_of

SHARES = st.dictionaries(st.integers(1, 12), st.integers(1, 20), min_size=1, max_size=6)


def losses(shares, gap):
    likely = LikelyPods(shares)
    return [likely.lost(one) for one in range(gap + 1)]


@given(st.integers(1, 12), st.integers(0, 40))
def test_with_one_size_what_is_lost_is_what_that_size_leaves(size, gap):
    assert LikelyPods({size: 3}).lost(gap) == gap % size * 1000


@given(SHARES, st.integers(0, 40))
def test_no_more_is_lost_than_the_gap_and_all_of_it_where_no_pod_fits(shares, gap):
    lost = LikelyPods(shares).lost(gap)
    assert 0 <= lost <= gap * 1000
    if gap < min(shares):
        assert lost == gap * 1000


@given(SHARES, st.integers(0, 40))
def test_at_least_what_no_combination_fills_is_lost(shares, gap):
    reachable = {0}
    for _ in range(gap):
        reachable |= {one + size for one in reachable for size in shares if one + size <= gap}
    assert LikelyPods(shares).lost(gap) >= (gap - max(reachable)) * 1000


@given(SHARES, st.integers(1, 5), st.integers(0, 40))
def test_only_the_relation_of_shares_counts(shares, factor, gap):
    assert losses(shares, gap) == losses({size: factor * one for size, one in shares.items()}, gap)


@given(SHARES, st.integers(0, 40))
def test_the_next_pods_are_drawn_and_the_one_that_loses_least_comes(shares, gap):
    """With one pod to come, what is lost is the mean over all sizes; those that do not fit lose the gap."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LOOK_AHEAD", 1)
        likely = LikelyPods(shares)
        lost = likely.lost(gap)
        mean = sum(
            share * (likely.lost(gap - size) if size <= gap else gap * 1000) for size, share in shares.items()
        )
    assert lost == pytest.approx(mean / sum(shares.values()), abs=1)


def test_a_gap_that_more_sizes_fit_loses_less():
    lost = losses({4: 1, 5: 1, 6: 1, 7: 1, 8: 1}, 8)
    assert lost[4] > lost[5] > lost[6]
    assert lost[4] > lost[8]


def test_without_likely_pods_nothing_is_lost():
    assert LikelyPods({}).lost(7) == LikelyPods({0: 4, 3: 0}).lost(7) == 0


def test_shares_are_twentieths_and_rare_sizes_have_none():
    assert shares_of({4: 45, 1: 1}, 2) == {2: 1, 4: 20}
    assert shares_of({4: 45, 1: 1}, 1) == {1: 1, 4: 20}
    assert shares_of({}, 3) == {3: 1}
    assert shares_of({}, 0) == {0: 1}
