"""Placement when something breaks: no pod stays gated, nothing is given twice, nothing is left behind."""

from __future__ import annotations

import re
import time

import pytest

from testbed import faults
from testbed.faults import FaultyApiServer
from testbed.waiting import until
from tests.integration.operator_site import SOON, Site, pod
from tests.integration.placement_site import bound, furnish, gated, gates, install_placement, unbound

pytestmark = pytest.mark.timeout(240)

TAKEOVER_SECONDS = 15 + 10  # until a standby leads, and ten seconds from then on


@pytest.fixture
def site(clean_cluster, namespace, tmp_path, helm):
    with Site(clean_cluster, namespace, tmp_path) as found:
        found.install()
        install_placement(found, helm)
        yield found
    for kind in ("mutatingadmissionpolicybindings", "mutatingadmissionpolicies"):
        path = f"/apis/admissionregistration.k8s.io/v1/{kind}"
        for value in clean_cluster.api.items(path):
            clean_cluster.api.delete(f"{path}/{value['metadata']['name']}")


@pytest.fixture
def faulty(clean_cluster):
    with FaultyApiServer(clean_cluster) as found:
        yield found


def of_pod(what):
    """Match the steps of a placement: to reserve, nominate, lift the gate, take over."""
    method, pattern = {
        "reserve": ("POST", r"/podallocations$"),
        "nominate": ("PATCH", r"/pods/[^/]+/status$"),
        "lift": ("PATCH", r"/pods/[^/]+$"),
        "take over": ("PUT", r"/podallocations/[^/]+$"),
    }[what]
    return lambda call: call.method == method and re.search(pattern, call.path) is not None


@pytest.mark.parametrize("step", ["reserve", "nominate", "lift", "take over"])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_leader_killed_at_any_step_leaves_no_pod_gated_and_nothing_twice(site, kwok, faulty, step, done):
    leader = site.start(faulty, "--placement")
    furnish(site, kwok, "n1", "n2")
    site.start(None, "--placement")
    killed = []

    def kill(call):
        killed.append(call)
        leader.kill()

    faulty.next(of_pod(step), faults.Notify(kill, done=done))
    for number in range(4):
        site.create(unbound(f"p{number}", 6))
    until(lambda: killed, f"a request to {step}\n{site.logs()}", SOON)
    nodes = sorted(bound(site, f"p{number}", TAKEOVER_SECONDS) for number in range(4))
    assert nodes == ["n1", "n1", "n2", "n2"]
    site.assert_sound()
    for number in range(4):
        site.delete(f"p{number}")
    for number in range(4):
        site.gone(f"p{number}", 30)


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
    faulty.next(of_pod("nominate"), faults.Refuse(403, "Forbidden"), times=3)
    site.create(unbound("a"))
    bound(site, "a")


@pytest.mark.parametrize(
    "fault",
    [
        faults.Refuse(500, "InternalError"),
        faults.Refuse(429, "TooManyRequests", retry_after=1),
        faults.Cut(),
        faults.Cut(done=True),
        faults.Delay(2.0),
    ],
    ids=lambda fault: f"{type(fault).__name__}{getattr(fault, 'code', '')}{getattr(fault, 'done', '')}",
)
def test_a_step_that_fails_is_repeated(site, kwok, faulty, fault):
    site.start(faulty, "--placement")
    furnish(site, kwok, "n1", "n2")
    for step in ("reserve", "nominate", "lift", "take over"):
        faulty.next(of_pod(step), fault, times=2)
    for number in range(4):
        site.create(unbound(f"p{number}", 6))
    for number in range(4):
        bound(site, f"p{number}", 30)
    site.assert_sound()


def test_a_node_deleted_between_reservation_and_binding_is_not_insisted_on(site, kwok):
    site.start(None, "--placement")
    furnish(site, kwok, "n1", "n2")
    with site.cluster.scheduler_gone():
        site.create(unbound("a", 6))
        until(lambda: gated(site) == [] and site.allocation("a"), "the reservation", SOON)
        taken = site.allocation("a")["spec"]["nodeName"]
        site.api.delete(f"/api/v1/nodes/{taken}")
        site.gone("a")
    assert bound(site, "a", 30) == {"n1": "n2", "n2": "n1"}[taken]


def test_an_unmanaged_pod_that_takes_the_room_sends_the_pod_elsewhere(site, kwok):
    site.start(None, "--placement")
    furnish(site, kwok, "n1", "n2")
    with site.cluster.scheduler_gone():
        site.create(unbound("a", 6))
        until(lambda: gated(site) == [] and site.allocation("a"), "the reservation", SOON)
        taken = site.allocation("a")["spec"]["nodeName"]
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
