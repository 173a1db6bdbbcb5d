"""Placement when something breaks: no pod stays gated, nothing is given twice, nothing is left behind."""

from __future__ import annotations

import time

import pytest

from testbed import faults
from testbed.faults import FaultyApiServer
from testbed.waiting import until
from tests.integration.operator_site import SOON, pod
from tests.integration.placement_faults import (
    TAKEOVER_SECONDS,
    fail_each_step,
    kill_the_leader,
    name_of_fault,
    request_to,
)
from tests.integration.placement_life import PlacementLife
from tests.integration.placement_site import bound, furnish, gated, gates, placing_site, unbound

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def site(clean_cluster, namespace, tmp_path, helm):
    with placing_site(clean_cluster, namespace, tmp_path, helm) as found:
        yield found


@pytest.fixture
def faulty(clean_cluster):
    with FaultyApiServer(clean_cluster) as found:
        yield found


# The other moments are in tests/long.
@pytest.mark.parametrize(
    ("step", "done"), [("reserve", True), ("nominate", False), ("lift", True), ("take over", False)]
)
def test_a_leader_killed_at_any_step_leaves_no_pod_gated_and_nothing_twice(site, kwok, faulty, step, done):
    kill_the_leader(site, kwok, faulty, step, done=done)


def test_a_kill_between_any_two_requests_leaves_no_pod_gated_and_nothing_twice(site, kwok, faulty):
    life = PlacementLife(site, faulty, seed=20261129)
    life.furnish(kwok)
    life.die(8)
    assert life.kills >= 8


def test_pods_freed_while_no_scheduler_runs_are_bound_where_they_have_something(site, kwok):
    site.start(None, "--placement")
    furnish(site, kwok, "n1", "n2")
    with site.cluster.scheduler_gone():
        for number in range(4):
            site.create(unbound(f"p{number}", 6))
        until(lambda: gated(site) == [] and len(site.allocations()) == 4, "all to be freed", SOON)
        reserved = {name: spec["nodeName"] for name, spec in site.allocations().items()}
    assert {name: bound(site, name, 30) for name in reserved} == reserved
    site.assert_sound()


def test_thirty_seconds_without_api_server_lose_no_pod(site, kwok):
    site.start(None, "--placement")
    furnish(site, kwok, "n1", "n2")
    site.create(unbound("a", 6))
    bound(site, "a")
    with site.cluster.scheduler_gone():
        for number in range(3):
            site.create(unbound(f"p{number}", 6))
        with site.cluster.apiserver_gone():
            time.sleep(30)
        for number in range(3):
            bound(site, f"p{number}", 40)
    site.assert_sound()


def test_a_refused_nomination_keeps_nobody(site, kwok, faulty):
    site.start(faulty, "--placement")
    furnish(site, kwok, "n1")
    faulty.next(request_to("nominate"), faults.Refuse(403, "Forbidden"), times=3)
    site.create(unbound("a"))
    bound(site, "a")


@pytest.mark.parametrize(
    "fault",
    [faults.Refuse(500, "InternalError"), faults.Cut(done=True), faults.Delay(2.0)],
    ids=name_of_fault,
)
def test_a_step_that_fails_is_repeated(site, kwok, faulty, fault):
    fail_each_step(site, kwok, faulty, fault)


def reserved_node(site) -> str:
    """Create pod `a`; return the node on which it gets a reservation."""
    site.create(unbound("a", 6))
    until(lambda: gated(site) == [] and site.allocation("a"), "the reservation", SOON)
    node: str = site.allocation("a")["spec"]["nodeName"]
    return node


def test_a_node_deleted_between_reservation_and_binding_is_not_insisted_on(site, kwok):
    site.start(None, "--placement")
    furnish(site, kwok, "n1", "n2")
    with site.cluster.scheduler_gone():
        taken = reserved_node(site)
        site.api.delete(f"/api/v1/nodes/{taken}")
        site.gone("a")
    assert bound(site, "a", 30) == {"n1": "n2", "n2": "n1"}[taken]


def test_a_node_cordoned_between_reservation_and_binding_is_not_insisted_on(site, kwok):
    site.start(None, "--placement")
    furnish(site, kwok, "n1", "n2")
    with site.cluster.scheduler_gone():
        taken = reserved_node(site)
        site.api.merge(f"/api/v1/nodes/{taken}", {"spec": {"unschedulable": True}})
    assert bound(site, "a", 30) == {"n1": "n2", "n2": "n1"}[taken]
    site.assert_sound()


def test_an_unmanaged_pod_that_takes_the_room_sends_the_pod_elsewhere(site, kwok):
    site.start(None, "--placement")
    furnish(site, kwok, "n1", "n2")
    with site.cluster.scheduler_gone():
        taken = reserved_node(site)
        # It names its node, so that no gate and no scheduler are asked.
        thief = pod("thief", 4, on=taken)
        del thief["spec"]["resources"]
        thief["spec"]["containers"] = [{"name": "x", "image": "x", "resources": {"requests": {"cpu": "12"}}}]
        site.create(thief)
    assert bound(site, "a", 30) == {"n1": "n2", "n2": "n1"}[taken]
    site.assert_sound()


def test_a_pod_deleted_after_its_reservation_frees_it_at_once(site, kwok):
    site.start(None, "--placement")
    furnish(site, kwok, "n1")
    with site.cluster.scheduler_gone():
        for name in ("a", "b"):
            site.create(unbound(name, 6))
        until(lambda: len(site.allocations()) == 2, "two reservations", SOON)
        site.create(unbound("c", 6))
        site.delete("a")
        site.gone("a", 5)
        until(lambda: site.allocation("c"), "c to be placed", SOON)
    assert bound(site, "c", 30) == "n1"


def test_three_requests_more_than_without_placement_are_made_for_a_pod(site, kwok, faulty):
    site.start(faulty, "--placement")
    furnish(site, kwok, "n1", "n2")
    time.sleep(2)
    mine = [faults.writes("pods"), faults.writes("podallocations"), faults.reads("pods")]
    before = sum(faulty.count(match) for match in mine)
    for number in range(4):
        site.create(unbound(f"p{number}", 6))
    for number in range(4):
        bound(site, f"p{number}")
    time.sleep(1)
    assert sum(faulty.count(match) for match in mine) - before == (1 + 3) * 4


def test_without_an_operator_pods_stay_gated_and_start_when_one_leads(site, kwok):
    program = site.start(None, "--placement")
    furnish(site, kwok, "n1")
    program.terminate()
    assert gates(site.create(unbound("a"))) != []
    site.start(None, "--placement")
    bound(site, "a", TAKEOVER_SECONDS)
