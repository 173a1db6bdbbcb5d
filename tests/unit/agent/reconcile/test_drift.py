from podnuma.agent.model.cgroup_ref import CgroupRef, QosCgroup
from podnuma.agent.model.cgroup_values import Available, CgroupTarget, CgroupValues, CgroupWrite
from podnuma.agent.reconcile.drift import DriftDetector
from podnuma.agent.reconcile.verify import compare
from podnuma.allocator import cpuset
from podnuma.allocator.request import Qos

SLICE: CgroupRef = QosCgroup(Qos.BURSTABLE)
EVERYTHING = cpuset.parse("0-15")
POOL = CgroupTarget(cpuset.parse("0,3-15"))
RIGHT = {SLICE: CgroupValues(POOL.cpus, effective_cpus=POOL.cpus)}
WRONG = {SLICE: CgroupValues(EVERYTHING, effective_cpus=EVERYTHING)}
UNTOUCHED = {SLICE: CgroupValues(None, effective_cpus=EVERYTHING)}


def found(drift, targets, seen):
    return set(drift.found(targets, seen, compare(targets, seen, Available(EVERYTHING))))


def test_a_value_that_was_right_and_is_wanted_the_same_has_drifted():
    drift = DriftDetector()
    drift.remember({SLICE: POOL}, RIGHT, {SLICE: None})
    assert found(drift, {SLICE: POOL}, WRONG) == {SLICE}
    assert found(drift, {SLICE: POOL}, RIGHT) == set()


def test_a_value_that_was_never_right_has_not():
    drift = DriftDetector()
    drift.remember({SLICE: POOL}, WRONG, {SLICE: "differs"})
    assert found(drift, {SLICE: POOL}, WRONG) == set()


def test_a_new_wish_is_no_drift():
    drift = DriftDetector()
    drift.remember({SLICE: POOL}, RIGHT, {SLICE: None})
    assert found(drift, {SLICE: CgroupTarget(cpuset.parse("0,4-15"))}, RIGHT) == set()
    drift.remember({}, UNTOUCHED, {})
    assert found(drift, {SLICE: POOL}, UNTOUCHED) == set(), "the first pod of a node"


def test_a_hand_on_what_nobody_had_touched_is_drift():
    drift = DriftDetector()
    drift.remember({}, UNTOUCHED, {})
    narrowed = {SLICE: CgroupValues(cpuset.parse("1"), effective_cpus=cpuset.parse("1"))}
    assert found(drift, {SLICE: CgroupTarget(EVERYTHING)}, narrowed) == {SLICE}


def test_drift_seen_only_after_the_writes_of_a_pass_is_still_drift():
    drift = DriftDetector()
    drift.remember({SLICE: POOL}, RIGHT, {SLICE: None})
    drift.remember({SLICE: POOL}, WRONG, {SLICE: "differs"})
    assert found(drift, {SLICE: POOL}, WRONG) == {SLICE}


def test_a_drift_counts_once_until_it_was_right_again():
    drift = DriftDetector()
    drift.remember({SLICE: POOL}, RIGHT, {SLICE: None})
    assert drift.repaired([CgroupWrite(SLICE, cpus=POOL.cpus)], {SLICE: "what"}, {SLICE: POOL}, 0.0)
    drift.remember({SLICE: POOL}, WRONG, {SLICE: "differs"})
    assert found(drift, {SLICE: POOL}, WRONG) == set()
    drift.remember({SLICE: POOL}, RIGHT, {SLICE: None})
    assert found(drift, {SLICE: POOL}, WRONG) == {SLICE}


def test_what_was_set_right_before_a_pass_that_saw_all_as_before_may_drift_again():
    drift = DriftDetector()
    drift.remember({SLICE: POOL}, RIGHT, {SLICE: None})
    assert drift.repaired([CgroupWrite(SLICE, cpus=POOL.cpus)], {SLICE: "what"}, {SLICE: POOL}, 0.0)
    drift.remember({SLICE: POOL}, RIGHT, {SLICE: None})
    assert found(drift, {SLICE: POOL}, WRONG) == {SLICE}


def test_what_a_late_write_may_have_changed_may_drift_once_it_was_seen_right_again():
    drift = DriftDetector()
    drift.remember({SLICE: POOL}, RIGHT, {SLICE: None})
    drift.forget(SLICE)
    assert found(drift, {SLICE: POOL}, WRONG) == set()
    drift.remember({SLICE: POOL}, RIGHT, {SLICE: None})
    assert found(drift, {SLICE: POOL}, WRONG) == {SLICE}


def test_cgroups_that_are_gone_are_forgotten():
    drift = DriftDetector()
    drift.remember({SLICE: POOL}, RIGHT, {SLICE: None})
    drift.remember({SLICE: POOL}, {}, {})
    assert found(drift, {SLICE: POOL}, WRONG) == set()
