"""The search for the smallest change."""

from podnuma.allocator.explain.suggestions import Suggestion, suggest
from podnuma.allocator.quantities import parse

from tests.unit.allocator.shapes import GI, g, pod, s

MOST = {"cpu": 64, "memory": 64 * GI}


def amount(wanted, resource):
    return wanted.pod_requests[resource].units


def test_cpus_are_tried_one_by_one_in_both_directions():
    found = suggest(pod((10, "1Gi"), s()), lambda other: amount(other, "cpu") in {3, 12}, MOST)
    assert found.single == (Suggestion("pod", "cpu", "10", "12"), Suggestion("pod", "cpu", "10", "3"))
    assert found.together == ()


def test_memory_is_found_to_the_mebibyte():
    limit = parse("2345Mi").units
    found = suggest(pod((1, "10Gi"), s()), lambda other: amount(other, "memory") <= limit, MOST)
    assert found.single == (Suggestion("pod", "memory", "10Gi", "2345Mi"),)


def test_memory_is_raised_as_little_as_helps():
    limit = parse("10241Mi").units
    found = suggest(pod((1, "10Gi"), s()), lambda other: amount(other, "memory") >= limit, MOST)
    assert found.single == (Suggestion("pod", "memory", "10Gi", "10241Mi"),)


def test_a_budget_stays_as_large_as_its_containers():
    found = suggest(pod((6, "1Gi"), g(4, "1Gi"), s()), lambda other: amount(other, "cpu") < 4, MOST)
    assert found.single == ()


def test_a_container_stays_inside_its_budget():
    def fits(other):
        return other.containers[0].requests["cpu"].units > 6

    assert suggest(pod((6, "1Gi"), g(4, "1Gi"), s()), fits, MOST).single == ()
    assert suggest(pod(None, g(4, "1Gi")), fits, MOST).single == (Suggestion("c0", "cpu", "4", "7"),)


def test_nothing_is_raised_above_the_machine():
    assert suggest(pod((6, "1Gi"), s()), lambda other: amount(other, "cpu") > 64, MOST).single == ()


def test_a_resource_that_the_machine_does_not_manage_is_not_searched_downwards_as_if_it_were_raised():
    found = suggest(
        pod((6, "100Gi"), g(2, "50Gi"), s()), lambda other: not amount(other, "memory"), {"cpu": 64}
    )
    assert found.single == ()


def test_cpus_and_memory_change_together_when_neither_helps_alone():
    def fits(other):
        return amount(other, "cpu") <= 5 and amount(other, "memory") <= GI

    assert suggest(pod((6, "2Gi"), s()), fits, MOST).together == (
        Suggestion("pod", "cpu", "6", "5"),
        Suggestion("pod", "memory", "2Gi", "1Gi"),
    )


def test_cpus_far_too_many_come_down_with_memory_to_what_fits():
    def fits(other):
        return amount(other, "cpu") <= 4 and amount(other, "memory") <= (8 - amount(other, "cpu")) * GI

    assert suggest(pod((64, "200Gi"), s()), fits, MOST).together == (
        Suggestion("pod", "cpu", "64", "4"),
        Suggestion("pod", "memory", "200Gi", "4Gi"),
    )


def test_a_pod_of_very_many_numbers_costs_a_bounded_number_of_decisions():
    tried = 0

    def fits(_):
        nonlocal tried
        tried += 1
        return False

    wanted = pod(None, *(g(1, "1Gi") for _ in range(200)))
    suggest(wanted, fits, {"cpu": 10_000, "memory": 2**50})
    assert tried < 64 * 2 * 512
