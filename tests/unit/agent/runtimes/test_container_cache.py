from dataclasses import replace

import pytest
from podnuma.agent.model.containers import Container
from podnuma.agent.runtimes.container_cache import ContainerCache

DB = Container("u-1", "shop", "db", "db", "id-1", 1.0)
LOG = Container("u-1", "shop", "db", "log", "id-2", 1.0)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_only_differences_are_told(clock):
    changes = []
    inventory = ContainerCache(lambda: changes.append(inventory.all()), clock)
    inventory.replace([DB])
    inventory.replace([DB])
    inventory.add(DB)
    inventory.add(LOG)
    inventory.remove("id-1")
    inventory.remove("id-1")
    assert changes == [(DB,), (DB, LOG), (replace(DB, ended=True), LOG)]
    clock.now = 20.0
    assert inventory.all() == (LOG,)


def test_a_list_is_complete_and_what_it_lacks_has_ended(clock):
    inventory = ContainerCache(lambda: None, clock)
    inventory.replace([DB, LOG])
    inventory.replace([LOG])
    assert inventory.all() == (replace(DB, ended=True), LOG)
    clock.now = 20.0
    assert inventory.all() == (LOG,)


def test_a_new_instance_is_named_after_the_one_that_ended(clock):
    inventory = ContainerCache(lambda: None, clock)
    inventory.add(DB)
    inventory.remove("id-1")
    again = Container("u-1", "shop", "db", "db", "id-3", 2.0)
    inventory.add(again)
    assert inventory.all() == (replace(DB, ended=True), again)


def test_a_start_that_is_told_of_after_the_end_is_none(clock):
    """containerd tells of a container's end while it still reports the start of one that ended at once."""
    inventory = ContainerCache(lambda: None, clock)
    inventory.add(DB)
    inventory.remove("id-1")
    inventory.add(DB)
    assert inventory.all() == (replace(DB, ended=True),)
    clock.now = 20.0
    assert inventory.all() == ()


def test_what_ended_is_bounded(clock):
    inventory = ContainerCache(lambda: None, clock)
    for number in range(1000):
        inventory.add(Container("u-1", "shop", "db", "init", str(number), 1.0))
        inventory.remove(str(number))
        assert len(inventory.all()) <= 256
