"""The best node for a pod is found without asking equal nodes twice, and is what asking all would give."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator.decision import Admitted, Reason
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.placement import fleet as module
from podnuma.allocator.placement.likely_pods import LikelyPods, shares_of
from podnuma.allocator.placement.packing import Packing, effect, score

from tests.unit.allocator.placement.helpers import emptied, fleet, rules
from tests.unit.allocator.shapes import admitted, pod, s, unhurried


def wanted(cpus: int, uid: str = "new"):
    return pod((cpus, "1Gi"), s(), uid=uid)


def best_of(found, cpus, packing, may_go=module.anywhere):
    """Return the best candidate, which has to exist."""
    best = found.best(wanted(cpus), packing, may_go)
    assert best is not None
    return best.candidate


def place(nodes, found, cpus, uid, packing=Packing.COMPACT):
    """Place a pod and hold it; return its node."""
    best = found.best(wanted(cpus, uid), packing)
    if best is None:
        return None
    name = best.candidate.node
    nodes[name].hold(best.decision)
    found.update(name, nodes[name])
    return name


def test_compact_fills_the_node_that_is_in_use_and_spread_takes_an_empty_one():
    nodes = {name: emptied() for name in ("a", "b")}
    admitted(nodes["b"], wanted(1, "first"))
    found = fleet(nodes)
    for packing, node in ((Packing.COMPACT, "b"), (Packing.SPREAD, "a")):
        assert best_of(found, 2, packing).node == node


@pytest.mark.parametrize(("packing", "room"), [(Packing.COMPACT, True), (Packing.SPREAD, False)])
def test_compact_keeps_a_whole_numa_node_for_a_pod_that_needs_it(packing, room):
    """Two machines with NUMA nodes of three and four CPUs: a pod for each, twice."""
    nodes = {name: emptied() for name in ("a", "b")}
    found = fleet(nodes)
    assert place(nodes, found, 3, "small-1", packing) == "a"
    assert place(nodes, found, 4, "large-1", packing) == ("a" if room else "b")
    placed = [place(nodes, found, cpus, f"later-{cpus}", packing) for cpus in (3, 4)]
    assert (None not in placed) == room


def test_equal_nodes_are_judged_once_and_equal_pods_never_again(monkeypatch):
    shared = rules()
    nodes = {f"n{number}": NodeAllocator(shared) for number in range(50)}
    found = fleet(nodes)
    decisions = []
    decide = NodeAllocator.decide

    def counting(self, one):
        decisions.append(one.uid)
        return decide(self, one)

    monkeypatch.setattr(NodeAllocator, "decide", counting)
    found.best(wanted(2, "one"), Packing.COMPACT)
    assert decisions == ["", "one"]  # its judgement, and the decision that can be held
    found.best(wanted(2, "two"), Packing.COMPACT)
    assert decisions == ["", "one", "two"]
    assert found.distinct == 1


def test_equal_scores_go_to_the_first_name_that_the_pod_may_go_to():
    found = fleet({name: emptied() for name in ("c", "a", "b")})
    assert best_of(found, 2, Packing.COMPACT).node == "a"
    assert best_of(found, 2, Packing.COMPACT, lambda name: name != "a").node == "b"
    assert found.best(wanted(2), Packing.COMPACT, lambda _: False) is None


def test_a_pod_that_fits_nowhere_has_the_reason_of_every_node():
    found = fleet({name: emptied() for name in ("a", "b")})
    assert found.best(wanted(5), Packing.COMPACT) is None
    ranking = found.ranking(wanted(5), Packing.COMPACT)
    assert (ranking.candidates, ranking.reasons) == ((), {Reason.TOPOLOGY_AFFINITY: 2})


def test_a_pod_that_a_node_holds_is_judged_there_like_any_other():
    """A replica of the shape is asked for afterwards: the answer must not be the first one's own grant."""
    nodes = {"a": emptied()}
    admitted(nodes["a"], wanted(4, "first"))
    admitted(nodes["a"], wanted(3, "second"))
    found = fleet(nodes)
    assert found.ranking(wanted(4, "first"), Packing.COMPACT).candidates == ()
    assert found.best(wanted(4, "other"), Packing.COMPACT) is None


def test_an_answer_is_forgotten_with_the_last_node_in_its_state_and_shapes_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "MAX_SHAPES", 3)
    nodes = {"a": emptied()}
    found = fleet(nodes)
    for cpus in (1, 2, 3, 4):
        found.best(wanted(cpus), Packing.COMPACT)
    assert found.remembered == 3
    admitted(nodes["a"], wanted(2, "first"))
    found.update("a", nodes["a"])
    assert found.remembered == 0
    found.remove("a")
    found.remove("a")
    assert (len(found), found.distinct) == (0, 0)
    assert found.best(wanted(1), Packing.COMPACT) is None


def test_the_decision_of_the_best_node_can_be_held():
    nodes = {"a": emptied()}
    best = fleet(nodes).best(wanted(2, "mine"), Packing.SPREAD)
    assert best is not None
    assert best.decision.grant.uid == "mine"
    nodes["a"].hold(best.decision)
    assert "mine" in nodes["a"].grants


def test_rare_sizes_do_not_make_every_gap_useful():
    """One pod of one CPU among many of four: a gap of one is still waste."""
    nodes = {"a": emptied(), "b": emptied("M240", memory="None", reserved_memory=())}
    for number in range(45):
        admitted(nodes["b"], wanted(4, f"u{number}"))
    admitted(nodes["b"], wanted(1, "rare"))
    found = {one.node: one for one in fleet(nodes).ranking(wanted(2), Packing.COMPACT).candidates}["a"]
    assert found.effect.gap == 1
    assert found.score == score(Packing.COMPACT, found.effect, LikelyPods({2: 1, 4: 20}))
    assert found.score != score(Packing.COMPACT, found.effect, LikelyPods({1: 1, 2: 1, 4: 20}))


SIZES = st.lists(st.integers(1, 5), max_size=14)


@unhurried(60)
@given(SIZES, st.integers(1, 5), st.sampled_from(Packing), st.sets(st.sampled_from("abc")))
def test_the_best_node_is_the_one_that_asking_every_node_finds(held, cpus, packing, closed):
    """Whatever is held: no node that may be taken has a better score, and a pod fits somewhere or nowhere."""
    shared = rules()
    nodes = {name: NodeAllocator(shared) for name in "abc"}
    found = fleet(nodes)
    for number, size in enumerate(held):
        name = "abc"[number % 3]
        answer = nodes[name].decide(wanted(size, f"u{number}"))
        if isinstance(answer, Admitted):
            nodes[name].hold(answer)
        found.update(name, nodes[name])
        found.best(wanted(cpus), packing)  # answers of earlier states must not be used later
    sizes = [grant.exclusive_cpus.bit_count() for node in nodes.values() for grant in node.grants.values()]
    likely = LikelyPods(shares_of(Counter(sizes), cpus))
    scores = {}
    for name in sorted(nodes.keys() - closed):
        answer = nodes[name].decide(wanted(cpus))
        if isinstance(answer, Admitted):
            scores[name] = score(packing, effect(nodes[name], answer.grant), likely)
    best = found.best(wanted(cpus), packing, lambda name: name not in closed)
    ranking = found.ranking(wanted(cpus), packing, lambda name: name not in closed)
    assert {one.node: one.score for one in ranking.candidates} == scores
    if not scores:
        assert best is None
        assert ranking.refused.keys() == nodes.keys() - closed
    else:
        assert best is not None
        assert best.candidate == ranking.candidates[0]
        assert best.candidate.node == min(scores, key=lambda name: (scores[name], name))


@unhurried(40)
@given(SIZES)
def test_no_cpu_is_placed_twice_and_released_room_is_found_again(sizes):
    nodes = {name: emptied() for name in "ab"}
    found = fleet(nodes)
    for number, size in enumerate(sizes):
        place(nodes, found, size, f"u{number}")
    for node in nodes.values():
        owned = [grant.exclusive_cpus for grant in node.grants.values()]
        assert sum(one.bit_count() for one in owned) == int.bit_count(sum(owned))
    for name, node in nodes.items():
        for uid in tuple(node.grants):
            node.release(uid)
        found.update(name, node)
    assert found.distinct <= 2
    assert best_of(found, 4, Packing.COMPACT).node == "a"


def test_pods_that_differ_in_more_than_their_names_have_other_shapes():
    one = wanted(2)
    assert module.shape_of(one) == module.shape_of(replace(one, uid="x", name="y", namespace="z"))
    assert module.shape_of(one) != module.shape_of(wanted(3))
    assert module.shape_of(one) != module.shape_of(pod((2, "2Gi"), s()))
    assert module.shape_of(one) != module.shape_of(pod(None, s()))
