"""An API server that fails, and replicas that must agree who writes."""

from __future__ import annotations

import time

import pytest

from testbed import faults
from testbed.faults import FaultyApiServer
from testbed.installation import NAMESPACE
from testbed.waiting import until
from tests.integration.operator_site import GROUP, SOON, Site, pod

pytestmark = pytest.mark.timeout(150)

TAKEOVER_SECONDS = 60  # a Lease lasts 10 s; on a busy machine all else takes its time


@pytest.fixture
def site(clean_cluster, namespace, tmp_path):
    with Site(clean_cluster, namespace, tmp_path) as found:
        found.install()
        yield found


@pytest.fixture
def faulty(clean_cluster):
    with FaultyApiServer(clean_cluster) as found:
        yield found


def holder(site):
    lease = site.api.find(f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/podnuma-operator")
    return (lease or {}).get("spec", {}).get("holderIdentity", "").rsplit("_", 1)[0]


def leader_of(site):
    """Wait until an operator leads and return it with its stand-by."""
    name = until(lambda: holder(site), "a leader", SOON)
    leader = next(program for program in site.operators if program.name == name)
    return leader, next(program for program in site.operators if program is not leader)


def decisions(site):
    return {name: spec for name, spec in site.allocations().items() if spec["decision"]["admitted"]}


def test_a_standby_takes_over_from_a_killed_leader_and_changes_nothing(site):
    site.furnish()
    site.start()
    site.start()
    site.report_hardware()
    leader, standby = leader_of(site)
    for name in ("a", "b"):
        site.create(pod(name, 3))
        site.decided(name)
    before = decisions(site)
    leader.kill()
    site.create(pod("c", 3))
    site.decided("c", TAKEOVER_SECONDS)
    assert holder(site) == standby.name
    after = decisions(site)
    assert {name: after[name] for name in before} == before
    site.assert_sound()


def test_a_leader_that_ends_in_order_hands_over_at_once(site):
    site.furnish()
    site.start()
    site.start()
    site.report_hardware()
    leader, standby = leader_of(site)
    assert leader.terminate() == 0
    assert holder(site) in {"", standby.name}, "the Lease was not released"
    until(lambda: holder(site) == standby.name, "the standby to lead", SOON)


def test_a_leader_that_was_asleep_writes_nothing_when_it_wakes(site, faulty):
    site.furnish()
    sleeper = site.start(faulty)
    site.report_hardware()
    until(lambda: holder(site) == sleeper.name, "the first one to lead", SOON)
    site.start()
    sleeper.pause()
    until(lambda: holder(site) != sleeper.name, "the standby to lead", TAKEOVER_SECONDS)
    site.create(pod("a", 6))
    site.create(pod("b", 6))
    assert {site.decided("a"), site.decided("b")} == {"1-3,9-11", "4-6,12-14"}
    before = decisions(site)
    written = faulty.count(faults.writes("podallocations"))
    sleeper.resume()
    site.create(pod("c", 2))
    site.decided("c")
    site.delete("a")
    site.gone("a")
    until(lambda: "no longer leading" in sleeper.log.read_text(), "it to notice", SOON)
    assert faulty.count(faults.writes("podallocations")) == written
    assert decisions(site)["b"] == before["b"]
    site.assert_sound()


@pytest.mark.parametrize(
    "fault",
    [
        faults.Refuse(500, "InternalError"),
        faults.Refuse(429, "TooManyRequests", retry_after=1),
        faults.Refuse(409, "Conflict"),
        faults.Refuse(409, "AlreadyExists"),
        faults.Cut(),
        faults.Cut(done=True),
        faults.Delay(2.0),
    ],
    ids=lambda fault: f"{type(fault).__name__}{getattr(fault, 'code', '')}{getattr(fault, 'reason', '')}",
)
def test_a_write_that_fails_is_repeated_until_every_pod_is_decided(site, faulty, fault):
    site.furnish()
    site.start(faulty)
    site.report_hardware()
    for name in ("a", "b", "c"):
        faulty.next(faults.writes("podallocations"), fault, times=2)
        site.create(pod(name, 3))
    for name in ("a", "b", "c"):
        assert site.decided(name, 30) != "-"
    site.assert_sound()
    faulty.next(faults.writes("podallocations"), fault, times=2)
    before = decisions(site)
    site.delete("b")
    site.gone("b", 30)
    after = decisions(site)
    assert after == {name: before[name] for name in ("a", "c")}


def test_watches_that_expire_are_cut_or_repeat_themselves_lose_nothing(site, faulty):
    site.furnish()
    faulty.next(faults.watches("pods"), faults.EndWatch(410))
    faulty.next(faults.watches("podallocations"), faults.EndWatch(410))
    faulty.next(faults.watches("pods"), faults.CutWatch(2))
    faulty.next(faults.watches("pods"), faults.DuplicateEvents(), times=3)
    site.start(faulty)
    site.report_hardware()
    for number in range(6):
        site.create(pod(f"p{number}", 2))
    for number in range(6):
        assert site.decided(f"p{number}", 30) != "-"
    for number in range(0, 6, 2):
        site.delete(f"p{number}")
    for number in range(0, 6, 2):
        site.gone(f"p{number}", 30)
    site.assert_sound()
    assert len(site.allocations()) == 3


def test_watches_that_expire_again_and_again_are_begun_ever_more_rarely(site, faulty):
    site.furnish()
    faulty.next(faults.watches("podallocations"), faults.EndWatch(410), times=1000)
    operator = site.start(faulty)
    time.sleep(15)
    watched = faulty.count(faults.watches("podallocations"))
    lists = faulty.count(faults.reads("podallocations"))
    assert 3 <= watched <= 8, "0, 0.5, 1, 2, 4, 8 seconds apart"
    assert lists <= 3 * watched
    assert 'podnuma_watch_relists_total{kind="PodAllocation"}' in operator.metrics()
    assert "watches that fail again and again: PodAllocation" in operator.not_ready()
    operator.process.check()
    faulty.heal()
    site.report_hardware()
    site.create(pod("a", 3))
    assert site.decided("a", 60) != "-"


def test_a_watch_that_ends_in_an_unknown_error_is_begun_anew(site, faulty):
    site.furnish()
    faulty.next(faults.watches("pods"), faults.EndWatch(500, "InternalError"), times=2)
    operator = site.start(faulty)
    site.report_hardware()
    site.create(pod("a", 3))
    assert site.decided("a", 45) != "-"
    operator.process.check()


def test_an_end_that_no_watch_told_of_is_found_by_the_list_that_follows(site, faulty):
    site.furnish()
    site.start(faulty)
    site.report_hardware()
    site.create(pod("a", 6))
    site.decided("a")
    # The watches break; while there is none, a pod goes.
    faulty.next(faults.watches("pods"), faults.Refuse(410, "Expired"), times=4)
    faulty.next(faults.anything, faults.Cut(), times=1)
    site.delete("a")
    site.create(pod("b", 6))
    site.gone("a", 60)
    assert site.decided("b", 30) in {"1-3,9-11", "4-6,12-14"}
    site.assert_sound()


def test_thirty_seconds_without_api_server_cost_nothing_and_heat_nothing(site):
    site.furnish()
    operator = site.start()
    site.report_hardware()
    site.create(pod("a", 3))
    site.decided("a")
    before = decisions(site)
    with site.cluster.apiserver_gone():
        began = operator.log.read_text().count("\n")
        time.sleep(30)
        lines = operator.log.read_text().count("\n") - began
    assert lines < 150
    site.create(pod("b", 3))
    assert site.decided("b", 30) != "-"
    assert decisions(site)["a"] == before["a"]
    operator.process.check()


def test_a_token_that_was_rotated_is_read_again(site, faulty):
    site.furnish()
    site.start(faulty)
    site.report_hardware()
    # The old token is refused from now on; the file holds a new one.
    token = site.cluster.token_file(NAMESPACE, "podnuma-operator")
    token.write_text(site.cluster.token(NAMESPACE, "podnuma-operator"))
    faulty.next(faults.writes("podallocations"), faults.Refuse(401, "Unauthorized"))
    site.create(pod("a", 3))
    assert site.decided("a", 30) != "-"


def test_at_most_four_requests_are_made_for_a_pod(site, faulty):
    site.furnish()
    site.start(faulty)
    site.report_hardware()
    until(lambda: site.condition("nodeprofiles", "main", "Ready").get("status") == "True", "calm", SOON)
    time.sleep(2)
    mine = [
        faults.writes("podallocations"),
        faults.writes("events"),
        faults.reads("pods"),
        faults.reads("podallocations"),
    ]
    before = sum(faulty.count(match) for match in mine)
    topologies = faulty.count(faults.writes("nodetopologies"))
    for number in range(5):
        site.create(pod(f"p{number}", 2))
    for number in range(5):
        site.decided(f"p{number}")
        site.delete(f"p{number}")
    for number in range(5):
        site.gone(f"p{number}")
    time.sleep(2)
    made = sum(faulty.count(match) for match in mine) - before
    assert made <= 4 * 5
    assert faulty.count(faults.writes("nodetopologies")) - topologies <= 5
    assert site.api.items(f"{GROUP}/namespaces/{site.namespace}/podallocations") == []
