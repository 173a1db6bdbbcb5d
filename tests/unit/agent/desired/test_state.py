import asyncio
import itertools

import pytest
from podnuma.agent.apiserver.watch import Changed, Listed, WatchEventType
from podnuma.agent.desired.state import DesiredState
from podnuma.allocator import cpuset
from podnuma.api.node_settings import Mode, NodeSettings, PodPolicy
from podnuma.api.node_topology import render_node_topology
from podnuma.api.pod_allocation import Decision, render_pod_allocation


class Calls:
    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1


@pytest.fixture
def desired():
    return DesiredState(Calls())


def item(words, uid="p1", cpus="1,9", object_uid="pa-1", generation=1):
    grant = words.pod(uid, words.container("c", cpus), cpus=cpus)
    body = render_pod_allocation(grant, "node", Decision(admitted=True))
    body["metadata"] |= {"uid": object_uid, "generation": generation}
    return body


def cpus_of(desired):
    return {
        each.name: cpuset.render(each.grant.exclusive_cpus) for each in desired.allocations() if each.grant
    }


def test_a_list_replaces_what_was_known(desired, words):
    desired.take_allocations(Changed(WatchEventType.ADDED, item(words, "old")))
    desired.take_allocations(Listed((item(words, "p1"), item(words, "p2", "2"))))
    assert cpus_of(desired) == {"p1": "1,9", "p2": "2"}
    assert desired.allocations_known


@pytest.mark.parametrize("late", ["listed", "changed"])
def test_an_older_generation_never_replaces_a_newer_one(desired, words, late):
    desired.take_allocations(Listed((item(words, cpus="1-2,9-10", generation=3),)))
    older = item(words, cpus="1,9", generation=2)
    event = Listed((older,)) if late == "listed" else Changed(WatchEventType.MODIFIED, older)
    desired.take_allocations(event)
    assert cpus_of(desired) == {"p1": "1-2,9-10"}
    desired.take_allocations(Listed((item(words, cpus="1", object_uid="pa-2", generation=1),)))
    assert cpus_of(desired) == {"p1": "1"}


def test_a_broken_edit_keeps_the_last_good_state_and_says_what_is_wrong(desired, words):
    desired.take_allocations(Listed((item(words),)))
    broken = item(words, generation=2)
    broken["spec"]["cpus"] = "9-1"
    desired.take_allocations(Changed(WatchEventType.MODIFIED, broken))
    (wanted,) = desired.allocations()
    assert cpus_of(desired) == {"p1": "1,9"}
    assert wanted.generation == 2
    assert "PodAllocation default/p1" in wanted.problem
    assert "spec.cpus" in wanted.problem


def test_a_broken_object_of_a_new_pod_of_the_same_name_inherits_nothing(desired, words):
    desired.take_allocations(Listed((item(words),)))
    broken = item(words, object_uid="pa-2")
    broken["spec"] |= {"cpus": 7, "podUID": "p2"}
    broken["metadata"]["ownerReferences"][0]["uid"] = "p2"
    desired.take_allocations(Changed(WatchEventType.MODIFIED, broken))
    assert cpus_of(desired) == {}


def test_a_broken_object_that_took_the_place_of_another_about_the_same_pod_takes_nothing_away(desired, words):
    desired.take_allocations(Listed((item(words),)))
    broken = item(words, object_uid="pa-2")
    broken["spec"]["cpus"] = 7
    desired.take_allocations(Listed((broken,)))
    assert cpus_of(desired) == {"p1": "1,9"}


def test_a_new_process_has_the_last_good_spec_of_a_broken_object_from_its_status(desired, words):
    broken = item(words, generation=2)
    broken["status"] = {"acceptedSpec": dict(broken["spec"]), "phase": "Applied"}
    broken["spec"]["containers"] = []
    desired.take_allocations(Listed((broken,)))
    (wanted,) = desired.allocations()
    assert cpus_of(desired) == {"p1": "1,9"}
    assert "spec.decision.checksum" in wanted.problem
    assert wanted.spec == broken["status"]["acceptedSpec"]
    assert desired.of_pod("p1") is wanted


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("static", ["", "0a1b"])
def test_whose_an_unreadable_object_is_and_that_it_is_deleted_can_be_told(desired, words, known, static):
    grant = words.pod("p1", words.container("c", "1,9"), cpus="1,9")
    body = render_pod_allocation(grant, "node", Decision(admitted=True), static)
    body["metadata"] |= {"uid": "pa-1", "generation": 1}
    if known:
        desired.take_allocations(Listed((body,)))
    spec = {**body["spec"], "cpus": "9-1"}
    metadata = {**body["metadata"], "generation": 2, "deletionTimestamp": "2026-01-01T00:00:00Z"}
    desired.take_allocations(Changed(WatchEventType.MODIFIED, {**body, "spec": spec, "metadata": metadata}))
    (wanted,) = desired.allocations()
    assert (wanted.pod_uid, wanted.deleted) == (static or "p1", True)
    assert (wanted.allocation is not None) == known


def test_what_is_kept_of_a_broken_object_has_the_status_of_now(desired, words):
    desired.take_allocations(Listed((item(words),)))
    broken = item(words, generation=2)
    broken["spec"]["cpus"] = "9-1"
    broken["status"] = {"phase": "Drifted"}
    desired.take_allocations(Changed(WatchEventType.MODIFIED, broken))
    (wanted,) = desired.allocations()
    assert wanted.allocation.status.phase.value == "Drifted"


@pytest.mark.parametrize(
    "hostile", [{}, {"metadata": None}, {"metadata": {"name": 5}, "spec": []}, {"spec": "x"}]
)
def test_hostile_objects_take_nothing_away(desired, words, hostile):
    desired.take_allocations(Listed((item(words),)))
    desired.take_allocations(Changed(WatchEventType.ADDED, hostile))
    assert cpus_of(desired) == {"p1": "1,9"}


def test_a_rejected_pod_holds_nothing(desired, words):
    body = item(words)
    body["spec"] |= {"containers": [], "decision": {"admitted": False, "reason": "TopologyAffinityError"}}
    del body["spec"]["cpus"]
    body["spec"]["podLevel"] = False
    desired.take_allocations(Listed((body,)))
    assert cpus_of(desired) == {}
    assert desired.of_pod("p1") is not None


def test_a_static_pod_goes_by_the_uid_that_its_node_knows(desired, words):
    grant = words.pod("mirror", words.container("c", "1"), cpus="1")
    body = render_pod_allocation(grant, "node", Decision(admitted=True), "0a1b")
    desired.take_allocations(Listed((body,)))
    assert desired.of_pod("0a1b").grant.uid == "0a1b"
    assert desired.of_pod("mirror") is None


@pytest.mark.parametrize("order", [*itertools.permutations(["own", "mirror-1", "mirror-2"])])
def test_a_decision_about_the_pod_itself_comes_before_that_of_a_mirror_that_names_it(desired, words, order):
    for name in order:
        grant = words.pod("u" if name == "own" else name, words.container("c", "1"), cpus="1")
        body = render_pod_allocation(grant, "node", Decision(admitted=True), "" if name == "own" else "u")
        body["metadata"]["name"] = name
        desired.take_allocations(Changed(WatchEventType.ADDED, body))
    assert desired.of_pod("u").name == "own"
    gone = {"metadata": {"namespace": "default", "name": "own"}}
    desired.take_allocations(Changed(WatchEventType.DELETED, gone))
    assert desired.of_pod("u").name == next(name for name in order if name != "own")


def test_only_differences_are_told(desired, words):
    desired.take_allocations(Listed((item(words),)))
    told = desired._changed.count
    again = item(words)
    again["status"] = {"phase": "Applied"}
    desired.take_allocations(Changed(WatchEventType.MODIFIED, again))
    assert desired._changed.count == told
    desired.take_allocations(Changed(WatchEventType.MODIFIED, item(words, cpus="2")))
    assert desired._changed.count == told + 1
    desired.take_allocations(Changed(WatchEventType.DELETED, item(words)))
    assert desired._changed.count == told + 2


async def test_waiting_for_a_decision_ends_when_it_arrives(desired, words):
    waiting = asyncio.ensure_future(desired.wait_for("p1", 5))
    await asyncio.sleep(0)
    desired.take_allocations(Changed(WatchEventType.ADDED, item(words, "other", "3")))
    await asyncio.sleep(0)
    assert not waiting.done()
    desired.take_allocations(Changed(WatchEventType.ADDED, item(words)))
    assert (await waiting).name == "p1"


async def test_what_is_decided_needs_no_turn_of_the_event_loop(desired, words):
    desired.take_allocations(Listed((item(words),)))
    with pytest.raises(StopIteration) as ended:
        desired.wait_for("p1", 5).send(None)
    assert ended.value.value.name == "p1"


async def test_waiting_for_a_decision_is_bounded(desired):
    assert await desired.wait_for("p1", 0.01) is None


def topology(mode=Mode.ENFORCE, **spec):
    body = render_node_topology("node", NodeSettings(words_settings(), PodPolicy(mode=mode)), None)
    body["metadata"] |= {"uid": "nt", "generation": 1}
    body["spec"] |= spec
    return body


def words_settings():
    from podnuma.allocator.manager_settings import ManagerSettings

    return ManagerSettings()


def test_broken_settings_keep_the_last_good_ones(desired):
    desired.take_topology(Listed((topology(Mode.AUDIT),)))
    desired.take_topology(
        Changed(WatchEventType.MODIFIED, topology(mode=Mode.ENFORCE, cpuManagerPolicy="dynamic"))
    )
    assert desired.node_config.settings.pod_policy.mode is Mode.AUDIT
    assert "spec.cpuManagerPolicy" in desired.node_config.problem


def test_a_deleted_topology_leaves_the_settings_in_force(desired):
    desired.take_topology(Listed((topology(Mode.AUDIT),)))
    desired.take_topology(Changed(WatchEventType.DELETED, topology()))
    assert not desired.node_config.exists
    assert desired.node_config.settings.pod_policy.mode is Mode.AUDIT
    desired.take_topology(Listed(()))
    assert not desired.node_config.exists
