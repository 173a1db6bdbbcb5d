"""What samples of a node show, on forged ones."""

import pytest

from testbed.e2e.sampling import Samples, percentile

APP, LOG, OTHER = (
    f"kubepods.slice/kubepods-pod{pod}.slice/cri-containerd-{name}.scope"
    for pod, name in (("u1", "app"), ("u1", "log"), ("u2", "other"))
)
CALM = {APP: frozenset({1, 2}), LOG: frozenset({3}), OTHER: frozenset({4})}


def samples(*moments):
    return Samples(list(enumerate(moments)))


def test_an_overlap_of_two_groups_is_found_at_its_moment():
    overlap = CALM | {OTHER: frozenset({2, 4})}
    (found,) = samples(CALM, overlap, CALM).clashes([["app", "log"], ["other"]])
    assert found.startswith("1.000: ")
    assert APP in found
    assert OTHER in found


def test_within_a_group_and_outside_of_all_nothing_clashes():
    shared = CALM | {LOG: frozenset({1, 2}), OTHER: frozenset({1})}
    assert samples(shared).clashes([["app", "log"]]) == []
    assert len(samples(shared).clashes([["app"], ["log"], ["other"]])) == 3


def test_a_container_that_is_not_there_clashes_with_nobody():
    assert samples({APP: frozenset({1})}, {OTHER: frozenset({1})}).clashes([["app"], ["other"]]) == []


def test_settled_is_the_first_moment_after_which_all_sets_stay():
    grown = CALM | {APP: frozenset({1, 2, 3}), LOG: frozenset({5})}
    wanted = {"app": grown[APP], "log": grown[LOG]}
    half = CALM | {APP: grown[APP]}
    assert samples(CALM, grown, half, grown, grown).settled(wanted, began=1.0) == 2.0
    with pytest.raises(LookupError):
        samples(grown, CALM).settled(wanted, began=0.0)


def test_a_cpu_of_another_pod_is_a_violation_and_one_of_the_own_pod_is_not():
    owners = {"app": ("u1", CALM[APP])}
    assert samples(CALM | {LOG: CALM[APP]}).violations(owners) == []
    assert len(samples(CALM | {OTHER: frozenset({1})}).violations(owners)) == 1
    assert samples(CALM).compared(owners) == 1
    assert samples({LOG: CALM[APP]}).compared(owners) == 0


def test_what_nobody_gave_to_a_container_violates_nothing():
    owners, everything = {"app": ("u1", CALM[APP])}, frozenset(range(8))
    late = CALM | {OTHER: everything}
    assert len(samples(late).violations(owners)) == 1
    assert samples(late).violations(owners, unconfined=everything) == []


def test_a_container_that_is_not_on_its_cpus_yet_owns_none():
    owners, pool = {"app": ("u1", CALM[APP])}, CALM[APP] | {6, 7}
    early = {APP: pool, OTHER: pool}
    assert len(samples(early).violations(owners)) == 1
    assert samples(early).violations(owners, pinned=True) == []
    assert samples(early).compared(owners, pinned=True) == 0
    pinned = early | {APP: CALM[APP]}
    assert len(samples(early, pinned).violations(owners, pinned=True)) == 1
    assert samples(early, pinned).compared(owners, pinned=True) == 1


def test_pairs_are_counted_at_every_moment_and_between_groups_only():
    groups = [["app", "log"], ["other"]]
    assert samples(CALM, CALM).pairs(groups) == 4
    assert samples(CALM, {APP: CALM[APP]}).pairs(groups) == 2
    assert samples(CALM).pairs([["app"]]) == 0


def test_of_fewer_than_a_hundred_the_99th_percentile_is_the_largest():
    assert percentile([3.0, 1.0, 2.0], 99) == 3.0
    assert percentile([float(number) for number in range(1, 201)], 99) == 198.0
    assert percentile([], 99) == 0.0
