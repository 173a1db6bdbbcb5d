"""Benchmarks are run by hand and now and then; what they are made of must go on working meanwhile."""

import importlib
import pkgutil

import pytest

import benchmarks
from benchmarks import paths, structure

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
