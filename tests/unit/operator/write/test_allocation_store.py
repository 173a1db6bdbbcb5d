"""Writing decisions down: never over another object, never a second decision for one pod."""

import asyncio
from dataclasses import replace

import pytest
from podnuma.allocator.decision import Admitted
from podnuma.api.pod_allocation import Decision
from podnuma.operator.cache import decode
from podnuma.operator.cache.cluster import ClusterCache
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.metrics import Metrics
from podnuma.operator.node.state import NodeState
from podnuma.operator.watch.live_pods import LivePods
from podnuma.operator.write.allocation_store import AllocationStore
from podnuma.operator.write.decision import PodDecision, decision_in
from podnuma.plumbing.kube import errors

from tests.unit.operator.fake_cluster import FakeCluster
from tests.unit.operator.node.test_state import request, rules
from tests.unit.operator.rig import namespace
from tests.unit.operator.virtual import virtual


class Fixture:
    def __init__(self):
        self.cluster = FakeCluster()
        self.cache = ClusterCache()
        self.store = AllocationStore(
            self.cache,
            LivePods(self.cache, self.cluster, lambda _: None),
            self.cluster,
            self.cluster,
            metrics=Metrics(),
            enqueue=lambda _: None,
            clock=lambda: asyncio.get_running_loop().time(),
            now=self.cluster.now,
            write_deadline=5.0,
        )

    def decision(self, name="db", cpus=4, uid=None):
        state = NodeState("n1")
        state.use_rules(rules())
        key, asked = request(name, cpus, uid)
        assert state.allocator is not None
        answer = state.decide(state.allocator, asked)
        assert isinstance(answer, Admitted)
        return PodDecision(key, "n1", answer.grant, Decision.of(answer))

    def stored(self, decided):
        value = self.cluster.get(Kind.ALLOCATION, decided.key)
        assert value is not None
        return decode.decode_allocation(value)


async def created(fixture, decided):
    return (await fixture.store.create(decided)).allocation


@pytest.fixture
def fixture():
    return Fixture()


@virtual
async def test_what_is_created_says_what_was_decided_and_is_known_at_once(fixture):
    fixture.cluster.put(Kind.NAMESPACE, namespace())
    decided = fixture.decision()
    stored = await created(fixture, decided)
    assert decided.shown_by(stored)
    assert decision_in(stored) == replace(decided, numa=decided.grant.memory_nodes)
    assert fixture.cache.allocations.get(decided.key) == stored


@virtual
async def test_creating_twice_returns_the_first_decision(fixture):
    fixture.cluster.put(Kind.NAMESPACE, namespace())
    first, second = fixture.decision(cpus=4), fixture.decision(cpus=6)
    await created(fixture, first)
    fixture.cache.__init__()  # another process, that knows nothing
    stored = await created(fixture, second)
    assert first.shown_by(stored)


@virtual
async def test_the_object_of_an_earlier_pod_of_that_name_makes_room(fixture):
    fixture.cluster.put(Kind.NAMESPACE, namespace())
    await created(fixture, fixture.decision(uid="old"))
    decided = fixture.decision(uid="new")
    assert decided.shown_by(await created(fixture, decided))
    assert decided.shown_by(fixture.stored(decided))


@virtual
async def test_a_name_that_is_cut_for_an_earlier_pods_record_stays_a_name(fixture):
    """Yelp/task_processing#222, kite-org/kite#385: an API server refuses "database.-olduid"."""
    fixture.cluster.put(Kind.NAMESPACE, namespace())
    name = f"{'a' * 237}-b.{'c' * 12}"
    await created(fixture, fixture.decision(name, uid="olduid"))
    await created(fixture, fixture.decision(name, uid="newuid"))
    aside = [one.key.name for one in fixture.cache.allocations if one.pod_uid == "olduid"]
    assert aside == [f"{'a' * 237}-b-olduid"]


@virtual
async def test_while_an_earlier_pods_record_may_still_get_its_other_name_a_write_is_pending(fixture):
    fixture.cluster.put(Kind.NAMESPACE, namespace())
    old = fixture.decision(uid="old")
    await created(fixture, old)
    fixture.cluster.late = lambda request: 4.0 if request == "create PodAllocation default/db-old" else None
    with pytest.raises(errors.UncertainError):
        await created(fixture, fixture.decision(uid="new"))
    assert not await fixture.store.no_write_pending(old.key)
    await asyncio.sleep(6.0)
    assert await fixture.store.no_write_pending(old.key)
    aside = fixture.cache.allocations.get(replace(old.key, name="db-old"))
    assert aside is not None
    assert aside.pod_uid == "old"


@virtual
async def test_a_write_whose_answer_was_lost_is_found_when_it_is_repeated(fixture):
    fixture.cluster.put(Kind.NAMESPACE, namespace())
    lose = iter([True])

    def fault(moment, _):
        if moment == "after" and next(lose, False):
            raise errors.UncertainError(0, "NoAnswer", "cut")

    fixture.cluster.fault = fault
    decided = fixture.decision()
    with pytest.raises(errors.UncertainError):
        await created(fixture, decided)
    stored = await created(fixture, decided)
    assert decided.shown_by(stored)
    assert fixture.cluster.requests.count("create PodAllocation default/db") == 2


@virtual
async def test_an_edit_is_overwritten_even_if_another_one_followed(fixture):
    fixture.cluster.put(Kind.NAMESPACE, namespace())
    decided = fixture.decision()
    await created(fixture, decided)
    value = fixture.cluster.get(Kind.ALLOCATION, decided.key)
    assert value is not None
    value["spec"]["cpus"] = "3"
    edited = fixture.cluster.put(Kind.ALLOCATION, value)
    fixture.cache.update(decode.decode_allocation(edited))
    # Edited once more, which is not known yet: the conflict makes the operator look again.
    fixture.cluster.put(Kind.ALLOCATION, edited)
    assert decided.shown_by(await fixture.store.rewrite(decided))
    assert decided.shown_by(fixture.stored(decided))


@virtual
async def test_somebody_who_fights_for_an_object_is_not_fought_for_ever(fixture):
    fixture.cluster.put(Kind.NAMESPACE, namespace())
    decided = fixture.decision()
    await created(fixture, decided)

    def fault(moment, sent):
        if moment == "before" and sent.startswith("replace"):
            raise errors.ConflictError(409, "Conflict", "again")

    fixture.cluster.fault = fault
    value = fixture.cluster.get(Kind.ALLOCATION, decided.key)
    assert value is not None
    value["spec"]["cpus"] = "3"
    fixture.cache.update(decode.decode_allocation(fixture.cluster.put(Kind.ALLOCATION, value)))
    with pytest.raises(errors.ConflictError):
        await fixture.store.rewrite(decided)
    assert sum(sent.startswith("replace") for sent in fixture.cluster.requests) <= 5


@virtual
async def test_deleting_means_this_object_and_no_later_one(fixture):
    fixture.cluster.put(Kind.NAMESPACE, namespace())
    old = await created(fixture, fixture.decision(uid="old"))
    fixture.cluster.remove_at_once(Kind.ALLOCATION, old.key)
    fixture.cache.delete(Kind.ALLOCATION, old.key, old.version)
    decided = fixture.decision(uid="new")
    await created(fixture, decided)
    await fixture.store.delete(old)
    assert decided.shown_by(fixture.stored(decided))


@virtual
async def test_a_conflict_counts_as_gone_only_when_a_look_confirms_it(fixture):
    fixture.cluster.put(Kind.NAMESPACE, namespace())
    stored = await created(fixture, fixture.decision())

    def fault(moment, sent):
        if moment == "before" and sent.startswith("delete"):
            raise errors.ConflictError(409, "Conflict", "refused for no good reason")

    fixture.cluster.fault = fault
    with pytest.raises(errors.ConflictError):
        await fixture.store.delete(stored)
    kept = fixture.cache.allocations.get(stored.key)
    assert kept is not None
    assert kept.uid == stored.uid
    fixture.cluster.remove_at_once(Kind.ALLOCATION, stored.key)
    await fixture.store.delete(stored)
    assert fixture.cache.allocations.get(stored.key) is None


@virtual
async def test_a_read_that_finds_nothing_ends_no_object_that_was_created_meanwhile(fixture, monkeypatch):
    """Its pod would be released without it, and its CPUs given to another one."""
    fixture.cluster.put(Kind.NAMESPACE, namespace())
    old = await created(fixture, fixture.decision(uid="old"))
    read = fixture.cluster.allocation

    async def slow(key):
        found = await read(key)
        created_now = fixture.cluster.put(Kind.ALLOCATION, fixture.decision(uid="new").render())
        fixture.cache.update(decode.decode_allocation(created_now))
        return found

    def fault(moment, sent):
        if moment == "before" and sent.startswith("delete"):
            raise errors.ConflictError(409, "Conflict", "another object has the name")

    fixture.cluster.remove_at_once(Kind.ALLOCATION, old.key)
    monkeypatch.setattr(fixture.cluster, "allocation", slow)
    fixture.cluster.fault = fault
    await fixture.store.delete(old)
    present = fixture.cache.allocations.get(old.key)
    assert present is not None
    assert present.pod_uid == "new"
    assert fixture.cache.allocation_on("n1", "new") == present
