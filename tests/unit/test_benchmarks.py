"""Benchmarks are run by hand and now and then; what they are made of must go on working meanwhile."""

import importlib
import pkgutil

import pytest
from podnuma.allocator.placement.packing import Packing

import benchmarks
from benchmarks import paths, placement, structure
from benchmarks.orders import OrderSearch

NAMES = {each.name for each in pkgutil.iter_modules(benchmarks.__path__)}
WITH_A_BROWSER = {"page"}  # needs selenium, as `make test-browser` does


@pytest.mark.parametrize("name", sorted(NAMES - {"__main__"} - WITH_A_BROWSER))
def test_every_benchmark_can_be_imported(name):
    assert importlib.import_module(f"benchmarks.{name}").__doc__


def test_the_hot_paths_are_measured_one_by_one(monkeypatch):
    monkeypatch.setattr(paths, "SECONDS", 0.0001)
    costs = dict((*paths.operator(), *paths.agent()))
    assert len(costs) >= 9
    assert all(cost > 0 for cost in costs.values())


def test_the_walks_through_the_code_arrive_and_names_mean_one_thing(capsys):
    assert structure.main([]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("pod", "allocation", "start"))
    shared, _, _ = structure.shared_names()
    assert len(shared) < 10, shared


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
