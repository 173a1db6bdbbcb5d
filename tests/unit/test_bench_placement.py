"""The benchmark of placement packs as the product does, whatever it spares."""

from podnuma.allocator.placement.packing import Packing

from benchmarks import placement
from benchmarks.orders import OrderSearch


def test_the_search_of_orders_packs_as_the_fleet_does():
    """Each state is judged once there; how many pods are placed is the same, for any order."""
    shared = placement.rules(8)
    search = OrderSearch(shared, 2, placement.budget)
    compact = placement.packed(Packing.COMPACT)
    for seed in range(6):
        sizes = placement.sequence(seed, 1.1, machines=2)
        assert search.placed(sizes) == placement.placed(shared, sizes, compact, machines=2)
    known = search.states
    assert search.placed(sizes) <= search.most(sizes, 3, seed=1) <= len(sizes)
    search.placed(sizes)
    assert search.states >= known > 6


def test_no_order_is_tried_when_all_pods_are_placed():
    search = OrderSearch(placement.rules(8), 2, placement.budget)
    assert search.most([4, 8, 6], 10**9, seed=1) == 3
