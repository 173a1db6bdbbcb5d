"""Full collections stay short: what survived a long one is not looked at again."""

import gc
import weakref

import pytest
from podnuma.plumbing.gc_tuning import FreezeSurvivors


class Clock:
    """A clock that stands still unless a collection is to take time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.per_reading = 0.0

    def __call__(self) -> float:
        self.now += self.per_reading
        return self.now


class Knot:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself: object = self


@pytest.fixture
def clock():
    clock = Clock()
    pauses = FreezeSurvivors(longest=0.05, thorough=3600.0, clock=clock)
    gc.callbacks.append(pauses)
    yield clock
    gc.callbacks.remove(pauses)
    gc.unfreeze()


def test_what_survives_a_short_collection_stays_where_it_is(clock):
    clock.per_reading = 0.01
    gc.collect()
    assert gc.get_freeze_count() == 0


def test_what_survives_a_long_one_is_set_aside(clock):
    clock.per_reading = 0.06
    gc.collect()
    assert gc.get_freeze_count() > 1000
    assert len(gc.get_objects(generation=2)) < 1000


def test_young_objects_are_never_set_aside(clock):
    clock.per_reading = 0.06
    gc.collect(0)
    gc.collect(1)
    assert gc.get_freeze_count() == 0


def test_what_nothing_refers_to_goes_at_once_though_it_was_set_aside(clock):
    value = Knot()
    value.itself = None
    gone = weakref.ref(value)
    clock.per_reading = 0.06
    gc.collect()
    del value
    assert gone() is None


def test_a_cycle_that_was_set_aside_goes_with_the_next_thorough_collection(clock):
    knot = Knot()
    gone = weakref.ref(knot)
    clock.per_reading = 0.06
    gc.collect()
    del knot
    gc.collect()
    assert gone() is not None, "else this test is about nothing"
    clock.now += 3600
    gc.collect()
    assert gone() is None
    assert gc.get_freeze_count() > 1000, "the rest is set aside again"
