"""Evictions help somebody, and never become a storm."""

import random

import pytest
from podnuma.api.node_settings import Mode, OnRejection, PodPolicy
from podnuma.operator.cache import decode
from podnuma.operator.node.eviction_policy import EvictionBackoff, EvictionExemption, eviction_exemption
from podnuma.plumbing.backoff import Backoff

from tests.unit.operator.rig import owned_by, pod

TAKEN_OVER = "2026-01-01T12:00:00Z"
EVICT = PodPolicy(on_rejection=OnRejection.EVICT)
SHARE = PodPolicy(on_rejection=OnRejection.SHARE)


def record(**metadata):
    found = decode.decode_pod(pod(**{"creationTimestamp": "2026-01-01T12:00:01Z", **metadata}))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("metadata", "pod_policy", "reason"),
    [
        ({}, EVICT, None),
        ({}, SHARE, EvictionExemption.SHARE),
        ({}, PodPolicy(on_rejection=OnRejection.EVICT, mode=Mode.AUDIT), EvictionExemption.AUDIT),
        ({"ownerReferences": owned_by("DaemonSet", "d")}, EVICT, EvictionExemption.STAYS),
        ({"creationTimestamp": "2026-01-01T11:59:59Z"}, EVICT, EvictionExemption.WAS_THERE),
        ({"deletionTimestamp": "2026-01-01T12:00:09Z"}, EVICT, EvictionExemption.ENDING),
    ],
)
def test_only_pods_that_gain_by_it_are_evicted(metadata, pod_policy, reason):
    assert eviction_exemption(record(**metadata), pod_policy, TAKEN_OVER) is reason


def pacer():
    return EvictionBackoff(Backoff(first=20.0, limit=600.0), random.Random(1))


def test_the_first_eviction_of_a_controller_waits_for_nothing():
    assert pacer().wait("rs", 0.0) == 0.0


def test_the_next_ones_wait_longer_and_longer_up_to_the_limit():
    pace, now, waits = pacer(), 0.0, []
    for _ in range(9):
        pace.evicted("rs", now)
        waits.append(pace.wait("rs", now))
        now += waits[-1]
    assert waits[:5] == sorted(waits[:5])
    assert 10 <= waits[0] <= 20
    assert 300 <= waits[-1] <= 600


def test_controllers_do_not_wait_for_each_other():
    pace = pacer()
    pace.evicted("a", 0.0)
    assert pace.wait("b", 0.0) == 0.0


def test_after_a_long_calm_an_eviction_counts_as_the_first_again():
    pace = pacer()
    for moment in range(5):
        pace.evicted("rs", moment * 700.0)
    pace.evicted("rs", 10_000.0)
    assert pace.wait("rs", 10_000.0) <= 20.0


def test_controllers_are_forgotten_one_day():
    pace = pacer()
    for number in range(10_001):
        pace.evicted(f"rs{number}", 0.0)
    assert pace.wait("rs0", 0.0) == 0.0
    assert pace.wait("rs10000", 0.0) > 0.0
