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
from podnuma.operator.write.allocation_store import AllocationStore
from podnuma.operator.write.decision import PodDecision, decision_in
from podnuma.plumbing.kube import errors

from tests.unit.operator.fake_cluster import FakeCluster
from tests.unit.operator.node.test_state import request, rules
from tests.unit.operator.rig import namespace
from tests.unit.operator.virtual import virtual


class Desk:
    def __init__(self):
        self.cluster = FakeCluster()
        self.cache = ClusterCache()
        self.store = AllocationStore(
            self.cache,
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


async def created(desk, decided):
    return (await desk.store.create(decided)).allocation


@pytest.fixture
def desk():
    return Desk()


@virtual
async def test_what_is_created_says_what_was_decided_and_is_known_at_once(desk):
    desk.cluster.put(Kind.NAMESPACE, namespace())
    decided = desk.decision()
    stored = await created(desk, decided)
    assert decided.shown_by(stored)
    assert decision_in(stored) == replace(decided, numa=decided.grant.memory_nodes)
    assert desk.cache.allocations.get(decided.key) == stored


@virtual
async def test_creating_twice_returns_the_first_decision(desk):
    desk.cluster.put(Kind.NAMESPACE, namespace())
    first, second = desk.decision(cpus=4), desk.decision(cpus=6)
    await created(desk, first)
    desk.cache.__init__()  # another process, that knows nothing
    stored = await created(desk, second)
    assert first.shown_by(stored)


@virtual
async def test_the_object_of_an_earlier_pod_of_that_name_makes_room(desk):
    desk.cluster.put(Kind.NAMESPACE, namespace())
    await created(desk, desk.decision(uid="old"))
    decided = desk.decision(uid="new")
    assert decided.shown_by(await created(desk, decided))
    assert decided.shown_by(desk.stored(decided))


@virtual
async def test_a_write_whose_answer_was_lost_is_found_when_it_is_repeated(desk):
    desk.cluster.put(Kind.NAMESPACE, namespace())
    lose = iter([True])

    def fault(moment, _):
        if moment == "after" and next(lose, False):
            raise errors.UncertainError(0, "NoAnswer", "cut")

    desk.cluster.fault = fault
    decided = desk.decision()
    with pytest.raises(errors.UncertainError):
        await created(desk, decided)
    stored = await created(desk, decided)
    assert decided.shown_by(stored)
    assert desk.cluster.requests.count("create PodAllocation default/db") == 2


@virtual
async def test_an_edit_is_overwritten_even_if_another_one_followed(desk):
    desk.cluster.put(Kind.NAMESPACE, namespace())
    decided = desk.decision()
    await created(desk, decided)
    value = desk.cluster.get(Kind.ALLOCATION, decided.key)
    assert value is not None
    value["spec"]["cpus"] = "3"
    edited = desk.cluster.put(Kind.ALLOCATION, value)
    desk.cache.update(decode.decode_allocation(edited))
    # Edited once more, which is not known yet: the conflict makes the operator look again.
    desk.cluster.put(Kind.ALLOCATION, edited)
    assert decided.shown_by(await desk.store.rewrite(decided))
    assert decided.shown_by(desk.stored(decided))


@virtual
async def test_somebody_who_fights_for_an_object_is_not_fought_for_ever(desk):
    desk.cluster.put(Kind.NAMESPACE, namespace())
    decided = desk.decision()
    await created(desk, decided)

    def fault(moment, sent):
        if moment == "before" and sent.startswith("replace"):
            raise errors.ConflictError(409, "Conflict", "again")

    desk.cluster.fault = fault
    value = desk.cluster.get(Kind.ALLOCATION, decided.key)
    assert value is not None
    value["spec"]["cpus"] = "3"
    desk.cache.update(decode.decode_allocation(desk.cluster.put(Kind.ALLOCATION, value)))
    with pytest.raises(errors.ConflictError):
        await desk.store.rewrite(decided)
    assert sum(sent.startswith("replace") for sent in desk.cluster.requests) <= 5


@virtual
async def test_deleting_means_this_object_and_no_later_one(desk):
    desk.cluster.put(Kind.NAMESPACE, namespace())
    old = await created(desk, desk.decision(uid="old"))
    desk.cluster.remove(Kind.ALLOCATION, old.key)
    desk.cache.delete(Kind.ALLOCATION, old.key, old.version)
    decided = desk.decision(uid="new")
    await created(desk, decided)
    await desk.store.delete(old)
    assert decided.shown_by(desk.stored(decided))


@virtual
async def test_a_conflict_counts_as_gone_only_when_a_look_confirms_it(desk):
    desk.cluster.put(Kind.NAMESPACE, namespace())
    stored = await created(desk, desk.decision())

    def fault(moment, sent):
        if moment == "before" and sent.startswith("delete"):
            raise errors.ConflictError(409, "Conflict", "refused for no good reason")

    desk.cluster.fault = fault
    with pytest.raises(errors.ConflictError):
        await desk.store.delete(stored)
    assert desk.cache.allocations.get(stored.key) == stored
    desk.cluster.remove(Kind.ALLOCATION, stored.key)
    await desk.store.delete(stored)
    assert desk.cache.allocations.get(stored.key) is None
