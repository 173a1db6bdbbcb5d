"""A placement is judged by what it breaks and what it leaves."""

from podnuma.allocator.placement.likely_pods import LikelyPods
from podnuma.allocator.placement.packing import Packing, PlacementEffect, effect, score

from tests.unit.allocator.placement.helpers import emptied
from tests.unit.allocator.shapes import admitted, pod, s

LIKELY = LikelyPods({4: 1})


def judged(on, cpus, uid="new"):
    decision = on.decide(pod((cpus, "1Gi"), s(), uid=uid))
    return effect(on, decision.grant)


def test_what_is_left_is_counted_on_the_numa_nodes_in_use_and_on_the_machine():
    """Two NUMA nodes of four CPUs, of which CPU 0 is reserved."""
    empty = emptied("DN8")
    assert judged(empty, 3) == PlacementEffect(takes=3, numa_nodes=1, breaks=1, gap=0, left=4)
    assert judged(empty, 4) == PlacementEffect(takes=4, numa_nodes=1, breaks=1, gap=0, left=3)


def test_a_numa_node_is_broken_only_once():
    used = emptied("DN8")
    admitted(used, pod((1, "1Gi"), s(), uid="first"))
    before = judged(emptied("DN8"), 2)
    after = judged(used, 2)
    assert (before.breaks, after.breaks) == (1, 0)


def test_compact_prefers_a_gap_that_likely_pods_fill_to_a_smaller_one_that_they_do_not():
    wasteful = PlacementEffect(takes=6, numa_nodes=1, breaks=0, gap=2, left=2)
    useful = PlacementEffect(takes=6, numa_nodes=1, breaks=1, gap=8, left=80)
    assert score(Packing.COMPACT, useful, LIKELY) < score(Packing.COMPACT, wasteful, LIKELY)


def test_compact_breaks_no_whole_numa_node_where_an_open_one_wastes_as_little():
    opened = PlacementEffect(takes=4, numa_nodes=1, breaks=0, gap=8, left=80)
    whole = PlacementEffect(takes=4, numa_nodes=1, breaks=1, gap=4, left=4)
    assert score(Packing.COMPACT, opened, LIKELY) < score(Packing.COMPACT, whole, LIKELY)


def test_spread_prefers_what_leaves_more_and_both_prefer_fewer_numa_nodes():
    full = PlacementEffect(takes=4, numa_nodes=1, breaks=0, gap=4, left=8)
    empty = PlacementEffect(takes=4, numa_nodes=1, breaks=1, gap=8, left=90)
    split = PlacementEffect(takes=4, numa_nodes=2, breaks=2, gap=20, left=92)
    assert sorted([full, empty, split], key=lambda one: score(Packing.SPREAD, one, LIKELY)) == [
        empty,
        full,
        split,
    ]
    assert score(Packing.COMPACT, full, LIKELY) < score(Packing.COMPACT, split, LIKELY)


def test_compact_fills_a_gap_that_one_size_alone_fits_before_it_breaks_one_that_many_fit():
    """A pod of four CPUs into a gap of four or of eight: a gap of four is of use to no other size."""
    likely = LikelyPods({4: 1, 5: 1, 6: 1, 7: 1, 8: 1})
    exactly = PlacementEffect(takes=4, numa_nodes=1, breaks=0, gap=0, left=40)
    leaving = PlacementEffect(takes=4, numa_nodes=1, breaks=0, gap=4, left=4)
    assert score(Packing.COMPACT, exactly, likely) < score(Packing.COMPACT, leaving, likely)


def test_a_gap_is_hidden_while_one_before_it_is_as_large():
    """Two NUMA nodes with three and four CPUs free: the kubelet takes the first one that fits."""
    node = emptied("DN8")
    assert judged(node, 3).hides == 0  # 0 and 4 are left
    assert judged(node, 4).hides == 0  # 3 and 0
    admitted(node, pod((1, "1Gi"), s(), uid="first"))
    assert judged(node, 2).hides == 0  # 0 and 4 after 2 and 4
    assert judged(node, 3).hides == 1  # 2 and 1: a pod of one CPU comes into the two


def test_a_gap_that_is_hidden_comes_to_light_when_the_one_before_it_is_filled():
    node = emptied("DN8")
    admitted(node, pod((1, "1Gi"), s(), uid="first"))
    admitted(node, pod((3, "1Gi"), s(), uid="second"))
    assert judged(node, 2).hides == -1  # 0 and 1 after 2 and 1


def test_among_equal_losses_compact_hides_no_gap():
    seen = PlacementEffect(takes=4, numa_nodes=1, breaks=1, gap=8, left=80)
    hidden = PlacementEffect(takes=4, numa_nodes=1, breaks=0, gap=4, left=4, hides=1)
    assert score(Packing.COMPACT, seen, LIKELY) < score(Packing.COMPACT, hidden, LIKELY)


def test_compact_does_not_mind_what_was_lost_before():
    """Into a gap of six, where two CPUs are lost anyway, or into one of eight, that two pods of four fill."""
    lost_already = PlacementEffect(takes=4, numa_nodes=1, breaks=0, gap=2, left=40)
    useful = PlacementEffect(takes=4, numa_nodes=1, breaks=0, gap=4, left=4)
    assert score(Packing.COMPACT, lost_already, LIKELY) < score(Packing.COMPACT, useful, LIKELY)
