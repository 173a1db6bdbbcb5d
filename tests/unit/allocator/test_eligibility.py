"""Who may claim what; specification, section 1."""

from dataclasses import replace

import pytest
from podnuma.allocator.eligibility import (
    empty_cpu_pool,
    empty_memory_pool,
    exclusive_requests,
    guaranteed_like,
    qos,
)
from podnuma.allocator.request import ContainerRequest, Qos

from tests.unit.allocator.shapes import APP, GI, INIT, MI, SIDECAR, amounts, g, pod, s


def uneven(requests, limits, kind=APP):
    return ContainerRequest("", kind, requests, limits)


@pytest.mark.parametrize(
    ("container", "like"),
    [
        (g("1", "100Mi"), True),
        (uneven(amounts("1", "1Gi"), amounts("1000m", "1024Mi")), True),
        (uneven(amounts("1"), amounts("2")), False),
        (uneven(amounts("1", "100Mi"), amounts("1", "200Mi")), False),
        (s(), False),
        (uneven(amounts(None, "1Gi"), amounts(None, "1Gi")), False),
        (g("0", "1Gi"), False),
    ],
)
def test_guaranteed_like_is_equal_and_above_zero_for_both(container, like):
    assert guaranteed_like(container) is like


class TestQos:
    def test_the_stored_class_wins(self):
        assert qos(replace(pod(("1", "1Gi"), s()), qos=Qos.BURSTABLE)) is Qos.BURSTABLE

    def test_a_budget_with_equal_sides_is_guaranteed_whatever_the_containers_say(self):
        assert qos(pod(("1", "1Gi"), uneven(amounts("100m"), amounts("1")))) is Qos.GUARANTEED

    def test_a_budget_of_requests_only_is_burstable(self):
        assert qos(replace(pod(("4", "8Gi"), g(2, "2Gi")), pod_limits=None)) is Qos.BURSTABLE

    def test_a_budget_of_cpu_only_is_burstable(self):
        only = amounts("4", None)
        assert qos(replace(pod(None, s()), pod_requests=only, pod_limits=only)) is Qos.BURSTABLE

    def test_zero_cpu_is_no_cpu(self):
        assert qos(pod(None, g("0", "1Gi"))) is Qos.BURSTABLE
        assert qos(pod(("0", "1Gi"), s())) is Qos.BURSTABLE

    def test_an_empty_budget_hides_nothing(self):
        assert qos(replace(pod(None, g(1)), pod_requests={}, pod_limits={})) is Qos.GUARANTEED

    def test_nothing_asked_is_best_effort(self):
        assert qos(pod(None, s())) is Qos.BEST_EFFORT

    def test_one_container_without_limits_makes_a_pod_burstable(self):
        assert qos(pod(None, g(1), s())) is Qos.BURSTABLE
        assert qos(pod(None, s(INIT), g(1))) is Qos.BURSTABLE

    def test_all_equal_is_guaranteed(self):
        assert qos(pod(None, g("500m", kind=INIT), g(1))) is Qos.GUARANTEED


class TestClaims:
    def test_whole_cpus_of_guaranteed_like_containers_count(self):
        found = exclusive_requests(pod(("4", "4Gi"), g(2, "2Gi"), g("500m", "1Gi"), s()))
        assert found.cpus == (2, 0, 0)
        assert found.memory == ({"memory": 2 * GI}, {"memory": GI}, {})
        assert (found.pod_cpus, found.pod_memory) == (4, {"memory": 4 * GI})

    def test_a_fractional_budget_has_no_cpus_to_cut(self):
        found = exclusive_requests(pod(("3500m", "4Gi"), g(2, "2Gi"), s()))
        assert (found.cpus, found.pod_cpus) == ((2, 0), 0)

    def test_without_a_budget_every_whole_request_of_a_guaranteed_pod_counts(self):
        found = exclusive_requests(pod(None, g(2, "2Gi", INIT), g(1, "1Gi"), g("1500m", "1Gi")))
        assert found.cpus == (2, 1, 0)
        assert found.pod_cpus == 2
        assert found.pod_memory == {"memory": 2 * GI}

    def test_huge_pages_of_an_init_container_are_part_of_the_pod(self):
        found = exclusive_requests(pod(None, g(2, "1Gi", INIT, pages={"1Gi": "2Gi"}), g(2, "2Gi")))
        assert found.pod_memory == {"memory": 2 * GI, "hugepages-1Gi": 2 * GI}

    def test_a_pod_that_is_not_guaranteed_claims_nothing(self):
        found = exclusive_requests(pod(None, g(2), s()))
        assert (found.guaranteed, found.cpus, found.memory, found.pod_cpus) == (False, (0, 0), ({}, {}), 0)

    def test_without_pod_level_managers_a_budget_claims_nothing(self):
        found = exclusive_requests(pod(("4", "4Gi"), g(2, "2Gi")), pod_level_managers=False)
        assert (found.cpus, found.pod_cpus) == ((0,), 0)

    def test_amounts_the_kubelet_cannot_represent_are_no_sizes(self):
        found = exclusive_requests(pod(("4", "1.5Gi"), g(2, "1.5Gi")))
        assert (found.memory, found.pod_memory) == ((None,), None)
        assert exclusive_requests(pod(None, g(2, "1.5Gi"))).pod_memory is None


FIRST = "pod rejected, pod has shared init containers but no {0} available for them"
LAST = (
    "pod rejected, sum of exclusive container {0} requests equals pod budget, "
    "leaving no {1} for shared containers"
)

POOLS = [
    (4, (g(2, "2Gi"), s()), None),
    (4, (g(2, "2Gi"), g(2, "2Gi")), None),
    (5, (g(3, "3Gi"), g(2, "2Gi"), s()), LAST),
    (6, (g(3, "3Gi"), g(2, "2Gi"), uneven(amounts("500m", "1Mi"), amounts("1", "1Mi"))), None),
    (2, (g(2, "2Gi", SIDECAR), s(INIT)), FIRST),
    (2, (s(INIT), g(2, "2Gi", SIDECAR)), None),
    (2, (g(2, "2Gi", SIDECAR), s(SIDECAR)), LAST),
    (2, (g(2, "2Gi", INIT), g(2, "2Gi")), None),
    (2, (g(1, "1Gi", INIT), g(1, "1Gi", SIDECAR), s()), None),
]


@pytest.mark.parametrize(("budget", "containers", "text"), POOLS)
def test_the_pool_must_not_be_empty_when_somebody_is_to_run_in_it(budget, containers, text):
    found = exclusive_requests(pod((budget, f"{budget}Gi"), *containers))
    assert empty_cpu_pool(found) == (text and text.format("cpu" if text is LAST else "cpus", "cpus"))
    assert empty_memory_pool(found) == (text and text.format("memory", "memory"))


def test_huge_pages_used_up_are_missed_only_by_containers_that_want_some():
    fast = g(2, "2Gi", pages={"2Mi": "4Mi"})
    plain = exclusive_requests(pod(("4", "4Gi"), fast, s(), pages={"2Mi": "4Mi"}))
    assert plain.pod_memory == {"memory": 4 * GI, "hugepages-2Mi": 4 * MI}
    assert empty_memory_pool(plain) is None
    wants = uneven(amounts(None, None, pages={"2Mi": "2Mi"}), amounts(None, None, pages={"2Mi": "2Mi"}))
    assert empty_memory_pool(exclusive_requests(pod(("4", "4Gi"), fast, wants, pages={"2Mi": "4Mi"}))) == (
        "pod rejected, sum of exclusive container hugepages-2Mi requests equals pod budget, "
        "leaving no memory for shared containers"
    )
