"""What is known now, and who hears of changes."""

import asyncio

import pytest
from podnuma.api.pod_allocation_status import Phase
from podnuma.cli.ui.live_objects import LiveObjects, keep_allocation

from tests.unit.cli.builders import allocation_object, database, topology_object

EPYC = "epyc7401-2s-8numa-16l3"
KEY = ("shop", "database")


def allocation(node="node-a", phase="Applied"):
    return allocation_object(database(), node, phase)


def test_an_allocation_is_read_back_as_it_was():
    value = allocation()
    kept = keep_allocation(value)
    assert kept.value() == value
    assert (kept.key, kept.node, kept.phase) == (KEY, "node-a", "Applied")
    assert kept.exclusive.bit_count() == 6
    assert kept.shared.bit_count() == 2


@pytest.mark.parametrize("phase", Phase)
def test_what_was_given_back_is_held_by_nobody(phase):
    back = phase in (Phase.RELEASED, Phase.UNINSTALLED)
    assert keep_allocation(allocation(phase=phase.value)).holds is not back


@pytest.mark.parametrize("summary", [None, "x", {"exclusive": "9-1", "shared": 7}, {"shared": "node"}])
def test_a_summary_that_cannot_be_read_is_no_cpus(summary):
    value = allocation()
    value["spec"]["summary"] = summary
    kept = keep_allocation(value)
    assert (kept.exclusive, kept.shared) == (0, 0)


def test_a_pod_that_moves_leaves_its_old_node():
    live = LiveObjects()
    live.keep(allocation("node-a"))
    with live.subscribed() as changes:
        live.keep(allocation("node-b"))
        assert changes.take() == ["node-a", "node-b"]
    assert live.on_node("node-a") == []
    assert [one.key for one in live.on_node("node-b")] == [KEY]


def test_what_is_not_in_a_new_list_is_gone():
    live = LiveObjects()
    live.keep(allocation())
    live.keep(topology_object(EPYC))
    live.replace("PodAllocation", [])
    assert live.allocations == {}
    assert list(live.topologies) == ["node-a"]
    live.replace("NodeTopology", [])
    assert live.topologies == {}


def test_a_slow_reader_gets_each_name_once():
    live = LiveObjects()
    with live.subscribed() as changes:
        for _ in range(3):
            live.keep(allocation())
        assert changes.take() == ["node-a"]
        assert changes.take() == []


async def test_a_change_wakes_who_waits():
    live = LiveObjects()
    with live.subscribed() as changes:
        waiting = asyncio.create_task(changes.wait())
        live.problem("nodes", "you may not list nodes")
        await asyncio.wait_for(waiting, 5)
        assert live.problems == {"nodes": "you may not list nodes"}


def test_who_has_left_hears_nothing():
    live = LiveObjects()
    with live.subscribed() as changes:
        pass
    live.keep(allocation())
    assert changes.take() == []
