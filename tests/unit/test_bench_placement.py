"""The benchmark of placement packs as the product does, whatever it spares."""

from podnuma.allocator.placement.packing import Packing

from benchmarks import placement
from benchmarks.orders import OrderSearch


def test_the_search_of_orders_packs_as_the_fleet_does():
    """Each state is judged once there; how many pods are placed is the same, for any order."""
    shared = placement.rules(8)
    search = OrderSearch(shared, 2, placement.budget)
    compact = placement.packed(Packing.COMPACT)
    first, *others = (placement.sequence(seed, 1.1, machines=2) for seed in range(6))
    for sizes in (first, *others):
        assert search.placed(sizes) == placement.placed(shared, sizes, compact, machines=2)
    known = search.states
    assert search.placed(first) <= search.most(first, 3, seed=1) <= len(first)
    assert search.states > known, "other orders meet other states"
    known = search.states
    search.placed(first)
    assert search.states == known, "states that were met are not judged again"


def test_no_order_is_tried_when_all_pods_are_placed():
    search = OrderSearch(placement.rules(8), 2, placement.budget)
    assert search.most([4, 8, 6], 10**9, seed=1) == 3
